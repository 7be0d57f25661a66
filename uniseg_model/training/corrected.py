"""Corrected answers as training cases: image, labels, and where they come from.

Beside the data set's images and labels, ``provenance.json`` says of each case that was added so what was predicted, with which
weights, and how many voxels a person changed. nnU-Net's programs pass it over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.dataset import TASK_FILE, check_description, label_files, write_case, write_description
from uniseg_model.errors import FileFormatError, GeometryError, OptionError
from uniseg_model.files import write_json
from uniseg_model.segmentation import Segmentation
from uniseg_model.suitability import check_channels
from uniseg_model.tasks import Task, write_task
from uniseg_model.training.cases import SPLITS, read_splits
from uniseg_model.volume import Volume

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Provenance:
    """Where a corrected case comes from.

    weights: which, as in a run record; empty where nothing was predicted. changed: voxels a person changed, by structure, and
    those taken away under ``background``. dice: of the prediction with the correction, by structure; None where neither has it.
    """

    image: tuple[str, ...]
    weights: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    dice: Mapping[str, float | None] = field(default_factory=dict)
    added_s: float = 0.0

    @property
    def n_changed(self) -> int:
        """Voxels a person changed."""
        return sum(self.changed.values())


def add_case(
    folder: Path,
    volume: Volume,
    corrected: np.ndarray,
    task: Task,
    predicted: Segmentation | None = None,
    *,
    case: str | None = None,
) -> tuple[str, Provenance]:
    """Add an image with corrected labels (Z, Y, X) to a data set, which is begun where there is none; the case's name.

    Where a split is stored with the data, the case joins those to learn from; what is validated on stays as it is.

    predicted: what the labels were before they were corrected. case: its name; a new number when None.

    Raises:
        ModalityError: other channels than the task's. GeometryError: labels of another shape than the image.
        OptionError: values that the task does not have, or a prediction for another task.
        OutputError: the folder is for something else, holds other labels under that name, or cannot be written.
        FileFormatError: what is stored of its split or its cases is damaged.
    """
    check_channels(task, volume)
    if corrected.shape != volume.shape:
        raise GeometryError(
            f"the labels have {corrected.shape} voxels (z, y, x), the image {volume.shape}",
            hint="Correct on the image's own grid.",
        )
    if strange := [int(v) for v in np.unique(corrected) if not 0 <= v < task.n_classes]:
        raise OptionError(f"the labels hold the value {strange[0]}, {task.title!r} has the values 0 to {task.n_classes - 1}")
    if predicted is not None and predicted.task.labels != task.labels:
        raise OptionError(f"the prediction is of {predicted.task.title!r}, the labels are for {task.title!r}")
    check_description(folder, task)
    folds, told = _stored_folds(folder), _stored(folder)
    name, labels = case or _free_name(folder, task), corrected.astype(np.uint8)
    write_case(folder, name, volume, labels)
    found = _compared(volume, labels, task, predicted)
    write_json(folder / PROVENANCE, {**told, name: asdict(found)})
    if folds and not any(name in (*fold["train"], *fold["val"]) for fold in folds):
        write_json(folder / SPLITS, [{**fold, "train": [*fold["train"], name]} for fold in folds])
    write_description(folder, task)
    if not (folder / TASK_FILE).exists():
        write_task(folder / TASK_FILE, task)
    return name, found


def read_provenance(folder: Path) -> dict[str, Provenance]:
    """Where the cases of a data set come from that were added so, by name, in the order in which they were added.

    Raises:
        FileFormatError: the file is damaged.
    """
    try:
        found = {name: Provenance(**{**facts, "image": tuple(facts["image"])}) for name, facts in _stored(folder).items()}
    except (KeyError, TypeError) as exc:
        raise FileFormatError(f"{folder / PROVENANCE} is damaged: {exc!r}", hint="Mend it, or move it away.") from exc
    return dict(sorted(found.items(), key=lambda item: item[1].added_s))


def _stored(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (OSError, ValueError, TypeError) as exc:
        raise FileFormatError(f"{path} is damaged: {exc}", hint="Mend it, or move it away.") from exc


def _stored_folds(folder: Path) -> list[dict[str, list[str]]]:
    """The split as it is stored; empty where there is none."""
    path = folder / SPLITS
    if not path.exists():
        return []
    read_splits(path)
    return list(json.loads(path.read_text(encoding="utf-8")))


def _free_name(folder: Path, task: Task) -> str:
    taken = {path.name.removesuffix(".nii.gz") for path in label_files(folder)}
    return next(name for i in range(len(taken) + 1) if (name := f"{task.key}_{i:04d}") not in taken)


def _compared(volume: Volume, labels: np.ndarray, task: Task, predicted: Segmentation | None) -> Provenance:
    image = tuple(volume.source.paths)
    if predicted is None:
        return Provenance(image, added_s=time.time())
    names = ["background", *(label.name for label in task.labels)]
    moved = labels[labels != predicted.labels]
    changed = {name: int((moved == value).sum()) for value, name in enumerate(names)}
    dice = {name: _dice(predicted.labels == value, labels == value) for value, name in enumerate(names) if value}
    return Provenance(image, dict(predicted.record.weights), changed, dice, time.time())


def _dice(a: np.ndarray, b: np.ndarray) -> float | None:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None
