"""Prompts of several tasks side by side, wherever they come from.

Letters: T tasks; z, y, x voxels of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from uniseg_model.errors import TaskError
from uniseg_model.prompts.similarity import DEFAULT, SIMILARITIES, Plane, Tree, cluster, project, similarity
from uniseg_model.tasks import Task


@dataclass(frozen=True)
class Statistics:
    """Plain numbers of one prompt. norm: the length of all its voxels as one vector."""

    mean: float
    std: float
    min: float
    max: float
    norm: float

    @classmethod
    def of(cls, prompt: np.ndarray) -> Statistics:
        """Those of one prompt (z, y, x), counted in float64."""
        values = prompt.astype(np.float64)
        return cls(*(float(f(values)) for f in (np.mean, np.std, np.min, np.max, np.linalg.norm)))


@dataclass(frozen=True, eq=False)
class PromptSet:
    """One prompt a task. array: (T, z, y, x) float32 in the order of ``tasks``."""

    tasks: tuple[Task, ...]
    array: np.ndarray = field(repr=False)

    def place(self, key: str) -> int:
        """Where a task stands.

        Raises:
            TaskError: it is not among these.
        """
        keys = [task.key for task in self.tasks]
        if key not in keys:
            raise TaskError(f"there is no prompt of task {key!r} here, only of {', '.join(keys)}")
        return keys.index(key)

    def of(self, key: str) -> np.ndarray:
        """The prompt of one task, (z, y, x).

        Raises:
            TaskError: it is not among these.
        """
        return np.asarray(self.array[self.place(key)])

    def difference(self, a: str, b: str) -> np.ndarray:
        """The prompt of task ``a`` minus that of ``b``, (z, y, x).

        Raises:
            TaskError: one is not among these.
        """
        return np.asarray(self.of(a) - self.of(b))

    def statistics(self) -> dict[str, Statistics]:
        """By task key."""
        return {task.key: Statistics.of(prompt) for task, prompt in zip(self.tasks, self.array, strict=True)}

    def similarity(self, kind: str = DEFAULT) -> np.ndarray:
        """How alike the prompts are, (T, T): see :func:`~uniseg_model.prompts.similarity.similarity`."""
        return similarity(self.array, kind)

    def tree(self, kind: str = DEFAULT) -> Tree:
        """Their clusters."""
        return cluster(self.similarity(kind))

    def plane(self) -> Plane:
        """The plane in which they differ most."""
        return project(self.array)

    def to_dict(self) -> dict[str, Any]:
        """Statistics, matrices with the order of their clusters, and the plane, for JSON. Not the voxels."""
        plane = self.plane()
        return {
            "tasks": [task.key for task in self.tasks],
            "shape": list(self.array.shape[1:]),
            "statistics": {key: asdict(found) for key, found in self.statistics().items()},
            "similarity": {kind: self._matrix(kind) for kind in SIMILARITIES},
            "plane": {"points": plane.points.tolist(), "shares": list(plane.shares)},
        }

    def _matrix(self, kind: str) -> Mapping[str, Any]:
        return {"matrix": self.similarity(kind).tolist(), "order": list(self.tree(kind).order)}
