"""What each command does: which weights, which tasks, run, save. It knows no terminal, window or page."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.outputs import FORMATS, check_file, check_folder, check_output, check_replaceable, is_label_file, staged
from uniseg_app.pack_store import pack_files
from uniseg_app.settings import installed_weights
from uniseg_model.errors import OptionError, OutputError, WeightsError
from uniseg_model.files import write_sealed_json
from uniseg_model.io import read_volume
from uniseg_model.io.dicom_seg import DICOM_SUFFIX, check_dicom_seg
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.segmentation import MergedMap, Segmentation, files_of, merge
from uniseg_model.suitability import suitable_tasks
from uniseg_model.tasks import Task, TaskRegistry, builtin_tasks, read_tasks, write_task
from uniseg_model.volume import Volume

if TYPE_CHECKING:
    from uniseg_model.checkpoint import Checkpoint
    from uniseg_model.predictor import Options, Predictor
    from uniseg_model.record import RunRecord
    from uniseg_model.training.plan import Plan
    from uniseg_model.training.run import Listener
    from uniseg_model.training.start import TrainingRequest
    from uniseg_model.upstream import ImportSummary

MERGE_RULES = ("keep", "original")
_DEMO_SEED = 100  # of no phantom that was trained on or tested with
_COARSE_MM = (6.0, 4.0, 4.0)


@dataclass(frozen=True)
class SegmentRequest:
    """One image to segment, as a person puts it.

    images: one file per channel, one 4-D file, or one DICOM folder. tasks: keys, or ``all``.
    out: a folder, or the name of a label file for one map. merge: one of ``MERGE_RULES``.
    format: one of ``FORMATS``; as DICOM-SEG, which needs a DICOM folder, several tasks get no merged map.
    folds: other weights with the same tasks, whose answers are averaged with those of ``weights``. packs: pack files in place
        of the installed ones; those of one task are folds, too. report: where the run record goes besides the folder's own ``run.json``.
    overwrite: replace even label files that were edited since, or that this program did not write.
    """

    images: tuple[Path, ...]
    tasks: tuple[str, ...]
    out: Path
    options: Options
    weights: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    merge: str = "keep"
    series: str | None = None
    report: Path | None = None
    overwrite: bool = False
    format: str = "nifti"
    folds: tuple[Path, ...] = ()
    packs: tuple[Path, ...] = ()
    engine: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """What a request came to. ``segmentations`` is empty when the original's merge was asked for."""

    segmentations: tuple[Segmentation, ...]
    merged: MergedMap | None
    record: RunRecord
    files: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "files": [str(path) for path in self.files],
            "tasks": {s.task.key: s.to_dict() for s in self.segmentations},
            "merged": self.merged.to_dict() if self.merged else None,
            "record": self.record.to_dict(),
        }


def find_weights(named: Path | None) -> Path:
    """The weights to use: the named ones, ``$UNISEG_WEIGHTS``, those in the settings, or the embedded demo weights.

    Raises:
        WeightsError: there are none.
    """
    weights = named or installed_weights()
    if weights is None:
        raise WeightsError(
            "no weights were named and none are installed",
            hint="Name a file with --weights or $UNISEG_WEIGHTS; `uniseg weights import` makes one from the authors' checkpoint.",
        )
    return weights


def segment(request: SegmentRequest, progress: ProgressHook = ignore_progress, model: Predictor | None = None) -> Outcome:
    """Read, segment and save. Nothing is written unless everything is.

    model: in place of that of the request, for those who have loaded it.

    Raises:
        UniSegError: of the kind that fits what is wrong. Cancelled: the hook wanted it so.
    """
    _check(request)
    if model is None:
        progress(Progress("load weights"))
        model = load_found_model(
            request.weights, device=request.device.lower(), precision=request.precision, threads=request.threads,
            folds=request.folds, packs=request.packs, engine=request.engine,
        )  # fmt: skip
    known = model.checkpoint.tasks
    asked_keys(request.tasks, known)
    progress(Progress("read"))
    session = model.open(read_volume(request.images, series=request.series))
    tasks = choose_tasks(request.tasks, known, session.volume)
    if is_label_file(request.out) and request.merge != "original" and len(tasks) > 1:
        raise OptionError(
            f"{len(tasks)} tasks need a folder, {request.out.name} is one file", hint="Name a folder, or one task."
        )
    names = _names(request, tasks)
    _check_answers(request, [_folder(request.out) / name for name in names], session.volume)
    if request.format == "dicom-seg":
        check_dicom_seg(session.volume, tasks[0])
    if request.merge == "original":
        merged, record = session.segment_as_original(tasks, request.options, progress)
        return _saved(request, Outcome((), merged, record), names)
    parts = session.segment(tasks, request.options, progress)
    merged_parts = merge(parts, session.tasks.label_values) if len(names) > len(parts) else None
    return _saved(request, Outcome(tuple(parts), merged_parts, parts[0].record), names)


