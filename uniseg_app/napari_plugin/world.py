"""Where a volume stands in napari's world, and how its labels come back.

napari slices along an array's own axes, shows the first one's slices and draws rows downwards and columns to the right. So that
all three planes look as radiologists expect, and volumes of one patient lie over each other in mm, a layer's array runs from head to
foot, front to back and right to left, and the world's axes point the same way: world = -(S, A, R) in mm. Axes are permuted and
flipped for this, never resampled. An oblique volume is shown upright around its own centre; only its display is, its affine stays.

Letters: Z, Y, X the volume's axes as stored; u, v, w the layer's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uniseg_model.axes import Axes, axes_for
from uniseg_model.volume import AXIS_NAMES, Triple, Volume

AXES = "LPI"  # where the layer's w, v, u point: the rule's letters are x, y, z
AXIS_LABELS = ("z", "y", "x")
UPRIGHT = 1e-3  # of the largest voxel length: rounding, not a tilt

_TO_WORLD = np.array([
    [0, 0, -1.0, 0],
    [0, -1, 0, 0],
    [-1, 0, 0, 0],
    [0, 0, 0, 1],
])  # (R, A, S, 1) to the world; its own inverse


@dataclass(frozen=True, eq=False)
class Placed:
    """A volume whose channels are layers of the viewer. axes: from the volume's (Z, Y, X) to the layers' (u, v, w)."""

    volume: Volume
    axes: Axes

    @classmethod
    def of(cls, volume: Volume) -> Placed:
        """A volume as our reader shows it."""
        return cls(volume, axes_for(volume.affine, AXES))

    @property
    def affine(self) -> np.ndarray:
        """Where the layer's voxels truly lie, (u, v, w, 1) to RAS+ mm."""
        return np.asarray(self.volume.affine @ turn_matrix(self.axes, self.volume.shape))

    def to_layer(self, array: np.ndarray) -> np.ndarray:
        """A view (Z, Y, X) -> (u, v, w)."""
        return self.axes.apply(array)

    def to_volume(self, array: np.ndarray) -> np.ndarray:
        """A copy (u, v, w) -> (Z, Y, X)."""
        return self.axes.undo(array)

    def voxel_of(self, place: Triple) -> Triple:
        """The voxel Z, Y, X at a place u, v, w."""
        z, y, x = (float(at) for at in (turn_matrix(self.axes, self.volume.shape) @ [*place, 1.0])[:3])
        return z, y, x


def turn_matrix(axes: Axes, shape: tuple[int, ...]) -> np.ndarray:
    """(u, v, w, 1) to (Z, Y, X, 1) for a volume of ``shape`` (Z, Y, X)."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for i, axis in enumerate(axes.order):
        flipped = i in axes.flips
        matrix[axis, i] = -1.0 if flipped else 1.0
        matrix[axis, 3] = shape[axis] - 1.0 if flipped else 0.0
    return matrix


def display_of(placed: Placed) -> dict[str, Any]:
    """Scale, translate, units and axis labels of the layers of a volume."""
    world = _TO_WORLD @ placed.affine
    scale = np.linalg.norm(world[:3, :3], axis=0)
    middle = (np.array([placed.volume.shape[axis] for axis in placed.axes.order]) - 1) / 2
    translate = (world @ [*middle, 1.0])[:3] - scale * middle
    return {"scale": tuple(scale), "translate": tuple(translate), "units": ("mm",) * 3, "axis_labels": AXIS_LABELS}


def is_oblique(placed: Placed) -> bool:
    """Whether the display leaves out a rotation."""
    world = (_TO_WORLD @ placed.affine)[:3, :3]
    lengths = np.linalg.norm(world, axis=0)
    return not np.allclose(world, np.diag(lengths), atol=UPRIGHT * lengths.max())


def affine_of(world: np.ndarray, letters: str = AXES) -> np.ndarray:
    """The affine (u, v, w, 1) to RAS+ mm of a layer whose voxels lie at ``world`` (4, 4), (u, v, w, 1) to the world's mm.

    letters: where the world's axes w, v, u point to in the patient.
    """
    to_ras = np.zeros((4, 4))
    to_ras[3, 3] = 1.0
    for i, letter in enumerate(reversed(letters)):
        row, names = next((row, names) for row, names in enumerate(AXIS_NAMES) if letter in names)
        to_ras[row, i] = 1.0 if names[1] == letter else -1.0
    return np.asarray(to_ras @ world)
