"""Coarse window maps in one coarse volume, exactly as if they had been made fine first.

A window's prompt has one voxel per *cell* of input voxels. Windows do not start at multiples of a cell, so cells of windows
and of the volume cut each other into segments. In a segment both are constant; so the weighted mean over the voxels of a
cell is a sum over a few segments, each with the sum of its voxels' weights.

Letters: T maps; z, y, x voxels of a window's map; the volume's cells tile the padded grid from its first voxel, the last
ones may reach beyond it and count only what lies in it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from uniseg_model.volume import Shape
from uniseg_model.windows import Layout


class Stitch:
    """Sums over windows. layout: the windows that will come. cell: input voxels per voxel of their maps. n_maps: T."""

    def __init__(self, layout: Layout, cell: Shape, n_maps: int) -> None:
        padded = [n + before + after for n, (before, after) in zip(layout.shape, layout.pads, strict=True)]
        shape = [-(-n // side) for n, side in zip(padded, cell, strict=True)]
        self._cell, self._weight = cell, layout.weight
        self._sums, self._weights = np.zeros((n_maps, *shape)), np.zeros(shape)

    def add(self, start: Shape, maps: np.ndarray) -> None:
        """Add one window's maps (T, z, y, x); start: its first voxel on the padded grid."""
        sides = [_cuts(at % cell, n, cell) for at, n, cell in zip(start, self._weight.shape, self._cell, strict=True)]
        weights = self._weight.astype(np.float64)
        values = np.asarray(maps, np.float64)
        for axis, (segments, own, _) in enumerate(sides):
            weights = np.add.reduceat(weights, segments, axis=axis)
            values = values.take(own, axis=axis + 1)
        values = values * weights
        place = []
        for axis, ((_, _, cells), at, cell) in enumerate(zip(sides, start, self._cell, strict=True)):
            first = np.searchsorted(cells, np.arange(cells[-1] + 1))  # of each cell's segments
            weights, values = np.add.reduceat(weights, first, axis=axis), np.add.reduceat(values, first, axis=axis + 1)
            place.append(slice(at // cell, at // cell + len(first)))
        self._sums[(slice(None), *place)] += values
        self._weights[tuple(place)] += weights

    def means(self) -> np.ndarray:
        """The weighted means (T, cells z, y, x) float32; NaN in cells that no window met."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self._sums / self._weights, np.float32)


@lru_cache(maxsize=256)
def _cuts(phase: int, side: int, cell: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis of a window that starts ``phase`` voxels into a cell: where segments begin, their voxel of the window's
    map, and their cell counted from the one in which the window starts."""
    starts = np.union1d(np.arange(0, side, cell), np.arange(-phase % cell, side, cell))
    return starts, starts // cell, (starts + phase) // cell