def choose_tasks(asked: Sequence[str], known: TaskRegistry, volume: Volume) -> list[Task]:
    """The tasks behind the keys, in the order asked for; ``all`` stands for those the image suits.

    Raises:
        TaskError: an unknown key. ModalityError: ``all``, and no task takes that many channels.
        OptionError: no key at all.
    """
    return _chosen(asked, known, lambda: suitable_tasks(known, volume))


def asked_keys(asked: Sequence[str], known: TaskRegistry) -> list[str]:
    """The keys of a request, ``all`` among them; so an unknown task is told before a large image is read.

    Raises:
        TaskError: an unknown key. OptionError: no key at all.
    """
    _chosen(asked, known, known.values)
    return _keys(asked)


def _keys(asked: Sequence[str]) -> list[str]:
    return [key.strip().lower() for key in asked if key.strip()]


def _check_answers(request: SegmentRequest, labels: Sequence[Path], volume: Volume) -> None:
    """The label files must not replace somebody's work or a slice of the image, nor the report them."""
    taken = {part.resolve() for path in labels for part in files_of(path)}
    if request.report and request.report.resolve() in taken:
        raise OutputError(f"the report {request.report} is one of the files with the labels", hint="Choose another name.")
    inputs = [*request.images, *map(Path, volume.source.paths)]
    check_replaceable(labels, inputs, overwrite=request.overwrite)


def _check(request: SegmentRequest) -> None:
    if request.merge not in MERGE_RULES:
        raise OptionError(f"the merge rule must be {' or '.join(MERGE_RULES)}, not {request.merge!r}")
    if request.merge == "original" and request.options.confidence:
        raise OptionError("the original's merge has no confidence", hint="Leave out --confidence or --merge original.")
    if request.series and not any(map(_may_be_dicom, request.images)):
        raise OptionError("a series can only be chosen of a DICOM folder, no image is one", hint="Leave --series out.")
    _check_format(request)
    check_output(request.out, request.images, request.format)
    records = [] if is_label_file(request.out) else [request.out / "run.json"]
    if request.report:
        inputs = [*request.images, *filter(None, [request.weights]), *request.folds, *request.packs]
        check_file(request.report, inputs, "report")
        if request.report.suffix != ".json":
            raise OptionError(f"the report is a JSON document, its name must end in .json, not {request.report.name!r}")
        records.append(request.report)
    check_replaceable(records, request.images, overwrite=request.overwrite)


def _check_format(request: SegmentRequest) -> None:
    if request.format not in FORMATS:
        raise OptionError(f"the format must be {' or '.join(FORMATS)}, not {request.format!r}")
    if request.format == "nifti":
        return
    if request.merge == "original":
        raise OptionError(
            "the original's merge makes one map of all tasks, a DICOM-SEG holds one task",
            hint="Leave out --merge original or --format dicom-seg.",
        )
    if request.images and not _may_be_dicom(request.images[0]):
        raise OptionError(
            f"a DICOM-SEG refers to the slices of a DICOM series, {request.images[0].name} is none",
            hint="Labels of a NIfTI image are written as NIfTI: leave out --format dicom-seg, or give the DICOM folder.",
        )


def _may_be_dicom(image: Path) -> bool:
    return image.is_dir() or image.suffix.lower() == DICOM_SUFFIX


