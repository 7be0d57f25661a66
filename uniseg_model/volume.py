"""An image that knows where it is.

Letters: C channels, Z, Y, X the array's axes as stored (slowest first; the reverse of NIfTI's file order).
World coordinates are RAS+ millimetres: x to the patient's right is negative in LPS and positive here.
An affine maps ``(z, y, x, 1)`` to ``(right, anterior, superior, 1)``, so it speaks the array's own axis order
and nothing needs a transpose.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from uniseg_model.errors import GeometryError, IntensityError

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

AXIS_NAMES = (("L", "R"), ("P", "A"), ("I", "S"))  # of the world axes: towards minus, towards plus
_FARTHEST_MM = 1e9  # nothing of a patient is further away; beyond it sums of squares overflow
_HEADER_ROUNDING = 1e-4  # a float32 header may differ from its own affine by this share


@dataclass(frozen=True, eq=False)
class Source:
    """Where a volume came from, and what is needed to write labels back on the very same grid.

    ``header`` belongs to the reader that made it (:mod:`uniseg_model.io`); nobody else looks inside.
    """

    paths: tuple[str, ...] = ()
    format: str = "array"
    modality: str = ""
    header: Any = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image (C, Z, Y, X) float32 with its affine, checked when made: what holds a Volume can be segmented.

    array: NaN may occur; it is warned of, and becomes 0 when a task prepares the volume.
    affine: (4, 4) float64, ``(z, y, x, 1)`` to RAS+ mm.
    spacing_mm: along Z, Y, X. Left out (0), it is the length of the affine's columns. A reader passes the header's own
        numbers where they agree with the affine, because the ties of the separate-z rule need them exact.
    warnings: what a person should know about the file; shown, and kept in the run record.

    Raises:
        GeometryError: not four axes, an axis shorter than 2, a singular affine, or a spacing that contradicts it.
        IntensityError: every voxel is 0, none is a number, or some are infinite.
    """

    array: np.ndarray = field(repr=False)
    affine: np.ndarray = field(repr=False)
    source: Source = Source()
    spacing_mm: Triple = (0.0, 0.0, 0.0)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_axes(self.array.shape)
        lengths = voxel_lengths(self.affine)
        spacing = self.spacing_mm if any(self.spacing_mm) else lengths
        if not np.allclose(spacing, lengths, rtol=1e-3):
            raise GeometryError(f"the spacing {spacing} mm contradicts the affine, whose columns are {lengths} mm long")
        object.__setattr__(self, "spacing_mm", spacing)
        object.__setattr__(self, "warnings", tuple(dict.fromkeys([*self.warnings, *_check_intensities(self.array)])))

    @property
    def n_channels(self) -> int:
        """Number of channels C."""
        return int(self.array.shape[0])

    @property
    def shape(self) -> Shape:
        """Voxels along Z, Y, X."""
        z, y, x = self.array.shape[1:]
        return int(z), int(y), int(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres; right for sheared affines too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def orientation(self) -> str:
        """Where the file's axes x, y, z point to, in three letters, such as ``RAS`` (nibabel's convention)."""
        return "".join(AXIS_NAMES[world][sign > 0] for world, sign in reversed(closest_world_axes(self.affine)))

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Smallest and largest voxel value of channel 0, NaN left aside."""
        return float(np.nanmin(self.array[0])), float(np.nanmax(self.array[0]))

    @cached_property
    def fingerprint(self) -> str:
        """A hash that images share only if they have the same voxels in the same place, and say the same of their modality."""
        digest = hashlib.sha256(repr((self.array.shape, self.spacing_mm, self.source.modality)).encode())
        digest.update(self.affine.tobytes())
        digest.update(self.array.data if self.array.flags.c_contiguous else self.array.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        spacing = " x ".join(f"{s:g}" for s in self.spacing_mm)
        shape = " x ".join(str(n) for n in self.shape)
        megabytes = self.array.nbytes / 1e6
        return f"Volume({self.n_channels} channels, {shape} voxels at {spacing} mm, {self.orientation}, {megabytes:.0f} MB)"


def _check_axes(shape: tuple[int, ...]) -> None:
    if len(shape) != 4:
        raise GeometryError(f"a volume has four axes (channel, z, y, x), the array has {len(shape)}")
    if min(shape[1:]) < 2:
        raise GeometryError(
            f"a volume needs at least 2 voxels along each axis, the image has {shape[1]} x {shape[2]} x {shape[3]} (z, y, x)",
            hint="A single slice or a 2-D picture cannot be segmented: give the whole stack.",
        )


def _check_intensities(array: np.ndarray) -> list[str]:
    """Warnings about the voxel values, slice by slice so that no temporary of the image's size is made."""
    if n_infinite := sum(int(np.isinf(plane).sum()) for channel in array for plane in channel):
        raise IntensityError(
            f"{n_infinite} of {array.size} voxels are infinite, every voxel must be a number",
            hint="Write the image again without division by zero or overflow, or replace those voxels.",
        )
    n_nan = 0
    for number, channel in enumerate(array, start=1):
        name = "every voxel" if len(array) == 1 else f"every voxel of channel {number}"
        n_here = sum(int(np.isnan(plane).sum()) for plane in channel)
        if n_here == channel.size:
            raise IntensityError(f"{name} is NaN, so there is nothing to segment", hint="Export the image again.")
        if not any(plane.any() for plane in channel):
            raise IntensityError(
                f"{name} is 0, so there is nothing to segment", hint="Is this the image, or an empty label file?"
            )
        n_nan += n_here
    return [f"{n_nan} of {array.size} voxels are NaN and are taken as 0"] if n_nan else []


def voxel_lengths(affine: np.ndarray) -> Triple:
    """Lengths in mm of the steps along Z, Y and X.

    Raises:
        GeometryError: the affine is not 4 x 4, not finite or singular.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(affine).max() > _FARTHEST_MM:
        raise GeometryError(
            f"the affine must be 4 x 4 finite numbers below {_FARTHEST_MM:g} mm, it is {affine.shape} with values up to {np.max(affine):g}",
            hint="Repair the header, or convert the scan again from its DICOM files.",
        )
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(np.linalg.det(affine[:3, :3]))
    if volume <= 1e-6 * z * y * x or volume == 0:
        rows = "; ".join(" ".join(f"{value:g}" for value in row) for row in affine[:3])
        raise GeometryError(
            f"the affine is singular ({rows}): it maps the image onto a plane, so positions in mm are lost",
            hint="Repair the header, or convert the scan again from its DICOM files.",
        )
    return float(z), float(y), float(x)


def trusted_spacing(header_mm: Triple, affine: np.ndarray) -> Triple:
    """The header's spacing where it only differs from the affine's by rounding, else the affine's.

    ``header_mm`` and the result are along Z, Y, X. Two coarse axes that are equal in the header stay exactly equal.
    """
    lengths = voxel_lengths(affine)
    return header_mm if np.allclose(header_mm, lengths, rtol=_HEADER_ROUNDING, atol=0) else lengths


def closest_world_axes(affine: np.ndarray) -> list[tuple[int, int]]:
    """For each array axis Z, Y, X: the world axis it runs along (0 right, 1 anterior, 2 superior) and its sign.

    Each world axis is given once, so that the sum of |cosine| is largest; of equally good answers the one that
    leaves a usual axial file (z superior, y anterior, x right) as it is comes first.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)  # (world, array axis)
    best = max(sorted(permutations(range(3)), reverse=True), key=lambda order: _alignment(cosines, order))
    return [(world, 1 if cosines[world, axis] >= 0 else -1) for axis, world in enumerate(best)]


def _alignment(cosines: np.ndarray, order: tuple[int, ...]) -> float:
    # Rounded, so that float noise in a 45-degree affine does not break the tie.
    return round(float(sum(abs(cosines[world, axis]) for axis, world in enumerate(order))), 6)
