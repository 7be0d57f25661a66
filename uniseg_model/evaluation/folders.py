"""One folder of label maps against another.

Cases pair by name. In either folder a case is ``CASE.nii.gz`` or ``CASE.nii``, or a folder ``CASE`` that holds the task's
file, ``CASE/liver.nii.gz`` for the task ``liver``, as segmenting several tasks writes it. All other files are ignored.

A case that cannot be compared (another grid, a label the task does not have, a damaged file) never ends the evaluation
and never vanishes from it: it is listed with its reason, as are predictions that are missing or have no reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from uniseg_model.errors import FileFormatError, ImageError
from uniseg_model.evaluation.metrics import check_tolerance, dice, hd95_mm, surface_dice, volume_error_percent
from uniseg_model.evaluation.scores import CaseScores, Evaluation, StructureScores
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import NIFTI_SUFFIXES, read_labels
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.tasks import Task
from uniseg_model.volume import voxel_lengths


def evaluate_folders(
    predictions: Path,
    references: Path,
    task: Task,
    *,
    tolerance_mm: float = 2.0,
    progress: ProgressHook = ignore_progress,
) -> Evaluation:
    """The label maps of one folder compared with those of another, for one task.

    progress: one unit is one case.

    Raises:
        FileFormatError: a folder is missing, or no prediction has the name of a reference.
        OptionError: the tolerance is negative or not finite.
        MissingPackageError: MONAI is not installed.
    """
    check_tolerance(tolerance_mm)
    found, wanted = _find_cases(predictions, task.key), _find_cases(references, task.key)
    paired = sorted(found.keys() & wanted.keys())
    if not paired:
        raise _nothing_to_compare(predictions, found, references, wanted)
    cases: list[CaseScores] = []
    failed: dict[str, str] = {}
    for done, case in enumerate(paired):
        progress(Progress("evaluate", done, len(paired)))
        try:
            prediction, reference = _only(found[case]), _only(wanted[case])
            cases.append(CaseScores(case, _score(prediction, reference, task, tolerance_mm), prediction, reference))
        except ImageError as exc:
            failed[case] = str(exc)
    progress(Progress("evaluate", len(paired), len(paired)))
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    return Evaluation(task, predictions, references, tolerance_mm, tuple(cases), tuple(missing), tuple(surplus), failed)


def _score(prediction: Path, reference: Path, task: Task, tolerance_mm: float) -> dict[str, StructureScores]:
    (found, found_affine), (wanted, affine) = read_labels(prediction), read_labels(reference)
    check_same_grid("the prediction", Grid(found.shape, found_affine), "the reference", Grid(wanted.shape, affine))
    for labels, path in ((found, prediction), (wanted, reference)):
        _check_declared(labels, path, task)
    spacing_mm, voxel_ml = voxel_lengths(affine), abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    scores = {}
    for value, label in enumerate(task.labels, start=1):
        a, b = found == value, wanted == value
        scores[label.name] = StructureScores(
            dice=dice(a, b),
            hd95_mm=hd95_mm(a, b, spacing_mm),
            surface_dice=surface_dice(a, b, spacing_mm, tolerance_mm),
            volume_error_percent=volume_error_percent(a, b),
            reference_ml=np.count_nonzero(b) * voxel_ml,
            prediction_ml=np.count_nonzero(a) * voxel_ml,
        )
    return scores


def _check_declared(labels: np.ndarray, path: Path, task: Task) -> None:
    strange = sorted({int(value) for value in np.unique(labels)} - set(range(task.n_classes)))
    if strange:
        known = ", ".join(f"{value} {label.name}" for value, label in enumerate(task.labels, start=1))
        raise FileFormatError(f"{path.name} holds the label {strange[0]}, and task {task.key!r} has only 0 background, {known}")


def _find_cases(folder: Path, task_key: str) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise FileFormatError(f"there is no folder {folder}", hint="Give two folders of label maps, predictions first.")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        inside = [path / f"{task_key}{suffix}" for suffix in NIFTI_SUFFIXES]
        case, candidates = (path.name, inside) if path.is_dir() else (_case_name(path), [path])
        if case and (held := [candidate for candidate in candidates if candidate.is_file()]):
            files.setdefault(case, []).extend(held)
    return files


def _case_name(path: Path) -> str:
    """``CASE`` of ``CASE.nii.gz``; empty for hidden files and for what is no NIfTI file."""
    suffix = next((suffix for suffix in NIFTI_SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: -len(suffix)] if suffix and not path.name.startswith(".") else ""


def _only(paths: list[Path]) -> Path:
    if len(paths) > 1:
        names = " and ".join(str(path) for path in paths)
        raise FileFormatError(f"a case has one label map in a folder, here are {names}", hint="Remove all but one.")
    return paths[0]


def _nothing_to_compare(predictions: Path, found: Iterable[str], references: Path, wanted: Iterable[str]) -> FileFormatError:
    return FileFormatError(
        f"no label map in {predictions} ({_some(found)}) has the name of one in {references} ({_some(wanted)})",
        hint="Name a prediction like its reference, CASE.nii.gz, or put it into a folder CASE under the task's key.",
    )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "no label maps"
