"""Numbers over an image as colours: which colour each voxel of the display copy gets, and what the numbers were.

The viewer draws labels exactly and never beyond the image, so numbers are cut into levels and shown as labels; 0 is clear.

Letters: Z, Y, X the image; z, y, x its display copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from uniseg_app.web_demo.display import display_labels
from uniseg_model.prompts.colors import DIVERGING, VIRIDIS, painted
from uniseg_model.volume import Volume

_LEVELS = 254  # 1 to 254


@dataclass(frozen=True, eq=False)
class Heat:
    """A map. levels: (z, y, x) uint8, 0 where there is no number, 1 at ``low`` and below, 254 at ``high`` and above.

    exact: what ``ViewerHeat`` wants to know of the numbers themselves.
    """

    name: str
    low: float
    high: float
    scale: tuple[str, ...]
    levels: np.ndarray = field(repr=False)
    exact: dict[str, Any] | None = field(default=None, repr=False)

    def colors(self) -> dict[str, list[Any]]:
        """The colours by level, as of ``display.color_table``."""
        rows = painted(np.linspace(0, 1, _LEVELS), 0, 1, self.scale).astype(int)
        channels = {name: [0, *rows[:, i].tolist()] for i, name in enumerate("RGB")}
        return {**channels, "A": [0, *[255] * _LEVELS], "I": list(range(_LEVELS + 1)), "labels": [""] * (_LEVELS + 1)}


def cells_heat(
    name: str, values: np.ndarray, affine: np.ndarray, copy: Volume, limits: tuple[float, float], *, around_zero: bool = False
) -> Heat:
    """A coarse map (cells) over a display copy: every voxel has the colour of the cell that it lies in.

    affine: a cell (z, y, x, 1) to RAS+ mm. limits: where the colours begin and end. around_zero: the scale for what may be above
    or below 0.
    """
    to_cells = np.linalg.inv(affine) @ copy.affine
    nearest = ndimage.affine_transform(
        levels_of(values, *limits), to_cells[:3, :3], to_cells[:3, 3], copy.shape, order=0, mode="grid-constant", cval=0
    )
    told = [float(f"{value:.4g}") if np.isfinite(value) else None for value in values.ravel()]
    exact = {"shape": values.shape, "to_cells": np.linalg.inv(affine)[:3].tolist(), "cells": told}
    return Heat(name, *limits, DIVERGING if around_zero else VIRIDIS, nearest, exact)


def change_heat(name: str, values: np.ndarray, copy: Volume, clear_below: float = 0.01) -> Heat:
    """A map (Z, Y, X) of what may be above or below 0, on the image's grid; what changed by less than ``clear_below`` is clear."""
    most = float(np.abs(values).max()) or 1.0
    levels = np.where(np.abs(values) < clear_below, np.uint8(0), levels_of(values, -most, most))
    return Heat(name, -most, most, DIVERGING, display_labels(levels, copy), {"clear_below": clear_below})


def levels_of(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers as levels, uint8; NaN is 0."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return np.where(np.isnan(values), 0, 1 + np.rint(np.nan_to_num(share) * (_LEVELS - 1))).astype(np.uint8)
