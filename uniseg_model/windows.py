"""Where windows stand and how their answers are blended. Pure geometry, no torch.

All triples are along z, y, x. The rules are nnU-Net v1's, which the original uses; MONAI's differ in both starts and weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
from scipy import ndimage

from uniseg_model.errors import OptionError
from uniseg_model.tensors import Values, zeros
from uniseg_model.volume import Shape, Triple

MOST_KNOWN = 4  # constant windows whose answers are kept: of a CT there is one, air
_SIGMA = 1 / 8  # of the Gaussian, in window sides
_SPARSE = 8

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Layout:
    """The windows over one grid, in the order in which they are computed.

    shape: voxels of the grid. pads: voxels (before, after) added to it along each axis, see :func:`padding`.
    starts: first voxels of the windows on the padded grid.
    """

    shape: Shape
    window: Shape
    pads: tuple[tuple[int, int], ...]
    starts: tuple[Shape, ...]

    @classmethod
    def over(cls, shape: Shape, window: Shape, step: float = 0.5) -> Layout:
        """All windows that segmenting takes; step: see :func:`window_starts`.

        Raises:
            OptionError: step is outside (0, 1].
        """
        pads = padding(shape, window)
        z, y, x = (side + before + after for side, (before, after) in zip(shape, pads, strict=True))
        return cls(shape, window, tuple(pads), tuple(window_starts((z, y, x), window, step)))

    @cached_property
    def block(self) -> Slices:
        """The smallest box of the padded grid that holds all windows."""
        low, high = np.min(self.starts, axis=0), np.max(self.starts, axis=0) + self.window
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]

    @property
    def inside(self) -> Slices:
        """Where the grid lies in the padded one."""
        return tuple(slice(before, before + n) for (before, _), n in zip(self.pads, self.shape, strict=True))  # type: ignore[return-value]

    @property
    def block_shape(self) -> Shape:
        """Voxels of the block."""
        z, y, x = (side.stop - side.start for side in self.block)
        return z, y, x

    def in_block(self, start: Shape) -> Shape:
        """A window's first voxel, counted from the block's."""
        z, y, x = (at - side.start for at, side in zip(start, self.block, strict=True))
        return z, y, x

    def on_grid(self, values: Values) -> Values:
        """Values (..., z, y, x) of the block on the grid: a view where the block holds all of it, otherwise with 0 beyond."""
        lead, common = (slice(None),) * (values.ndim - 3), overlap(self.block, self.inside)
        found: Any = values[(*lead, *seen_from(self.block, common))]
        if found.shape[-3:] != self.shape:
            cut, found = found, zeros((*values.shape[:-3], *self.shape), values)
            found[(*lead, *seen_from(self.inside, common))] = cut
        return found  # type: ignore[no-any-return]

    def cut(self, array: np.ndarray, start: Shape) -> np.ndarray:
        """One window (C, Z, Y, X) of an array (C, z, y, x) on the grid: a view where it lies inside, otherwise with 0 beyond."""
        whole = tuple(slice(at, at + side) for at, side in zip(start, self.window, strict=True))
        common = overlap(whole, self.inside)  # type: ignore[arg-type]
        values = array[(slice(None), *seen_from(self.inside, common))]
        if values.shape[1:] == self.window:
            return values
        window = np.zeros((len(array), *self.window), array.dtype)
        window[(slice(None), *seen_from(whole, common))] = values  # type: ignore[arg-type]
        return window

    def repeats(self, array: np.ndarray) -> int:
        """How many windows of an array (C, z, y, x) need not be computed, because they are as constant as an earlier one: see :func:`constant_value`."""
        values = [constant_value(self.cut(array, start)) for start in self.starts]
        known = list(dict.fromkeys(value for value in values if value is not None))[:MOST_KNOWN]
        return sum(value in known for value in values) - len(known)

    def with_body(self, array: np.ndarray, least: float) -> Layout:
        """The windows of a CT (C, z, y, x) of whose voxels at least this share is body, each voxel counted by its weight; air is 0."""
        if not least:
            return self
        weight = self.weight / self.weight.sum(dtype=np.float64)
        kept = (start for start in self.starts if weight[self.cut(array, start).any(axis=0)].sum() >= least)
        return replace(self, starts=tuple(kept))

    @property
    def weight(self) -> np.ndarray:
        """What each voxel of a window counts: a Gaussian, or, as in nnU-Net v1, 1 where there is only one window."""
        return importance(self.window) if len(self.starts) > 1 else np.ones(self.window, np.float32)

    def focused(self, voxel: Triple) -> Layout:
        """The same windows, those whose middle is nearest to a voxel of the grid first."""
        z, y, x = (at + before for at, (before, _) in zip(voxel, self.pads, strict=True))
        return replace(self, starts=tuple(nearest_first(self.starts, self.window, (z, y, x))))

    def nearest(self, voxel: Triple) -> Layout:
        """The one window whose middle is nearest to a voxel of the grid."""
        return replace(self, starts=self.focused(voxel).starts[:1])

    def touching(self, box: Slices) -> Layout:
        """The windows that hold a voxel of a box of the grid: all that have a say in its answer."""

        def touches(start: Shape) -> bool:
            sides = zip(start, self.window, box, self.pads, strict=True)
            return all(at < b.stop + before and b.start + before < at + side for at, side, b, (before, _) in sides)

        return replace(self, starts=tuple(start for start in self.starts if touches(start)))


def constant_value(window: np.ndarray) -> bytes | None:
    """The bits of the one value (C,) that all voxels of a window (C, z, y, x) have, such as the air's; None where they differ."""
    bits = window.view(f"u{window.itemsize}")  # 0 and -0 are equal, and not the same to a network
    value = bits[:, :1, :1, :1]
    few = bits[:, ::_SPARSE, ::_SPARSE, ::_SPARSE]  # most windows differ here already: three times as quick as to look at all
    return value.tobytes() if (few == value).all() and (bits == value).all() else None


