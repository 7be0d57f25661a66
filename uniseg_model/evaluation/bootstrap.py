"""How far the mean over some cases may be off by chance.

The percentile bootstrap (Efron and Tibshirani, 1993) assumes no shape of the values: scores crowd at 1 and have a long
tail. It speaks of cases drawn like these and of nothing else, and with fewer than some ten cases it is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

INTERVAL = (
    "95 % percentile bootstrap interval of the mean over cases: 2000 resamples, fixed seed, finite values only; "
    "none with fewer than two of them, and too narrow with fewer than some ten."
)
_N_RESAMPLES = 2000
_SEED = 20230407  # the day UniSeg appeared on arXiv; fixed, so that the same scores give the same interval


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of finite values; None for fewer than two."""
    if len(values) < 2:
        return None
    origin = values[0]  # measured from one of them, so that equal values give exactly that value
    offsets = np.asarray(values) - origin
    drawn = np.random.default_rng(_SEED).integers(len(values), size=(_N_RESAMPLES, len(values)))
    low, high = np.percentile(offsets[drawn].mean(axis=1), [2.5, 97.5])
    return float(origin + low), float(origin + high)
