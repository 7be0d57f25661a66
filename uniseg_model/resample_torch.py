"""Resampling where tensors lie, on a GPU: the numbers of ``resample`` in the same float64.

Float64, because float32 moves a CT's values by 7e-4 HU (measured on a CPU), 1e-6 of what the network sees, and both devices
are to see the same. It costs little even on cards that compute it at a sixty-fourth of their speed: a CT of 512 x 512 x 200
voxels takes 2e10 operations cubic, a twentieth of a second at 0.4e12 in a second. A row of the linear matrix holds two
neighbours at most, so there two samples are taken and mixed, which is bound by memory. These are estimates: nothing was
measured on a GPU.

Only resampling is done here. What comes before (the crop) and after (the norm) passes once over memory, and one rule for both
devices is worth more. Letters as in ``resample``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from uniseg_model.resample import TENSOR_VOXELS, matrix_bands, nearest_indices, slabs, spline_matrix
from uniseg_model.volume import Shape


def resample_into(out: np.ndarray, image: np.ndarray, apart: int | None, device: torch.device) -> None:
    """See :func:`~uniseg_model.resample.resample_into`."""
    if apart is None:
        _cubic(out, image, device)
        return
    image, out = np.moveaxis(image, apart, 0), np.moveaxis(out, apart, 0)
    chosen, flat = nearest_indices(len(image), len(out)), np.empty((1, *out.shape[1:]), np.float32)
    for i in np.unique(chosen):
        _cubic(flat, image[i : i + 1], device)
        out[chosen == i] = flat


def _cubic(out: np.ndarray, image: np.ndarray, device: torch.device) -> None:
    """Cubic along all axes that change, then clipped to the input's range.

    X and Y go first, in slabs; then Z, in slabs of Y. Between the two a float64 tensor stands on the device.
    """
    low, high = float(image.min()), float(image.max())
    flat = torch.empty((len(image), *out.shape[1:]), dtype=torch.float64, device=device)
    for slab in slabs(len(image), image[0].size + flat[0].numel(), TENSOR_VOXELS):
        part = torch.from_numpy(np.require(image[slab], requirements=("C", "W"))).to(device).double()
        flat[slab] = _cubic_along(_cubic_along(part, out.shape[2], 2), out.shape[1], 1)
    for slab in slabs(out.shape[1], (len(image) + len(out)) * out.shape[2], TENSOR_VOXELS):
        out[:, slab] = _cubic_along(flat[:, slab], len(out), 0).clamp(low, high).float().cpu().numpy()


def _cubic_along(values: Tensor, m: int, axis: int) -> Tensor:
    n = values.shape[axis]
    if n == m:
        return values
    bands = [(old, _beside(values, block)) for _, old, block in matrix_bands(n, m, 3)]
    parts = [torch.tensordot(values.narrow(axis, old.start, block.shape[1]), block, ([axis], [1])) for old, block in bands]
    return torch.cat(parts, dim=-1).movedim(-1, axis)  # the new samples came last


def restored_rows(probabilities: Tensor, shape: Shape, apart: int | None, wanted: slice) -> Tensor:
    """The ``wanted`` rows of Z of class probabilities (C, z, y, x) resampled to ``shape``, (C, rows, Y, X) float32.

    See :func:`~uniseg_model.resample.restored_slabs`.
    """
    values = probabilities
    for axis, m in enumerate(shape, start=1):
        values = _resampled(values, m, axis, wanted if axis == 1 else slice(None), nearest=apart == axis - 1)
    return values.float()


def _resampled(values: Tensor, m: int, axis: int, wanted: slice, *, nearest: bool) -> Tensor:
    """The ``wanted`` of ``m`` samples along an axis: of float32 in float64, unless they are only picked."""
    n = values.shape[axis]
    if nearest or n == m:
        return values.index_select(axis, _beside(values, nearest_indices(n, m)[wanted]))
    low, high, share = (_beside(values, facts[wanted]) for facts in _neighbours(n, m))
    below, above = (values.index_select(axis, places).double() for places in (low, high))
    return torch.lerp(below, above, share.view([-1 if i == axis else 1 for i in range(values.ndim)]))


@lru_cache(maxsize=32)
def _neighbours(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of the linear matrix the first sample that counts, the next one, and what share the next one has."""
    matrix = spline_matrix(n, m, 1)
    low = (matrix != 0).argmax(axis=1)
    high = np.minimum(low + 1, n - 1)
    return low, high, matrix[np.arange(m), high]


def _beside(values: Tensor, facts: np.ndarray) -> Tensor:
    return torch.tensor(facts, device=values.device)
