"""The best that an intensity threshold can do: what the phantoms must be harder than.

For each structure an interval of intensities in one channel, and the largest connected component in it. Interval and
channel are those with the best mean Dice on tuning phantoms; the table is of held-out ones.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage

from uniseg_model.evaluation.metrics import dice
from uniseg_model.phantom import Phantom

Rule = tuple[int, float, float]  # channel, lowest and highest intensity
_QUANTILES = (0.02, 0.1, 0.25, 0.4)


def tune(phantoms: list[Phantom], task: str, value: int) -> Rule:
    """The rule with the best mean Dice for a label value on these phantoms."""
    inside = [p.volume.array[:, p.labels[task] == value] for p in phantoms]
    values = np.concatenate(inside, axis=1)
    rules = [
        (channel, float(np.quantile(values[channel], low)), float(np.quantile(values[channel], 1 - high)))
        for channel, low, high in product(range(len(values)), _QUANTILES, _QUANTILES)
    ]
    return max(rules, key=lambda rule: np.mean([score(p, task, value, rule) for p in phantoms]))


def score(phantom: Phantom, task: str, value: int, rule: Rule) -> float:
    """Dice of a rule on one phantom."""
    channel, low, high = rule
    image = phantom.volume.array[channel]
    return dice(largest_component((image >= low) & (image <= high)), phantom.labels[task] == value)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected part of a mask; itself when it is empty."""
    parts, n = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if n else mask
