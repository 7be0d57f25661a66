"""One slice that shows how far a training is: grey values, truth and answer, in a small file that whoever watches may read.

``preview.npz`` in the run folder holds image, truth, answer (Y, X), step, mean_dice, task and source. It is replaced whole at
each validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg_model.errors import FileFormatError
from uniseg_model.files import whole_file

if TYPE_CHECKING:
    from uniseg_model.training.validation import Example


@dataclass(frozen=True, eq=False)
class Preview:
    """What a preview file holds. image: (Y, X) float32; truth, answer: (Y, X) uint8; task: its key; source: case and place."""

    image: np.ndarray
    truth: np.ndarray
    answer: np.ndarray
    step: int
    mean_dice: float
    task: str
    source: str


def write_preview(path: Path, example: Example | None, step: int, mean_dice: float) -> None:
    """Write the example of a validation, whole or not at all; nothing where there is none.

    Raises:
        OutputError: it cannot be written.
    """
    if example is None:
        return
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, image=example.image.astype(np.float32), truth=example.truth, answer=example.answer,
            step=np.array(step), mean_dice=np.array(mean_dice), task=np.array(example.task), source=np.array(example.source),
        )  # fmt: skip


def read_preview(path: Path) -> Preview | None:
    """The preview in a file; None where there is none yet.

    Raises:
        FileFormatError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            return Preview(held["image"], held["truth"], held["answer"], int(held["step"]), float(held["mean_dice"]),
                           str(held["task"]), str(held["source"]))  # fmt: skip
    except Exception as exc:  # numpy raises whatever it stumbles over
        raise FileFormatError(f"{path} is damaged: {exc}", hint="The next validation writes it anew.") from exc
