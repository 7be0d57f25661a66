"""Resampling where tensors lie, on a GPU: the numbers of ``resample`` in the same float64.

A row of the linear matrix holds two neighbours at most, so nothing is multiplied out: two samples are taken and mixed. That
is bound by memory, and so float64 costs little even on cards that compute it at a sixty-fourth of their speed. On a CPU the
banded product of ``resample`` is quicker. Speed on a GPU is not measured.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from uniseg_model.resample import nearest_indices, spline_matrix
from uniseg_model.volume import Shape


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
    return torch.from_numpy(facts).to(values.device)