def overlap(a: Slices, b: Slices) -> Slices:
    """The voxels that two boxes share; along an axis where they share none, an empty slice."""
    sides = [(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True)]
    z, y, x = (slice(low, max(low, high)) for low, high in sides)
    return z, y, x


def seen_from(box: Slices, other: Slices) -> Slices:
    """The ``other`` box, counted from the first voxel of ``box``."""
    z, y, x = (slice(of.start - start.start, of.stop - start.start) for start, of in zip(box, other, strict=True))
    return z, y, x


def window_starts(shape: Shape, window: Shape, step: float = 0.5) -> list[Shape]:
    """First voxels of all windows over a grid that is at least as large as the window, z outermost.

    step: largest distance between neighbours, as a share of the window's side, in (0, 1].

    Raises:
        OptionError: step is outside (0, 1].
    """
    check_step(step)
    starts = [_axis_starts(size, side, step) for size, side in zip(shape, window, strict=True)]
    return list(product(*starts))  # type: ignore[arg-type]


def check_step(step: float) -> None:
    """Refuse a step that leaves gaps or never ends.

    Raises:
        OptionError: step is outside (0, 1].
    """
    if not 0 < step <= 1:
        raise OptionError(f"the window step must be above 0 and at most 1, not {step:g}")


def _axis_starts(size: int, side: int, step: float) -> list[int]:
    n = math.ceil((size - side) / (side * step)) + 1
    return [0] if n == 1 else [round((size - side) / (n - 1) * i) for i in range(n)]


def nearest_first(starts: Sequence[Shape], window: Shape, focus: Triple) -> list[Shape]:
    """The windows by the distance of their middle from a voxel, measured in window sides; ties stay as they were."""

    def distance(start: Shape) -> float:
        return math.hypot(*((at + side / 2 - f) / side for at, side, f in zip(start, window, focus, strict=True)))

    return sorted(starts, key=distance)


def padding(shape: Shape, window: Shape) -> list[tuple[int, int]]:
    """Voxels (before, after) to add along each axis so that one window fits; an odd one goes after."""
    lacking = [max(0, side - size) for size, side in zip(shape, window, strict=True)]
    return [(n // 2, n - n // 2) for n in lacking]


@lru_cache(maxsize=8)
def importance(window: Shape) -> np.ndarray:
    """Weight of each voxel of a window: a Gaussian of 1/8 of the side, largest value 1, never 0; float32, read-only."""
    peak = np.zeros(window)
    peak[tuple(side // 2 for side in window)] = 1
    weights = ndimage.gaussian_filter(peak, [side * _SIGMA for side in window], mode="constant")
    weights = np.asarray(weights / weights.max(), dtype=np.float32)
    weights[weights == 0] = weights[weights > 0].min()
    weights.flags.writeable = False
    return weights
