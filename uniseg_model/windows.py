"""Where windows stand and how their answers are blended. Pure geometry, no torch.

All triples are along z, y, x. The rules are nnU-Net v1's, which the original uses; MONAI's differ in both starts and weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from scipy import ndimage

from uniseg_model.errors import OptionError
from uniseg_model.volume import Shape, Triple

_SIGMA = 1 / 8  # of the Gaussian, in window sides


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
