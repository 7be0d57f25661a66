"""From the order in which a file stores its axes to the order in which the network sees them, and back.

Letters: Z, Y, X the volume's axes, z, y, x the prepared ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uniseg_model.volume import AXIS_NAMES, Shape, closest_world_axes
from uniseg_model.windows import Slices

_AXIAL = (2, 1, 0)  # world axes of (z, y, x): head-foot, front-back, left-right


@dataclass(frozen=True)
class Axes:
    """A permutation and flips between the volume's spatial axes and the prepared ones.

    order: prepared axis i is the volume's axis ``order[i]``. flips: prepared axes that run the other way.
    """

    order: tuple[int, int, int]
    flips: tuple[int, ...] = ()

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view (..., Z, Y, X) -> (..., z, y, x)."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.asarray(np.flip(moved, tuple(lead + axis for axis in self.flips)))

    def undo(self, array: np.ndarray) -> np.ndarray:
        """A copy in C order, (z, y, x) -> (Z, Y, X)."""
        return np.ascontiguousarray(np.flip(array, self.flips).transpose(np.argsort(self.order)))

    def turn(self, box: Slices, full_shape: Shape) -> Slices:
        """Where a box of the volume lies among the prepared axes. full_shape: of the volume, permuted."""
        return self._flipped([box[axis] for axis in self.order], full_shape)

    def turn_back(self, box: Slices, full_shape: Shape) -> Slices:
        """The inverse of :meth:`turn`."""
        sides = self._flipped(list(box), full_shape)
        z, y, x = (sides[i] for i in np.argsort(self.order))
        return z, y, x

    def _flipped(self, sides: list[slice], full_shape: Shape) -> Slices:
        for axis in self.flips:
            sides[axis] = slice(full_shape[axis] - sides[axis].stop, full_shape[axis] - sides[axis].start)
        z, y, x = sides
        return z, y, x


def axes_for(affine: np.ndarray, rule: str) -> Axes:
    """How the volume's axes become the prepared ones under an axes rule."""
    if rule == "stored":
        return Axes((0, 1, 2))
    now = closest_world_axes(affine)
    order_of = {world: axis for axis, (world, _) in enumerate(now)}
    if rule == "axial":
        return Axes(tuple(order_of[world] for world in _AXIAL))  # type: ignore[arg-type]
    wanted = [_world_axis(letter) for letter in reversed(rule)]  # letters are x, y, z; ours are z, y, x
    order = tuple(order_of[world] for world, _ in wanted)
    flips = tuple(i for i, (_, sign) in enumerate(wanted) if now[order[i]][1] != sign)
    return Axes(order, flips)  # type: ignore[arg-type]


def _world_axis(letter: str) -> tuple[int, int]:
    return next((world, 1 if names[1] == letter else -1) for world, names in enumerate(AXIS_NAMES) if letter in names)
