"""The cases that went worst, drawn: for each structure those with the lowest Dice, from the files that were compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg_model.errors import FileFormatError, ImageError
from uniseg_model.evaluation.pictures import Picture, draw_difference
from uniseg_model.evaluation.scores import CaseScores, Evaluation
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import NIFTI_SUFFIXES, read_labels, read_volume

N_WORST = 3  # of each structure


@dataclass(frozen=True)
class WorstCase:
    """One structure of one case as a picture. note: why the image that should lie behind it does not; empty when all is well."""

    case: CaseScores
    structure: str
    picture: Picture
    note: str


def check_images(images: Path) -> None:
    """Refuse a folder of images that is not there or holds none.

    Raises:
        FileFormatError: it is so.
    """
    if not images.is_dir() or not any(images.glob("*_0000.nii*")):
        raise FileFormatError(
            f"{images} is no folder with images named CASE_0000.nii.gz", hint="Give the imagesTr of nnU-Net's layout."
        )


def draw_worst(evaluation: Evaluation, images: Path | None = None) -> dict[str, list[WorstCase]]:
    """By structure the pictures of its worst cases, the worst first; none where no case shows a difference.

    images: a folder in which ``CASE_0000.nii.gz`` is the first channel of a case.

    Raises:
        ImageError: a label map that was compared before cannot be read any more.
    """
    wanted = {label.name: evaluation.worst_cases(label.name, N_WORST) for label in evaluation.task.labels}
    drawn: dict[tuple[str, str], WorstCase] = {}
    for case in {case.case: case for cases in wanted.values() for case in cases}.values():  # each file is read once
        structures = [name for name, cases in wanted.items() if case in cases]
        drawn |= _draw_case(case, evaluation, structures, images)
    return {name: [drawn[case.case, name] for case in cases] for name, cases in wanted.items()}


def _draw_case(
    case: CaseScores, evaluation: Evaluation, structures: list[str], images: Path | None
) -> dict[tuple[str, str], WorstCase]:
    (found, _), (wanted, affine) = read_labels(case.prediction), read_labels(case.reference)
    image, note = _image_of(case.case, wanted.shape, affine, images)
    drawn: dict[tuple[str, str], WorstCase] = {}
    for value, label in enumerate(evaluation.task.labels, start=1):
        if label.name in structures:
            picture = draw_difference(found == value, wanted == value, affine, image, evaluation.task.window_hu)
            drawn[case.case, label.name] = WorstCase(case, label.name, picture, note)
    return drawn


def _image_of(case: str, shape: tuple[int, ...], affine: np.ndarray, images: Path | None) -> tuple[np.ndarray | None, str]:
    """The first channel of a case (Z, Y, X), or None and why not, which needs no words where no images were given."""
    if images is None:
        return None, ""
    path = next((path for suffix in NIFTI_SUFFIXES if (path := images / f"{case}_0000{suffix}").is_file()), None)
    if path is None:
        return None, f"there is no image {case}_0000.nii.gz"
    try:
        volume = read_volume(path)
        check_same_grid("the image", Grid(volume.shape, volume.affine), "the reference", Grid(shape, affine))
    except ImageError as exc:
        return None, str(exc)
    return volume.array[0], ""
