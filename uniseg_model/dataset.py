"""Folders of cases in nnU-Net's layout, so that users' own folders work as they are.

DATASET/imagesTr/CASE_0000.nii.gz   one file per channel: _0000, _0001, ...
DATASET/labelsTr/CASE.nii.gz        values as in the task's labels
DATASET/dataset.json                channels and labels by name (version 2)
DATASET/task.toml                   a task of one's own, in the form of tasks.toml; not nnU-Net's, and not needed
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from uniseg_model.errors import OutputError
from uniseg_model.files import make_folder, whole_file, write_json
from uniseg_model.io import read_labels, write_image, write_labels
from uniseg_model.tasks import Task
from uniseg_model.volume import Volume

TASK_FILE = "task.toml"


def label_files(folder: Path) -> list[Path]:
    """The label files of a data set, one a case, by name; hidden ones, which may be half-written, do not count."""
    return sorted((folder / "labelsTr").glob("[!.]*.nii.gz"))


def write_case(folder: Path, case: str, volume: Volume, labels: np.ndarray, *, images_of: Path | None = None) -> None:
    """Write one case: its channels and its labels (Z, Y, X) uint8.

    images_of: a data set that holds the same case; its images are shared (hard links, where the disk can) and not
        written again, because one scan may be the case of several tasks.

    Raises:
        OutputError: the folder cannot be written, or a case of that name has other labels there.
    """
    images, answers = folder / "imagesTr", folder / "labelsTr"
    answer = answers / f"{case}.nii.gz"
    channels = [images / f"{case}_{number:04d}.nii.gz" for number in range(volume.n_channels)]
    if answer.exists() and not np.array_equal(read_labels(answer)[0], labels):
        raise OutputError(f"{answer} exists and holds other labels", hint="Choose another folder or another --seed.")
    fresh = [path for path in [answer, *channels] if not path.exists()]
    try:
        _make_folders(images, answers)
        for path, channel in zip(channels, volume.array, strict=True):
            if images_of:
                _share(images_of / "imagesTr" / path.name, path)
            else:
                write_image(path, channel, volume)
        write_labels(answer, labels, volume)
    except OutputError:
        _remove(fresh, [images, answers])
        raise


def _share(source: Path, path: Path) -> None:
    with whole_file(path) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        make_folder(folder)


def _remove(files: list[Path], folders: list[Path]) -> None:
    """Take away what a failed case has left, and folders that are empty then."""
    for path in files:
        path.unlink(missing_ok=True)
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def check_description(folder: Path, task: Task) -> None:
    """Refuse a folder whose ``dataset.json`` speaks of something else than this task.

    Raises:
        OutputError: it does.
    """
    path = folder / "dataset.json"
    if not path.exists():
        return
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        name = "something else"
    if name != task.title:
        raise OutputError(
            f"{path} describes {name!r}, not {task.title!r}: one folder holds one data set", hint="Choose another folder."
        )


def write_description(folder: Path, task: Task) -> None:
    """Write ``dataset.json`` for the cases that lie in the folder now.

    Raises:
        OutputError: it cannot be written.
    """
    facts = {
        "name": task.title,
        "channel_names": {str(number): modality for number, modality in enumerate(task.modalities)},
        "labels": {"background": 0, **{label.name: value for value, label in enumerate(task.labels, start=1)}},
        "numTraining": len(label_files(folder)),
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", facts)
