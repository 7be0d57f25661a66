"""Resampling that equals the original's, thirty times faster.

The original calls ``skimage.transform.resize`` (edge border, half-pixel centres, no anti-aliasing), which is
``scipy.ndimage.zoom(mode="nearest", grid_mode=True)`` followed by a clip to the input's range. Without the clip that is
linear and separable, so along each axis it is one matrix of m rows (new length) by n columns (old length): column i is
the zoom of the i-th unit vector. The spline prefilter and scipy's edge padding are thereby inside the matrix. The
product is taken in float64, slab by slab, so that no float64 copy of the image is ever made, and band by band, because
a spline's reach ends after some thirty samples: entries below 1e-17 are left out, which no float64 sum would notice.

Letters: C channels or classes, Z, Y, X old axes, z, y, x new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from uniseg_model.tensors import Values
from uniseg_model.threads import Scratch, all_side_by_side, side_by_side
from uniseg_model.volume import Shape, Triple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SEPARATE_RATIO = 3.0  # strictly more anisotropic than this: slices are resampled one by one
_BAND_ROWS = 64
_NEGLIGIBLE = 1e-17
_FLAT_VOXELS = 64_000_000  # float64 voxels between the passes of cubic resampling: 0.5 GB
_SLAB_VOXELS = 1_000_000  # float64 voxels worked on at once: 8 MB, which stays near the caches
TENSOR_VOXELS = 16_000_000  # of a tensor: 128 MB, of which a GPU holds a few, and which fill it


def coarse_axis(*spacings_mm: Triple) -> int | None:
    """The axis to resample apart from the others, or None when all axes go together.

    The first of ``spacings_mm`` whose largest step is more than 3 times its smallest decides; if two or three of its
    axes are equally coarse, none is apart.
    """
    for spacing_mm in spacings_mm:
        if max(spacing_mm) / min(spacing_mm) > _SEPARATE_RATIO:
            coarse = [axis for axis, step in enumerate(spacing_mm) if step == max(spacing_mm)]
            return coarse[0] if len(coarse) == 1 else None
    return None


@lru_cache(maxsize=32)
def spline_matrix(n: int, m: int, order: int) -> np.ndarray:
    """The (m, n) float64 matrix that resamples ``n`` samples to ``m`` with a spline of ``order``; rows sum to 1."""
    columns = [ndimage.zoom(unit, m / n, order=order, mode="nearest", grid_mode=True) for unit in np.eye(n)]
    matrix = np.stack(columns, axis=1)
    matrix.flags.writeable = False  # it is shared by the cache
    return matrix


def nearest_indices(n: int, m: int) -> np.ndarray:
    """Which of ``n`` samples is nearest to each of ``m`` new ones; half-way goes up.

    What is half-way is decided by rounding in the last bit, so it is worked out as the original does: the scale comes first.
    """
    centres = n / m * (np.arange(m) + 0.5) - 0.5
    return np.asarray(np.clip(np.floor(centres + 0.5).astype(int), 0, n - 1))


def resample_image(image: np.ndarray, shape: Shape, apart: int | None, device: torch.device | None = None) -> np.ndarray:
    """One channel (Z, Y, X) float32 to ``shape``: see :func:`resample_into`. The input itself when the shape is unchanged."""
    if image.shape == shape:
        return image
    out = np.empty(shape, np.float32)
    resample_into(out, image, apart, device)
    return out


def resample_into(out: np.ndarray, image: np.ndarray, apart: int | None, device: torch.device | None = None) -> None:
    """One channel (Z, Y, X) float32 to the shape of ``out``: cubic, clipped to the input's range.

    With ``apart`` each slice along that axis is cubic in plane and clipped to its own range, then the nearest slice
    counts. Where the shape is unchanged it is a copy. device: where torch works it out; None: numpy does.
    """
    if image.shape == out.shape:
        out[...] = image
    elif device is not None:
        from uniseg_model import resample_torch

        resample_torch.resample_into(out, image, apart, device)
    elif apart is None:
        _cubic(image, out)
    else:
        _slice_by_slice(np.moveaxis(image, apart, 0), np.moveaxis(out, apart, 0))


def _slice_by_slice(image: np.ndarray, out: np.ndarray) -> None:
    """Cubic within each slice along Z, then the clip to the slice's range; of the slices those that are nearest to a new one."""
    chosen, scratch = nearest_indices(len(image), len(out)), Scratch()

    def resample(place: int) -> None:
        old = image[place]
        lines = _along(scratch.copy("old", old), out.shape[2], 1, empty=partial(scratch.array, "lines"))
        flat = _along(lines, out.shape[1], 0, empty=partial(scratch.array, "flat"))
        out[chosen == place] = np.clip(flat, old.min(), old.max(), out=flat)

    all_side_by_side(resample, np.unique(chosen))


