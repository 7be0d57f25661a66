"""The 48 ways a file's axes can lie in the patient."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from uniseg_model.volume import Triple

ORIENTATIONS = ["".join(letters) for names in permutations(("RL", "AP", "SI")) for letters in product(*names)]  # of x, y, z
WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def oriented_affine(code: str, zyx_mm: Triple) -> np.ndarray:
    """The affine of (z, y, x, 1) for a file whose axes x, y, z point to the letters of ``code``."""
    affine = np.zeros((4, 4))
    for axis, letter in enumerate(reversed(code)):
        world, sign = WORLD[letter]
        affine[world, axis] = sign * zyx_mm[axis]
    affine[:, 3] = -10, 20, 5, 1
    return affine
