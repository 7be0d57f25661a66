"""Folders of cases in nnU-Net's layout, so that users' own folders work as they are.

DATASET/imagesTr/CASE_0000.nii.gz   one file per channel: _0000, _0001, ...
DATASET/labelsTr/CASE.nii.gz        values as in the task's labels
DATASET/dataset.json                channels and labels by name (version 2)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uniseg_model.errors import OutputError
from uniseg_model.io import write_image, write_labels
from uniseg_model.segmentation import write_json
from uniseg_model.tasks import Task
from uniseg_model.volume import Volume


def write_case(folder: Path, case: str, volume: Volume, labels: np.ndarray) -> None:
    """Write one case: its channels and its labels (Z, Y, X) uint8.

    Raises:
        OutputError: the folder cannot be written.
    """
    images, answers = folder / "imagesTr", folder / "labelsTr"
    try:
        images.mkdir(parents=True, exist_ok=True)
        answers.mkdir(exist_ok=True)
    except OSError as exc:
        raise OutputError(
            f"{folder} cannot be written: {exc}", hint="Choose a folder with space and write permission."
        ) from exc
    for number, channel in enumerate(volume.array):
        write_image(images / f"{case}_{number:04d}.nii.gz", channel, volume)
    write_labels(answers / f"{case}.nii.gz", labels, volume)


def write_description(folder: Path, task: Task) -> None:
    """Write ``dataset.json`` for the cases that lie in the folder now.

    Raises:
        OutputError: it cannot be written.
    """
    facts = {
        "name": task.title,
        "channel_names": {str(number): modality for number, modality in enumerate(task.modalities)},
        "labels": {"background": 0, **{label.name: value for value, label in enumerate(task.labels, start=1)}},
        "numTraining": len(list((folder / "labelsTr").glob("*.nii.gz"))),
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", facts)