def _cubic(image: np.ndarray, out: np.ndarray) -> None:
    """Cubic along all axes that change, then the clip. X and Y go first, in slabs; then Z, in slabs of Y.

    Between the two stands a float64 array; of a large image in parts along y, which overlap in what they need along Y.
    """
    low, high = float(image.min()), float(image.max())
    for bands in _bands_at_once(image.shape[1], out.shape[1], len(image) * out.shape[2]):
        _cubic_rows(image, out, bands, (low, high))


def _cubic_rows(image: np.ndarray, out: np.ndarray, bands: list[_Band], ends: tuple[float, float]) -> None:
    """The rows along y that some bands of the matrix give."""
    rows = slice(bands[0][0].start, bands[-1][0].stop)
    needed = slice(min(old.start for _, old, _ in bands), max(old.stop for _, old, _ in bands))
    flat = np.empty((len(image), rows.stop - rows.start, out.shape[2]), np.float64)
    part_out = out[:, rows]

    def flatten(slab: slice) -> None:
        lines = _along(image[slab, needed].astype(np.float64), out.shape[2], 2)
        for new, old, block in bands:
            part = lines[:, old.start - needed.start : old.stop - needed.start]
            flat[slab, new.start - rows.start : new.stop - rows.start] = part if block is None else block @ part

    def stack(slab: slice) -> None:
        part_out[:, slab] = np.clip(_along(flat[:, slab], len(out), 0), *ends)

    all_side_by_side(flatten, slabs(len(image), image[0, needed].size + flat[0].size))
    all_side_by_side(stack, slabs(flat.shape[1], (len(image) + len(out)) * out.shape[2]))


_Band = tuple[slice, slice, np.ndarray | None]  # new samples, the old ones they depend on, and the block of the matrix between


