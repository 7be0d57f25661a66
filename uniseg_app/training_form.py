"""What a person fills in to add a task of their own: suggested from the data, checked, and turned into a request.

Knows no terminal, window or page, and no torch until something is tried.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniseg_app.tuning import TuningRequest
from uniseg_app.typed import colored, key_of
from uniseg_model.axes import axes_for
from uniseg_model.dataset import TASK_FILE
from uniseg_model.doctor.findings import Report
from uniseg_model.doctor.layout import Pair
from uniseg_model.errors import OptionError, TaskError, UniSegError
from uniseg_model.files import make_folder
from uniseg_model.io import read_values, read_volume
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.suitability import looks_like_hu
from uniseg_model.tasks import Label, Task, read_tasks, write_task
from uniseg_model.volume import Triple, Volume

if TYPE_CHECKING:
    from uniseg_model.training.estimate import Price

DEPTHS = ("pack", "full", "backbone")
_LEAST_MM, _MOST_MM = 0.5, 10.0  # of a voxel side, where the weights know nothing alike
_LOOKED_AT = 3  # cases that are read for a suggestion
_MINUTES = (0.1, 100_000.0)


@dataclass(frozen=True)
class TrainingForm:
    """A task of one's own and how it is to be learned, as it stands in boxes.

    data: the data set. key: made of the title where empty. structures: by label value, from 1. modalities: one a channel.
    spacing_mm: Z, Y, X. depth: see ``training.tune``. replay: data sets of old tasks to train on, too. pack: to go on from.
    weights: to start from; those in use when None. changes: fields of the plan. known: a task whose other fields are kept.
    """

    data: Path
    title: str
    structures: tuple[Label, ...]
    modalities: tuple[str, ...] = ("CT",)
    spacing_mm: Triple = (3.0, 1.5, 1.5)
    key: str = ""
    axes: str = "axial"
    depth: str = "pack"
    minutes: float = 10.0
    replay: Path | None = None
    pack: Path | None = None
    weights: Path | None = None
    fold: int = 0
    folds: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    known: Task | None = None


def suggest(report: Report, known: Iterable[Task] = ()) -> TrainingForm:
    """A form for a data set, from what it says of itself and from its first cases.

    known: the tasks of the weights to start from. The spacing is the median of the cases looked at, within what the weights were
    trained at for such images; the axes are theirs, too.

    Raises:
        UniSegError: a case that is looked at cannot be read.
    """
    expected = report.expected
    if expected.task:
        return form_of(report.folder, expected.task)
    pairs = _spread([pair for pair in report.pairs if pair.images and pair.labels], _LOOKED_AT)
    volumes = [read_volume(pair.images) for pair in pairs]
    modalities, spacing, axes = suggested_images(volumes, known, expected.modalities)
    names = expected.values if expected.values is not None else _numbered(pairs)
    return TrainingForm(report.folder, _title(report.folder), colored(names), modalities, spacing, axes=axes)


def suggested_images(
    volumes: Sequence[Volume], known: Iterable[Task] = (), told: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], Triple, str]:
    """Modalities, spacing and axes for a task on such images. known: tasks of the weights. told: what the channels are, where known."""
    modalities = _modalities(told, volumes)
    alike = [task for task in known if task.modalities == modalities]
    axes = Counter(task.axes for task in alike).most_common(1)[0][0] if alike else "axial"
    return modalities, _spacing(volumes, alike, axes), axes


def form_of(data: Path, task: Task) -> TrainingForm:
    """The form of a task that is described already."""
    return TrainingForm(data, task.title, task.labels, task.modalities, task.spacing_mm, task.key, task.axes, known=task)


def filled(form: TrainingForm, title: str, **typed: Any) -> TrainingForm:
    """A form with what a person typed; its key is made anew where the name is another."""
    return replace(form, title=title, key=form.key if form.known and title == form.title else "", **typed)


def task_of(form: TrainingForm) -> Task:
    """The task that a form describes.

    Raises:
        TaskError: something is missing or breaks a rule.
    """
    title = form.title.strip()
    if not title:
        raise TaskError("the task has no name", hint="Name what is to be found, such as Gall bladder.")
    if not form.structures:
        raise TaskError(f"{title!r} has no structure", hint="Name at least one, in the order of the label values.")
    _check_names([label.name for label in form.structures])
    if not form.modalities:
        raise TaskError(f"{title!r} has no channel", hint="Name what the images are, one name a channel, such as CT.")
    intensity = tuple("hu" if name.upper() == "CT" else "zscore" for name in form.modalities)
    facts: dict[str, Any] = {"key": form.key.strip() or key_of(title), "title": title, "modalities": form.modalities, "labels": form.structures,
             "spacing_mm": form.spacing_mm, "axes": form.axes}  # fmt: skip
    if form.known is None:
        return Task(**facts, intensity=intensity)
    same = form.known.modalities == form.modalities
    return replace(form.known, **facts, intensity=form.known.intensity if same else intensity)


def request_of(form: TrainingForm, folder: Path) -> TuningRequest:
    """The request behind a form; its ``out`` is still to be set.

    folder: where the task is described, unless the data set does so itself; the file's name follows from its content, so that
    no later request changes it.

    Raises:
        TaskError: as :func:`task_of`. OptionError: an unknown depth, minutes out of range, or old tasks for another depth.
        OutputError: the folder cannot be written.
    """
    task = task_of(form)
    _check_how(form)
    return TuningRequest(
        form.data, folder, form.depth, _task_file(form.data, task, folder), task.key, form.weights, form.minutes,
        changes=form.changes, replay=form.replay, pack=form.pack, fold=form.fold, folds=form.folds,
    )  # fmt: skip


def price_of(form: TrainingForm) -> Price:
    """What it will take, after two real steps on made-up windows. Slow: for a job.

    Raises:
        UniSegError: of the kind that fits what is wrong with the form or the data.
    """
    from uniseg_app.tuning import prepare_tuning

    with tempfile.TemporaryDirectory(prefix="uniseg-price-") as place:
        request = request_of(form, Path(place))
        return prepare_tuning(replace(request, out=Path(place) / "run"))[1]


def try_two_steps(form: TrainingForm, progress: ProgressHook = ignore_progress) -> Price:
    """Two real steps on the first two cases, with a validation, and then the price of all of it. Slow: for a job.

    Raises:
        UniSegError: of the kind that fits what is wrong with the form or the data. Cancelled: the hook wanted it so.
    """
    from uniseg_app.examination import DoctorRequest, look_at

    with tempfile.TemporaryDirectory(prefix="uniseg-try-") as place:
        _check_how(form)
        write_task(file := Path(place) / TASK_FILE, task_of(form))
        wanted = DoctorRequest(form.data, task_file=file, dry_run=True, depth=form.depth, minutes=form.minutes, weights=form.weights)  # fmt: skip
        visit = look_at(wanted, progress)
    if visit.price is None:
        error = next(finding for finding in visit.report.findings if finding.severity == "error")
        raise OptionError(f"the data set cannot be trained on as it is: {f'{error.case}: ' if error.case else ''}{error.what}", hint=error.how)  # fmt: skip
    return visit.price


# Inside ------------------------------------------------------------------------------------------------------------------


def _check_names(names: Sequence[str]) -> None:
    if "" in names:
        raise TaskError(f"structure {names.index('') + 1} has no name", hint="Name every structure.")
    name, n = Counter(names).most_common(1)[0]
    if n > 1:
        raise TaskError(f"{n} structures have the name {name!r}", hint="Give each its own.")


def _check_how(form: TrainingForm) -> None:
    if form.depth not in DEPTHS:
        raise OptionError(f"a task is added with a depth of {', '.join(DEPTHS)}, not {form.depth!r}")
    least, most = _MINUTES
    if not least <= form.minutes <= most:
        raise OptionError(f"the minutes must be between {least:g} and {most:.0f}, they are {form.minutes:g}")
    if form.replay and form.depth != "full":
        raise OptionError(f"old tasks are trained on again with the depth full, not with {form.depth}", hint="Leave them out.")
    if form.pack and form.depth != "pack":
        raise OptionError(f"a pack is gone on from with the depth pack, not with {form.depth}", hint="Leave it out.")


def _task_file(data: Path, task: Task, folder: Path) -> Path | None:
    """Where the task is described; None where the data set does it itself."""
    try:
        if (data / TASK_FILE).exists() and read_tasks(data / TASK_FILE) == [task]:
            return None
    except UniSegError:
        pass  # then the form knows better
    digest = hashlib.sha256(json.dumps(task.to_dict(), sort_keys=True).encode()).hexdigest()
    make_folder(folder)
    write_task(path := folder / f"{task.key}-{digest[:8]}.toml", task)
    return path


def _spread(pairs: Sequence[Pair], n: int) -> list[Pair]:
    """So many of them at most: the first, the last, and some between."""
    places = {round(i * (len(pairs) - 1) / max(1, n - 1)) for i in range(n)} if pairs else set()
    return [pairs[place] for place in sorted(places)]


def _modalities(told: tuple[str, ...] | None, volumes: Sequence[Volume]) -> tuple[str, ...]:
    if told is not None:
        return tuple("CT" if name.upper() == "CT" else name for name in told)
    if not volumes:
        return ("CT",)
    first, n = ("CT" if looks_like_hu(volumes[0]) else "MR"), volumes[0].n_channels
    return (first, *(f"channel {number}" for number in range(2, n + 1)))


def _numbered(pairs: Sequence[Pair]) -> list[str]:
    """Names for the label values that occur, where nobody has named them."""
    largest = 0
    for pair in pairs:
        assert pair.labels is not None, "looked at above"
        largest = max(largest, int(np.rint(read_values(pair.labels)[0].max())))
    return [f"structure {value}" for value in range(1, min(largest, 255) + 1)]


def _spacing(volumes: Sequence[Volume], alike: Sequence[Task], axes: str) -> Triple:
    known = np.array([task.spacing_mm for task in alike] or [(_LEAST_MM,) * 3, (_MOST_MM,) * 3])
    seen = [[volume.spacing_mm[axis] for axis in axes_for(volume.affine, axes).order] for volume in volumes]
    wanted = np.median(seen, axis=0) if seen else np.median(known, axis=0)
    z, y, x = (float(f"{mm:.3g}") for mm in np.clip(wanted, known.min(axis=0), known.max(axis=0)))
    return z, y, x


def _title(folder: Path) -> str:
    """What ``dataset.json`` calls it, else the folder's name."""
    try:
        name = str(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["name"]).strip()
    except (OSError, ValueError, KeyError, TypeError):
        name = ""
    return name or re.sub(r"[_\W]+", " ", folder.resolve().name).strip().capitalize() or "My task"
