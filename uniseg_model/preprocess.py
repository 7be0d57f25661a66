"""From a volume to what the network sees, and from its probabilities back to the volume's own grid.

The order is the original's: axes, crop to the non-zero box, NaN to 0, resample, normalise. The way back is its exact
inverse: class probabilities are resampled (never labels), argmax, paste into the box, axes. Holes in the non-zero mask
are not filled, because filling them cannot move the box.

Letters: C channels, K classes; Z, Y, X the volume's axes, z, y, x the network's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from uniseg_model.axes import Axes, axes_for
from uniseg_model.errors import GeometryError, IntensityError, ModalityError
from uniseg_model.resample import coarse_axis, resample_into, restored_slabs
from uniseg_model.tasks import Task, check_axes
from uniseg_model.tensors import Values, as_bytes, library_of
from uniseg_model.volume import Shape, Triple, Volume
from uniseg_model.windows import Slices, overlap, seen_from

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HU_LIMIT = 325.0
_MOST_VOXELS = 2**31  # of one prepared channel: 8 GB; beyond it the spacing is a mistake


@dataclass(frozen=True)
class Recipe:
    """How a volume is prepared. Tasks with the same recipe share one prepared array and one encoding.

    spacing_mm: along the prepared array's axes. intensity: one rule per channel. axes: see ``tasks.check_axes``.
    """

    spacing_mm: Triple
    intensity: tuple[str, ...]
    axes: str

    @classmethod
    def of(cls, task: Task, spacing_mm: Triple | None = None, axes: str | None = None) -> Recipe:
        """The task's own recipe, or with another spacing or axes where given."""
        return cls(spacing_mm or task.spacing_mm, task.intensity, task.axes if axes is None else check_axes(axes))


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the network sees, and the way back.

    array: (C, z, y, x) float32, normalised.
    box: where the crop lies in the volume with its axes permuted and flipped, [start, stop) along z, y, x.
    saved: windows that need not be computed, by what was asked; filled by those who count them.
    """

    array: np.ndarray = field(repr=False)
    recipe: Recipe
    axes: Axes
    box: tuple[slice, slice, slice]
    spacing_mm: Triple
    full_shape: Shape
    saved: dict[object, tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> Shape:
        """Voxels along z, y, x."""
        z, y, x = self.array.shape[1:]
        return int(z), int(y), int(x)

    @property
    def cropped_shape(self) -> Shape:
        """Voxels of the crop box along z, y, x, before resampling."""
        return tuple(side.stop - side.start for side in self.box)

    def place_of(self, voxel: Triple) -> Triple:
        """Where a voxel of the volume lies in the prepared array, (Z, Y, X) -> (z, y, x); outside the crop also outside here."""
        turned = [voxel[axis] for axis in self.axes.order]
        for axis in self.axes.flips:
            turned[axis] = self.full_shape[axis] - 1 - turned[axis]
        scales = [to / of for to, of in zip(self.shape, self.cropped_shape, strict=True)]
        z, y, x = ((at - side.start + 0.5) * scale - 0.5 for at, side, scale in zip(turned, self.box, scales, strict=True))
        return z, y, x

    def affine(self, volume_affine: np.ndarray) -> np.ndarray:
        """Where its voxels lie, (z, y, x, 1) to mm, for a volume whose affine maps (Z, Y, X, 1): the inverse of :meth:`place_of`."""
        turned = np.eye(4)  # (z, y, x, 1) of the prepared array to the volume's permuted and flipped axes
        for i, (of, to, side) in enumerate(zip(self.cropped_shape, self.shape, self.box, strict=True)):
            turned[i, i], turned[i, 3] = of / to, (of / to - 1) / 2 + side.start
            if i in self.axes.flips:
                turned[i] = -turned[i]
                turned[i, 3] += self.full_shape[i] - 1
        voxel = np.eye(4)
        voxel[list(self.axes.order)] = turned[:3]
        return np.asarray(volume_affine @ voxel)

    def needed_for(self, box: Slices) -> Slices | None:
        """The voxels z, y, x here on which the answer in a box of the volume depends; None where it lies outside the crop."""
        shared = overlap(self.axes.turn(box, self.full_shape), self.box)
        if any(side.start == side.stop for side in shared):
            return None
        own = seen_from(self.box, shared)
        ends = [
            (places[side.start], places[side.stop - 1]) for places, side in zip(map(self._places, range(3)), own, strict=True)
        ]
        z, y, x = (slice(math.floor(low), math.ceil(high) + 1) for low, high in ends)
        return z, y, x

    def answered_by(self, box: Slices) -> Slices:
        """The voxels Z, Y, X of the volume whose answer depends on nothing here but this box; empty where there are none."""
        sides = []
        for axis, (side, crop) in enumerate(zip(box, self.box, strict=True)):
            places = self._places(axis)
            held = crop.start + np.flatnonzero((places >= side.start) & (places <= side.stop - 1))
            sides.append(slice(int(held[0]), int(held[-1]) + 1) if len(held) else slice(crop.start, crop.start))
        z, y, x = sides
        return self.axes.turn_back((z, y, x), self.full_shape)

    def _places(self, axis: int) -> np.ndarray:
        """Where the crop's voxels along a prepared axis lie here; the outermost are held at the edge, as resampling does."""
        of, to = self.cropped_shape[axis], self.shape[axis]
        return np.asarray(np.clip((np.arange(of) + 0.5) * (to / of) - 0.5, 0, to - 1))

    def roughly_restored(self, labels: np.ndarray) -> np.ndarray:
        """Labels (z, y, x) of the prepared grid on the volume's own, the nearest voxel's: quick, for the eye only."""
        rows = [np.arange(n) * of // n for n, of in zip(self.cropped_shape, labels.shape, strict=True)]
        whole = np.zeros(self.full_shape, np.uint8)
        whole[self.box] = labels[np.ix_(*rows)]
        return self.axes.undo(whole)

    def restore(self, probabilities: np.ndarray | Tensor, *, confidence: bool = False) -> Restored:
        """Labels on the volume's own grid from class probabilities (K, z, y, x) on the prepared grid.

        Worked out in slabs: the classes never stand at full resolution. Ties go to the lower class. Of a tensor, all is
        worked out where it lies, and bytes come back.
        confidence: keep how probable the best class was and how far it led, too.

        Raises:
            GeometryError: the probabilities stand on another grid.
        """
        labels = np.zeros(self.full_shape, np.uint8)
        sure = [np.full(self.full_shape, 255, np.uint8) for _ in range(2)] if confidence else []
        for place, values in self.slabs(probabilities):
            labels[place] = as_bytes(best_class(values))
            for kept, shares in zip(sure, _best_and_lead(values) if sure else (), strict=True):
                kept[place] = as_bytes(library_of(shares).clip((shares * 255).round(), 0, 255))
        return Restored(self.axes.undo(labels), *(self.axes.undo(kept) for kept in sure))

    def slabs(self, probabilities: Values, within: Slices | None = None) -> Iterator[tuple[Slices, Values]]:
        """Class probabilities (K, z, y, x) on the volume's voxels, slab by slab: (place, (K, rows, Y, X) float32).

        place: in the volume with its axes permuted and flipped; all slabs together fill the crop box.
        within: voxels of that volume; of other slabs nothing is worked out.

        Raises:
            GeometryError: the probabilities stand on another grid.
        """
        if probabilities.shape[1:] != self.shape:
            raise GeometryError(
                f"probabilities of shape {tuple(probabilities.shape[1:])} do not fit the prepared grid {self.shape}"
            )
        z, y, x = self.box
        apart = coarse_axis(self.spacing_mm, self.recipe.spacing_mm)
        rows_wanted = slice(within[0].start - z.start, within[0].stop - z.start) if within else None
        for rows, values in restored_slabs(probabilities, self.cropped_shape, apart, rows_wanted):
            yield (slice(z.start + rows.start, z.start + rows.stop), y, x), values


@dataclass(frozen=True, eq=False)
class Restored:
    """An answer on the volume's own grid.

    labels: (Z, Y, X) uint8. probability, margin: (Z, Y, X) uint8, 255 times the probability of the best class, and times its
    lead over the second: how far each voxel is from being decided otherwise. 255 outside the crop box; None unless asked for.
    """

    labels: np.ndarray
    probability: np.ndarray | None = None
    margin: np.ndarray | None = None


def best_class(values: Values) -> Values:
    """``values.argmax(axis=0)`` of (K, ...) as uint8, ties to the lower class; many times as fast class by class, without a branch."""
    library = library_of(values)
    best, labels = values[0], library.zeros_like(values[0], dtype=library.uint8)
    for k in range(1, len(values)):
        won = (values[k] > best).view(library.uint8)
        won *= k
        library.maximum(labels, won, out=labels)  # a class that wins has a greater number than all before it
        best = library.maximum(best, values[k])
    return labels  # type: ignore[no-any-return]


def _best_and_lead(values: Values) -> tuple[Values, Values]:
    """Best, and best minus second best, of (K, ...), kept class by class: a partition would be ten times slower."""
    library = library_of(values)
    best, second = library.maximum(values[0], values[1]), library.minimum(values[0], values[1])
    for value in values[2:]:
        second = library.maximum(second, library.minimum(best, value))
        best = library.maximum(best, value)
    return best, best - second


def prepare(volume: Volume, recipe: Recipe, device: torch.device | None = None, *, array: np.ndarray | None = None) -> Prepared:
    """The volume as the network wants it.

    device: where it is resampled, see :func:`~uniseg_model.resample.resample_into`.
    array: its values (C, z, y, x) from an earlier call, when they are at hand; then only the geometry is worked out.

    Raises:
        ModalityError: another number of channels than the recipe has rules for.
        GeometryError: the spacing would make an array beyond any machine.
        IntensityError: values so large that their normalisation overflows.
    """
    if volume.n_channels != len(recipe.intensity):
        raise ModalityError(f"the recipe needs {len(recipe.intensity)} channels, the image has {volume.n_channels}")
    axes = axes_for(volume.affine, recipe.axes)
    turned = axes.apply(volume.array)
    box = nonzero_box(turned)
    spacing_mm: Triple = tuple(volume.spacing_mm[axis] for axis in axes.order)  # type: ignore[assignment]
    cropped = turned[(slice(None), *box)]
    shape = new_shape(cropped.shape[1:], spacing_mm, recipe.spacing_mm)
    if array is None:
        resample = partial(resample_into, apart=coarse_axis(spacing_mm, recipe.spacing_mm), device=device)
        array = _values(cropped, shape, recipe.intensity, resample)
    return Prepared(array, recipe, axes, box, spacing_mm, turned.shape[1:])


def largest_shape(volume: Volume, recipe: Recipe) -> Shape:
    """Voxels z, y, x of the prepared array if nothing is cropped, known without looking at a voxel.

    Raises:
        GeometryError: as :func:`prepare`.
    """
    order = axes_for(volume.affine, recipe.axes).order
    z, y, x = (volume.shape[axis] for axis in order)
    spacing_mm: Triple = tuple(volume.spacing_mm[axis] for axis in order)  # type: ignore[assignment]
    return new_shape((z, y, x), spacing_mm, recipe.spacing_mm)


def _values(
    cropped: np.ndarray, shape: Shape, intensity: tuple[str, ...], resample: Callable[[np.ndarray, np.ndarray], None]
) -> np.ndarray:
    array = np.empty((len(cropped), *shape), np.float32)
    for channel, rule, out in zip(cropped, intensity, array, strict=True):
        if np.isnan(channel.min()):
            channel = np.nan_to_num(channel, nan=0.0)
        resample(out, channel)
        with np.errstate(over="ignore", invalid="ignore"):
            _NORMALISE[rule](out)
        if not np.isfinite(out.min() + out.max()):
            raise IntensityError(f"values up to {np.abs(channel).max():g} are too large to be normalised",
                                 hint="Is there a voxel with a senseless value? Replace it.")  # fmt: skip
    return array


def nonzero_box(array: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box [start, stop) that holds every voxel of (C, z, y, x) that is not 0 in some channel; NaN is not 0."""
    occupied = [np.zeros(n, bool) for n in array.shape[1:]]
    for channel in array:
        for z, plane in enumerate(channel):
            mask = plane != 0
            occupied[0][z] |= mask.any()
            occupied[1] |= mask.any(axis=1)
            occupied[2] |= mask.any(axis=0)
    sides = [np.flatnonzero(used) for used in occupied]
    return tuple(slice(int(side[0]), int(side[-1]) + 1) for side in sides)  # type: ignore[return-value]


def new_shape(shape: Shape, spacing_mm: Triple, target_mm: Triple) -> Shape:
    """Voxels after resampling: the original's rounding (half to even), but at least 1 along each axis.

    Raises:
        GeometryError: more than 2**31 voxels.
    """
    ratio = np.array(spacing_mm, float) / np.array(target_mm, float)
    z, y, x = (max(1, int(n)) for n in np.round(ratio * shape))
    if z * y * x > _MOST_VOXELS:
        raise GeometryError(
            f"{shape} voxels of {spacing_mm} mm become {z} x {y} x {x} at {target_mm} mm, more than {_MOST_VOXELS} voxels",
            hint="Is the voxel size in the header right? Otherwise choose a coarser spacing.",
        )
    return z, y, x


def _normalise_hu(channel: np.ndarray) -> None:
    np.clip(channel, -HU_LIMIT, HU_LIMIT, out=channel)
    channel += np.float32(HU_LIMIT)
    channel /= np.float32(2 * HU_LIMIT)


def _normalise_zscore(channel: np.ndarray) -> None:
    """Mean 0 and standard deviation 1 over the whole channel, zeros included, as the original does."""
    mean, std = channel.mean(), channel.std()
    channel -= mean
    channel /= std + np.float32(1e-8)


_NORMALISE = {"hu": _normalise_hu, "zscore": _normalise_zscore}  # in place