def _bands_at_once(n: int, m: int, voxels_a_row: int) -> Iterator[list[_Band]]:
    """The bands of cubic resampling, as many at once as may stand in float64; with no block where nothing changes."""
    rows = [slice(row, min(row + _BAND_ROWS, m)) for row in range(0, m, _BAND_ROWS)]
    bands: list[_Band] = [(row, row, None) for row in rows] if n == m else [*matrix_bands(n, m, 3)]
    at_once = max(1, _FLAT_VOXELS // (_BAND_ROWS * voxels_a_row))
    return (bands[i : i + at_once] for i in range(0, len(bands), at_once))


@lru_cache(maxsize=32)
def matrix_bands(n: int, m: int, order: int) -> list[tuple[slice, slice, np.ndarray]]:
    """The spline matrix in blocks of rows: (new samples, the old samples they depend on, the block)."""
    matrix = spline_matrix(n, m, order)
    blocks = [slice(row, min(row + _BAND_ROWS, m)) for row in range(0, m, _BAND_ROWS)]
    reach = [np.flatnonzero(abs(matrix[rows]).max(axis=0) > _NEGLIGIBLE) for rows in blocks]
    needed = [slice(int(used[0]), int(used[-1]) + 1) for used in reach]
    return [(rows, old, np.ascontiguousarray(matrix[rows, old])) for rows, old in zip(blocks, needed, strict=True)]


def _along(
    array: np.ndarray, m: int, axis: int, order: int = 3, empty: Callable[[tuple[int, ...]], np.ndarray] = np.empty
) -> np.ndarray:
    """A float64 array with ``m`` samples along ``axis``, in an array that ``empty`` makes; itself when that changes nothing."""
    n = array.shape[axis]
    if n == m:
        return array
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    out = empty((*before, m, *after))
    if after:
        layers, new_layers = array.reshape(-1, n, math.prod(after)), out.reshape(-1, m, math.prod(after))
        for rows, old, block in matrix_bands(n, m, order):
            np.matmul(block, layers[:, old], out=new_layers[:, rows])
    else:
        lines, new_lines = array.reshape(-1, n), out.reshape(-1, m)
        for rows, old, block in matrix_bands(n, m, order):
            np.matmul(lines[:, old], block.T, out=new_lines[:, rows])
    return out


def restored_slabs(
    probabilities: Values, shape: Shape, apart: int | None, wanted: slice | None = None
) -> Iterator[tuple[slice, Values]]:
    """Class probabilities (C, z, y, x) linearly resampled to ``shape``, as (rows of Z, (C, rows, Y, X) float32) slabs.

    With ``apart`` that axis takes the nearest sample instead. An unchanged shape gives the input's own numbers.
    A tensor's slabs are tensors, worked out where it lies.
    wanted: rows of Z; slabs without any of them are left out.
    """
    at_once = _SLAB_VOXELS if isinstance(probabilities, np.ndarray) else TENSOR_VOXELS
    parts = list(slabs(shape[0], len(probabilities) * shape[1] * shape[2] * 2, at_once))
    if wanted:
        parts = [slab for slab in parts if wanted.start < slab.stop and slab.start < wanted.stop]
    restored: Iterator[Any] = (probabilities[:, slab] for slab in parts)
    if probabilities.shape[1:] != shape:
        restored = _restored(probabilities, shape, apart, parts)
    yield from zip(parts, restored, strict=True)


def _restored(probabilities: np.ndarray | Tensor, shape: Shape, apart: int | None, parts: list[slice]) -> Iterator[Any]:
    """The values of each part: arrays side by side, tensors one after the other."""
    if not isinstance(probabilities, np.ndarray):
        from uniseg_model.resample_torch import restored_rows

        return (restored_rows(probabilities, shape, apart, slab) for slab in parts)

    def restore(slab: slice) -> np.ndarray:
        out = np.empty((len(probabilities), slab.stop - slab.start, *shape[1:]), np.float32)
        for of_class, values in zip(probabilities, out, strict=True):  # one by one: what is on the way stays near the caches
            values[...] = _linear(of_class, shape, slab, apart)
        return out

    return side_by_side(restore, parts)


def _linear(array: np.ndarray, shape: Shape, wanted: slice, apart: int | None) -> np.ndarray:
    """The ``wanted`` rows of Z of (z, y, x) on another grid, in float64; the nearest sample along the axis that is apart."""
    values: np.ndarray = _linear_rows(array, shape[0], wanted, apart == 0)
    for axis in (1, 2):
        values = _nearest(values, shape[axis], axis) if apart == axis else _along(values, shape[axis], axis, order=1)
    return values


def _linear_rows(array: np.ndarray, m: int, wanted: slice, nearest: bool) -> np.ndarray:
    """The ``wanted`` of ``m`` new rows along Z of (z, y, x), in float64, from only the old rows they need."""
    n = len(array)
    if nearest or n == m:
        return np.asarray(array[nearest_indices(n, m)[wanted]], np.float64)
    matrix = spline_matrix(n, m, 1)[wanted]
    used = np.flatnonzero(matrix.any(axis=0))
    needed = slice(int(used[0]), int(used[-1]) + 1)
    old = array[needed].astype(np.float64).reshape(needed.stop - needed.start, -1)
    return np.asarray(matrix[:, needed] @ old).reshape(len(matrix), *array.shape[1:])


def _nearest(array: np.ndarray, m: int, axis: int) -> np.ndarray:
    return np.take(array, nearest_indices(array.shape[axis], m), axis=axis)


def slabs(length: int, voxels_a_row: int, at_once: int | None = None) -> Iterator[slice]:
    """``range(length)`` in slices of as many rows as are worked on at once; at_once: other voxels than a CPU's."""
    rows = max(1, (at_once or _SLAB_VOXELS) // max(1, voxels_a_row))
    return (slice(start, min(start + rows, length)) for start in range(0, length, rows))
