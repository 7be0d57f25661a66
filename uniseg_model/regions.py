"""Which part of an image is worked on: all of it, one window, or the windows that a box of its voxels depends on.

A region tells two things apart: the windows that are computed, and the voxels for which their answer holds. Beyond those nothing
is claimed. Voxels are Z, Y, X of the image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from uniseg_model.errors import OptionError
from uniseg_model.preprocess import Prepared
from uniseg_model.volume import Shape, Triple
from uniseg_model.windows import Layout, Slices, seen_from


@dataclass(frozen=True)
class Scope:
    """A region on one prepared grid. layout: the windows to compute. valid: the voxels of the image for which their answer holds."""

    layout: Layout
    valid: Slices


class Region(Protocol):
    """A part of an image."""

    def scope(self, prepared: Prepared, layout: Layout, shape: Shape) -> Scope:
        """The part of these windows, for an image of ``shape``.

        Raises:
            OptionError: the region lies outside the image, or where the image holds nothing.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the run record."""
        ...


@dataclass(frozen=True)
class WholeImage:
    """Everything: the answer is the one of the usual prediction."""

    def scope(self, prepared: Prepared, layout: Layout, shape: Shape) -> Scope:
        """See :meth:`Region.scope`."""
        z, y, x = (slice(0, n) for n in shape)
        return Scope(layout, (z, y, x))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Region.to_dict`."""
        return {"region": "whole image"}


WHOLE = WholeImage()


@dataclass(frozen=True)
class OneWindow:
    """The window whose middle is nearest to a voxel: the quickest look. Its own answer, which its neighbours have no say in."""

    voxel: Triple

    def scope(self, prepared: Prepared, layout: Layout, shape: Shape) -> Scope:
        """See :meth:`Region.scope`."""
        if not all(0 <= at < n for at, n in zip(self.voxel, shape, strict=True)):
            raise OptionError(f"the voxel {self.voxel} lies outside the image of {shape} voxels (z, y, x)")
        one = layout.nearest(prepared.place_of(self.voxel))
        return Scope(one, prepared.answered_by(seen_from(one.inside, one.block)))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Region.to_dict`."""
        return {"region": "one window", **asdict(self)}


@dataclass(frozen=True)
class Box:
    """The voxels [start, stop), with all windows that have a say in them: inside, the answer is the one of the whole image."""

    start: Shape
    stop: Shape

    def scope(self, prepared: Prepared, layout: Layout, shape: Shape) -> Scope:
        """See :meth:`Region.scope`."""
        sides = list(zip(self.start, self.stop, shape, strict=True))
        if not all(0 <= a < b <= n for a, b, n in sides):
            raise OptionError(
                f"the box from {self.start} to {self.stop} must lie in the image of {shape} voxels (z, y, x), and hold some"
            )
        z, y, x = (slice(a, b) for a, b, _ in sides)
        needed = prepared.needed_for((z, y, x))
        if needed is None:
            raise OptionError(
                f"the image is 0 in the whole box from {self.start} to {self.stop}", hint="Choose a place inside the body."
            )
        return Scope(layout.touching(needed), (z, y, x))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Region.to_dict`."""
        return {"region": "box", **asdict(self)}
