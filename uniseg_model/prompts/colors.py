"""Colours for numbers, told apart by colour-blind eyes too: one scale for amounts, one for what may be above or below 0.

Amounts: viridis (Smith and van der Walt, 2015; CC0), in steps. Above and below: from blue over near white to orange, after ColorBrewer's
PuOr and RdBu (Brewer, 2003).
"""

from __future__ import annotations

import numpy as np

from uniseg_model.evaluation.pictures import Rgb

VIRIDIS = ("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725")
DIVERGING = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fdd9b5", "#f1a340", "#b35806")
NOTHING = (127, 127, 127)  # where there is no number

_BRIGHT = 0.179  # relative luminance from which black letters have more contrast than white ones (WCAG 2)
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def painted(values: np.ndarray, low: float, high: float, scale: tuple[str, ...]) -> Rgb:
    """Values (...) as colours (..., 3) uint8: ``low`` and below is the scale's first, ``high`` and above its last; NaN is grey."""
    stops = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in scale], float)
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(stops) - 1)
    channels = [np.interp(share, np.arange(len(stops)), stop) for stop in stops.T]
    rgb = np.where(np.isnan(values)[..., None], NOTHING, np.nan_to_num(np.stack(channels, axis=-1)))
    return np.rint(rgb).astype(np.uint8)


def hex_of(rgb: Rgb) -> str:
    """One colour as ``#RRGGBB``."""
    return "#" + bytes(rgb.tolist()).hex()


def ink_on(rgb: Rgb) -> str:
    """Black or white, whichever has more contrast on a colour; it is at least 4.5 to 1."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return "#000" if float(np.dot(linear, _LUMINANCE)) > _BRIGHT else "#fff"
