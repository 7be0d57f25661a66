"""What ``uniseg prompts`` does: look at the prompts of weights and of an image, and write what was seen, all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.commands import asked_keys, choose_tasks, load_found_model
from uniseg_app.outputs import check_file, check_output, is_label_file, staged
from uniseg_model.errors import OptionError, OutputError
from uniseg_model.files import file_sha256, is_sealed
from uniseg_model.io import read_volume
from uniseg_model.progress import Progress, ProgressHook, ignore_progress

if TYPE_CHECKING:
    from uniseg_model.options import Options
    from uniseg_model.predictor import Predictor
    from uniseg_model.prompts.inspection import Inspection
    from uniseg_model.prompts.sheet import Sheet

_SHEETS = ("sheet.png", "sheet.pdf")


@dataclass(frozen=True)
class PromptsRequest:
    """A look at prompts, as a person puts it.

    images: one file per channel, one 4-D file, or one DICOM folder; none: only the learned prompts. tasks: keys, or ``all``: of the
        weights for the learned prompts, and those that suit the image for its own.
    out: a folder. sheet: segment too, and draw the image under all its prompts.
    overwrite: replace even files that were edited since, or that this program did not write.
    """

    images: tuple[Path, ...]
    tasks: tuple[str, ...]
    out: Path
    options: Options
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    series: str | None = None
    sheet: bool = False
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class PromptsOutcome:
    """What was seen, and the files it was written to."""

    inspection: Inspection
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"files": [str(path) for path in self.files], **self.inspection.to_dict()}


def inspect_prompts(request: PromptsRequest, progress: ProgressHook = ignore_progress) -> PromptsOutcome:
    """Read, look and save. Nothing is written unless everything is.

    Raises:
        UniSegError: of the kind that fits what is wrong. Cancelled: the hook wanted it so.
    """
    _check(request)
    progress(Progress("load weights"))
    model = load_found_model(request.weights, device=request.device, threads=request.threads)
    keys = asked_keys(request.tasks, model.checkpoint.tasks)
    inspection, sheet = _looked_at(request, model, keys, progress)
    drawn = dict.fromkeys(_SHEETS, sheet) if sheet else {}
    names = [*inspection.files(), *drawn]
    _check_replaceable(request, names, inspection)
    with staged(request.out) as staging:
        for name, picture in drawn.items():
            picture.save(staging / name)
        inspection.write(staging, list(drawn))
    return PromptsOutcome(inspection, tuple(sorted(request.out / name for name in names)))


def _looked_at(
    request: PromptsRequest, model: Predictor, keys: Sequence[str], progress: ProgressHook
) -> tuple[Inspection, Sheet | None]:
    from uniseg_model.predictor import describe_weights
    from uniseg_model.prompts.inspection import Inspection
    from uniseg_model.prompts.learned import learned_prompts
    from uniseg_model.prompts.sheet import draw_sheet

    checkpoint = model.checkpoint
    learned = learned_prompts(checkpoint, None if "all" in keys else keys)
    weights = describe_weights(checkpoint)
    if not request.images:
        return Inspection(weights, learned), None
    progress(Progress("read"))
    session = model.open(read_volume(request.images, series=request.series))
    tasks = choose_tasks(keys, session.tasks, session.volume)
    maps = session.prompt_maps(tasks, request.options, progress)
    seen = Inspection(weights, learned, tuple(maps))
    return seen, draw_sheet(session.segment(tasks, request.options, progress)) if request.sheet else None


def _check(request: PromptsRequest) -> None:
    if is_label_file(request.out):
        raise OutputError(f"prompts are written as several files, {request.out.name} is one", hint="Name a folder.")
    if request.sheet and not request.images:
        raise OptionError("a contact sheet shows an image, none was given", hint="Name an image, or leave out --sheet.")
    check_output(request.out, request.images)


def _check_replaceable(request: PromptsRequest, names: Sequence[str], inspection: Inspection) -> None:
    """Refuse to replace what holds somebody's work: what this program wrote is known by its digest in the sealed facts."""
    from uniseg_model.prompts.inspection import FACTS

    sealed = request.out / FACTS
    known = json.loads(sealed.read_text(encoding="utf-8")).get("files_sha256", {}) if is_sealed(sealed) else {}
    inputs = [*request.images, *(Path(path) for maps in inspection.maps for path in maps.volume.source.paths)]
    for path in (request.out / name for name in names):
        check_file(path, inputs)
        ours = is_sealed(path) if path.name == FACTS else path.exists() and known.get(path.name) == file_sha256(path)
        if path.exists() and not ours and not request.overwrite:
            raise OutputError(
                f"{path} was edited, or was not written by this program",
                hint="Move it away, choose another output, or add --overwrite.",
            )
