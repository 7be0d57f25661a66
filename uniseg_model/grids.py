"""When two files lie on the same grid: one rule for channels, labels and answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uniseg_model.errors import GeometryError
from uniseg_model.volume import Shape, voxel_lengths

SAME_PLACE = 0.05  # of the smallest voxel length: header rounding, not anatomy


class Grid(NamedTuple):
    """Where voxels lie. shape: (Z, Y, X). affine: (4, 4) float64, array index z, y, x to world mm."""

    shape: tuple[int, ...]
    affine: np.ndarray


def check_same_grid(what: str, found: Grid, other: str, wanted: Grid, *, share: float = SAME_PLACE, hint: str = "") -> None:
    """Refuse ``what`` unless it lies on the grid of ``other``.

    share: of the smallest voxel length by which corners may be apart.

    Raises:
        GeometryError: it does not, with the shapes or the distance.
    """
    if found.shape != wanted.shape:
        raise GeometryError(
            f"{what} has {found.shape} voxels (z, y, x), {other} has {wanted.shape}: they need one grid", hint=hint
        )
    z, y, x = wanted.shape
    apart_mm, allowed_mm = corner_distance_mm(found.affine, wanted.affine, (z, y, x)), share * min(voxel_lengths(wanted.affine))
    if apart_mm > allowed_mm:
        raise GeometryError(f"{what} lies {apart_mm:.3g} mm away from {other}, {allowed_mm:.3g} mm are allowed "
                            f"({share:.0%} of the smallest voxel length): they need one grid", hint=hint)  # fmt: skip


def corner_distance_mm(a: np.ndarray, b: np.ndarray, shape: Shape) -> float:
    """Largest distance in mm between the places two affines give to a corner of a grid of ``shape`` (Z, Y, X)."""
    corners = np.array([[z, y, x, 1.0] for z in (0, shape[0] - 1) for y in (0, shape[1] - 1) for x in (0, shape[2] - 1)])
    return float(np.linalg.norm(((a - b) @ corners.T)[:3], axis=0).max())
