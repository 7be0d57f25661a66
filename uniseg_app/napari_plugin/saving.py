"""Answers of the viewer as files: a new folder for each image, so that nothing is ever replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniseg_app.answers import save_answers
from uniseg_app.napari_plugin.answers import Answer
from uniseg_app.napari_plugin.layers import name_of_file
from uniseg_app.napari_plugin.measured import current_rows
from uniseg_app.outputs import check_folder, free_name
from uniseg_model.errors import OptionError
from uniseg_model.tasks import TaskRegistry


@dataclass(frozen=True, eq=False)
class Shown:
    """An answer and the labels (u, v, w) that its layer holds now."""

    answer: Answer
    labels: np.ndarray = field(repr=False)


def save_shown(folder: Path, shown: Sequence[Shown], known: TaskRegistry) -> list[Path]:
    """Write them as the command line does, labels and volumes as they are now. The folders that were made, one for each image.

    shown: of several versions of one task the first counts. known: the tasks of the weights.

    Raises:
        OptionError: there is nothing to save. OutputError: the folder cannot be written.
    """
    if not shown:
        raise OptionError("there are no answers to save", hint="Segment an image first.")
    check_folder(folder)
    return [_save(folder, list(of_image.values()), known) for of_image in _by_image(shown).values()]


def _by_image(shown: Sequence[Shown]) -> dict[str, dict[str, Shown]]:
    """The answers by task, by image."""
    images: dict[str, dict[str, Shown]] = {}
    for one in shown:
        images.setdefault(one.answer.placed.volume.fingerprint, {}).setdefault(one.answer.task.key, one)
    return images


def _save(folder: Path, shown: Sequence[Shown], known: TaskRegistry) -> Path:
    foreign = [one.answer.task for one in shown if one.answer.task.key not in known]  # of weights that were used before
    made = free_name(folder, f"uniseg-{name_of_file(shown[0].answer.placed.volume)}")
    segmentations = [one.answer.segmentation(one.labels) for one in shown]
    rows = [row for one in shown for row in current_rows(one.answer, one.labels)]
    save_answers(made, segmentations, TaskRegistry([*known.values(), *foreign]), rows)
    return made
