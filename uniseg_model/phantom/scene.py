"""A scene: an anatomy ready to be seen on any grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from uniseg_model.phantom.canvas import Grid, Picture, Pose, Stroke
from uniseg_model.tasks import Task

Develop = Callable[[np.ndarray, Grid, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Scene:
    """Strokes in the order of painting, how the body lies, and what the scanner makes of it.

    background: one value a channel, where there is no body.
    parts: label name to the names of its strokes, where they are not the label's own name.
    develop: painted values (C, Z, Y, X) to the image (C, Z, Y, X) with blur and noise.
    """

    strokes: tuple[Stroke, ...]
    pose: Pose
    background: tuple[float, ...]
    parts: Mapping[str, tuple[str, ...]]
    develop: Develop

    def answer(self, task: Task, picture: Picture) -> np.ndarray:
        """The task's labels (Z, Y, X) uint8: label ``i`` has the value ``i + 1``."""
        values = np.zeros(picture.owner.shape, np.uint8)
        for value, label in enumerate(task.labels, start=1):
            values[picture.where(*self.parts.get(label.name, (label.name,)))] = value
        return values