def load_found_model(
    named: Path | None, *, device: str = "auto", precision: str = "auto", threads: int | None = None,
    folds: Sequence[Path] = (), packs: Sequence[Path] = (), engine: str = "auto",
) -> Predictor:  # fmt: skip
    """A predictor from the weights to use, see :func:`find_weights`, with the packs that are installed for them.

    folds, packs: see :class:`SegmentRequest`. device, precision, threads, engine: see ``load_model``.

    Raises:
        WeightsError, DeviceError, OptionError, MissingPackageError: as ``load_model`` and ``Predictor``. OptionError: folds of both kinds.
    """
    from uniseg_model.predictor import Predictor

    first, *others = found_checkpoints(named, folds=folds, packs=packs)
    return Predictor(first, folds=others, device=device, precision=precision, threads=threads, engine=engine)


def found_checkpoints(named: Path | None, *, folds: Sequence[Path] = (), packs: Sequence[Path] = ()) -> list[Checkpoint]:
    """The weights to use with their packs, and the folds after them; see :func:`load_found_model`.

    Raises:
        WeightsError: a file is missing or does not fit. OptionError: folds of both kinds.
    """
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.packs.file import load_pack

    if folds and packs:
        raise OptionError("several weights and packs cannot be averaged together", hint="Name one weights file, or no pack.")
    weights = find_weights(named)
    if packs:
        base = load_checkpoint(weights)
        return [base.with_packs([load_pack(pack)]) for pack in packs]
    return [load_checkpoint(path).with_packs(list(map(load_pack, pack_files(path)))) for path in (weights, *folds)]


def _folder(out: Path) -> Path:
    return out.parent if is_label_file(out) else out


def _names(request: SegmentRequest, tasks: Sequence[Task]) -> list[str]:
    """Names of the label files: one a task and, of several tasks in NIfTI, the map of all."""
    if is_label_file(request.out):
        return [request.out.name]
    single = [] if request.merge == "original" else [f"{task.key}{FORMATS[request.format][-1]}" for task in tasks]
    return single if len(single) == 1 or request.format == "dicom-seg" else [*single, "merged.nii.gz"]


def _saved(request: SegmentRequest, outcome: Outcome, names: Sequence[str]) -> Outcome:
    folder = _folder(request.out)
    maps: list[Segmentation | MergedMap] = [*outcome.segmentations, *([outcome.merged] if outcome.merged else [])]
    with staged(folder) as staging:
        for name, labels in zip(names, maps, strict=True):
            labels.save(staging / name)
        if folder == request.out:
            write_sealed_json(staging / "run.json", outcome.record.to_dict())
        files = sorted(folder / path.name for path in staging.iterdir())
    if request.report:
        with staged(request.report.parent) as staging:
            write_sealed_json(staging / request.report.name, outcome.record.to_dict())
    return replace(outcome, files=tuple(files))


def make_phantoms(
    keys: Sequence[str], folder: Path, count: int, seed: int, progress: ProgressHook = ignore_progress
) -> dict[str, list[str]]:
    """Write ``count`` synthetic cases of each task as data sets; their names by task key.

    keys: one task, whose data set is the folder itself, or several (or ``all``: the eleven), each with a data set of its own in
        the folder. Tasks that one scan can answer get the same patients and share the image files. A task beside the
        eleven gets its description, ``task.toml``, too.

    Raises:
        TaskError: an unknown key. OptionError: no key.
        OutputError: the folder cannot be written, or holds cases of another task.
    """
    from uniseg_model.dataset import TASK_FILE, check_description, write_case, write_description
    from uniseg_model.phantom import FAMILIES, HELD_OUT, make_phantom, phantom_tasks

    homes = FAMILIES | HELD_OUT
    tasks = _chosen(keys, phantom_tasks(), builtin_tasks().values)
    folders = {task: folder if len(tasks) == 1 else folder / task.key for task in tasks}
    check_folder(folder)
    for task, place in folders.items():
        check_description(place, task)
    cases: dict[str, list[str]] = {task.key: [] for task in tasks}
    families = {homes[task.key]: [t for t in tasks if homes[t.key] == homes[task.key]] for task in tasks}
    try:
        for done, (family, number) in enumerate(itertools.product(families, range(seed, seed + count))):
            progress(Progress("phantom", done, len(families) * count))
            first, *_ = members = families[family]
            phantom, case = make_phantom(first.key, number), f"{family}_{number:04d}"
            for task in members:
                shared = None if task is first else folders[first]
                write_case(folders[task], case, phantom.volume, phantom.labels[task.key], images_of=shared)
                cases[task.key].append(case)
    finally:  # whoever interrupts keeps data sets of the cases so far
        for task, place in folders.items():
            if cases[task.key]:
                write_description(place, task)
                if task.key in HELD_OUT:
                    write_task(place / TASK_FILE, task)
    return cases


