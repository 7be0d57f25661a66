"""Fewer multiplications for the same convolution: Winograd's minimal filtering, by the construction of Cook and Toom.

Four neighbouring outputs of a filter of three taps are coefficients of a product of two polynomials. Each polynomial is
evaluated at six points, the values are multiplied, and the product is read off: six multiplications in place of twelve.

    outputs = back @ F @ ((taps @ filter) * (F @ inputs @ six neighbouring values))

The points are 0, infinity and pairs p, -p, of which polynomials share what is even and what is odd: F is the sum and the
difference of each pair, so that both are made of the same two sums.

Source: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; A. Lavin and S. Gray, CVPR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy.linalg import block_diag

TAPS = 3
_PAIRS = (1.0, 2.0)


@dataclass(frozen=True)
class Tile:
    """The matrices of a tile of k outputs, n = k + 2: inputs (n, n), taps (n, 3), back (k, n).

    Places are 0, infinity, p, -p, and so on; where F stands between, the even and the odd half in the place of p and -p.
    """

    inputs: NDArray[np.float64]
    taps: NDArray[np.float64]
    back: NDArray[np.float64]


def tile(n_outputs: int) -> Tile:
    """The matrices for 2 or 4 outputs."""
    pairs = _PAIRS[: n_outputs // 2]
    points = np.array([0, *(point for p in pairs for point in (p, -p))])
    inputs, taps = np.zeros((n_outputs + 2, n_outputs + 2)), np.zeros((n_outputs + 2, TAPS))
    back = np.zeros((n_outputs, n_outputs + 2))
    for place, point in zip((0, *range(2, n_outputs + 2)), points, strict=True):
        others = points[points != point]
        inputs[place, :-1] = polynomial.polyfromroots(others)
        taps[place] = point ** np.arange(TAPS) / np.prod(point - others)
        back[:, place] = point ** np.arange(n_outputs)
    inputs[1] = polynomial.polyfromroots(points)  # at infinity a polynomial is its leading coefficient
    taps[1, -1] = back[-1, 1] = 1
    halves = np.linalg.inv(butterfly(len(pairs)))
    return Tile(halves @ inputs, taps, back @ halves)


def butterfly(n_pairs: int) -> NDArray[np.float64]:
    """F: what it leaves at 0 and infinity, and sum and difference of each pair."""
    matrix: NDArray[np.float64] = block_diag(np.eye(2), *[[[1, 1], [1, -1]]] * n_pairs)
    return matrix