def _chosen(keys: Sequence[str], known: TaskRegistry, every: Callable[[], Iterable[Task]]) -> list[Task]:
    """The tasks behind the keys, each once; ``all`` stands for ``every``."""
    found = {task.key: task for key in _keys(keys) for task in (every() if key == "all" else [known[key]])}
    if not found:
        raise OptionError("no task was asked for", hint=f"Choose from {', '.join(known)}, or all.")
    return list(found.values())


def make_plan(
    tasks: Sequence[str], path: Path | None = None, task_file: Path | None = None, changes: Sequence[str] = ()
) -> Plan:
    """The paper's training of these tasks, changed by a plan file and then by single settings.

    tasks: keys, or ``all``: those of the task file or, without one, the built-in ones.
    changes: lines as they could stand in a plan file, such as ``rate = 0.001``.

    Raises:
        UniSegError: of the kind that fits what is wrong.
    """
    from uniseg_model.training.plan import read_plan

    own = read_tasks(task_file) if task_file else []
    known = TaskRegistry([*(task for task in builtin_tasks().values() if task.key not in {t.key for t in own}), *own])
    registry = TaskRegistry(_chosen(tasks, known, lambda: own or known.values()))
    return read_plan(path, registry, changes)


def train(
    request: TrainingRequest, progress: ProgressHook = ignore_progress, listeners: Sequence[Listener] = ()
) -> dict[str, Any]:
    """Train in a run folder; what came of it as plain values. The listeners are told each line of the curve.

    Raises:
        UniSegError: of the kind that fits what is wrong.
    """
    from uniseg_model.training.start import run_training

    check_folder(request.out)
    run = run_training(request, progress, listeners)
    means = [line["mean_dice"] for line in run.curve() if "mean_dice" in line]
    return {
        "steps": request.plan.iterations,
        "final_weights": str(run.final),
        "best_weights": str(run.best),
        "best_validation_dice": max(means, default=None),
    }


def import_data(
    name: str, source: Path, root: Path, splits: Path | None, progress: ProgressHook = ignore_progress
) -> ImportSummary:
    """Bring a published data set from a person's own download into ROOT/NAME.

    Raises:
        UniSegError: of the kind that fits what is wrong. Cancelled: the hook wanted it so.
    """
    from uniseg_model.upstream import import_upstream

    check_folder(root)
    return import_upstream(name.strip().lower(), source, root, splits=splits, progress=progress)


def run_demo(folder: Path, progress: ProgressHook = ignore_progress) -> tuple[Outcome, dict[str, dict[str, float]]]:
    """Segment a phantom CT under all its prompts with the installed weights or, where there are none, untrained ones.

    Also returns Dice against the phantom's known answers, by task key and structure.

    Raises:
        OutputError: the folder cannot be written.
    """
    from uniseg_model.checkpoint import untrained
    from uniseg_model.evaluation import dice
    from uniseg_model.network.config import NetworkConfig
    from uniseg_model.phantom import make_phantom
    from uniseg_model.predictor import Options

    [[case]] = make_phantoms(["liver"], folder / "phantom", 1, _DEMO_SEED, progress).values()
    weights, options = installed_weights(), Options()
    if weights is None:
        weights, options = folder / "untrained.safetensors", Options(spacing_mm=_COARSE_MM)  # noise needs no fine grid
        untrained(NetworkConfig(window=(32, 96, 96), features=(4, 8, 16, 32, 40, 40))).save(weights)
    image = folder / "phantom" / "imagesTr" / f"{case}_0000.nii.gz"
    outcome = segment(SegmentRequest((image,), ("all",), folder / "labels", options, weights=weights), progress)
    truth = make_phantom("liver", _DEMO_SEED).labels
    scores = {
        answer.task.key: {
            label.name: dice(answer.labels == value, truth[answer.task.key] == value)
            for value, label in enumerate(answer.task.labels, start=1)
        }
        for answer in outcome.segmentations if answer.task.key in truth
    }  # fmt: skip
    return outcome, scores
