"""What was seen of prompts, over the scan: one Image layer for numbers, one Labels layer for masks, filled anew with each look.

A coarse map keeps its cells: it is a layer of its own grid, in its place over the scan's.

Letters: u, v, w a layer's axes; z, y, x the coarse grid's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap
from napari.utils.transforms import Affine

from uniseg_app.napari_plugin.answers import named
from uniseg_app.napari_plugin.layers import NUMBERS, PLACED
from uniseg_app.napari_plugin.results import display_like, kept_selection
from uniseg_app.napari_plugin.world import Placed
from uniseg_model.prompts.colors import DIVERGING, VIRIDIS, painted
from uniseg_model.tasks import Label

OPACITY = 0.75
_STOPS = 65  # of a colour map


@dataclass(frozen=True, eq=False)
class Numbers:
    """A map over a scan. array: (u, v, w) of its own grid. limits: where the colours begin and end. around_zero: clear at 0."""

    name: str
    array: np.ndarray = field(repr=False)
    limits: tuple[float, float]
    display: Mapping[str, Any] = field(repr=False)
    around_zero: bool = False


@dataclass(frozen=True, eq=False)
class Masks:
    """Labels over a scan. array: (u, v, w) on the scan's grid."""

    name: str
    array: np.ndarray = field(repr=False)
    structures: Mapping[int, Label]
    placed: Placed = field(repr=False)
    display: Mapping[str, Any] = field(repr=False)


class Overlays:
    """The two layers in a viewer; a person may remove them at any time."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._numbers: Image | None = None
        self._masks: Labels | None = None

    def show(self, shown: Numbers | Masks | None) -> None:
        """Show this, and nothing else of ours."""
        if isinstance(shown, Numbers):
            self._numbers = self._filled(self._numbers, _image(shown))
        elif isinstance(shown, Masks):
            self._masks = self._filled(self._masks, _labels(shown))
        for layer, kind in ((self._numbers, Numbers), (self._masks, Masks)):
            if layer is not None and layer in self._viewer.layers:
                layer.visible = isinstance(shown, kind)

    def remove(self) -> None:
        """Take them away."""
        for layer in (self._numbers, self._masks):
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _filled(self, old: Any, new: Any) -> Any:
        """The old layer with what the new one holds, where it is still there and on the same grid; else the new one, added."""
        is_here = old is not None and old in self._viewer.layers
        if is_here and old.data.shape == new.data.shape and np.allclose(old.scale, new.scale):
            _copy(old, new)
            return old
        with kept_selection(self._viewer):
            if is_here:
                self._viewer.layers.remove(old)
            self._viewer.add_layer(new)
        return new


def cells(name: str, values: np.ndarray, affine: np.ndarray, placed: Placed, layer: Layer, limits: tuple[float, float],
          *, around_zero: bool = False) -> Numbers:  # fmt: skip
    """A coarse map in its place over a scan. values: (z, y, x). affine: (z, y, x, 1) to RAS+ mm. layer: the scan's, of ``placed``."""
    array, steps, origin = _along(values, np.linalg.inv(placed.affine) @ affine)
    display = display_like(layer)
    linear = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear).linear_matrix
    display |= {"scale": np.asarray(layer.scale) * steps, "translate": np.asarray(layer.translate) + linear @ origin}
    return Numbers(name, array, limits, display, around_zero)


def voxels(name: str, values: np.ndarray, placed: Placed, layer: Layer) -> Numbers:
    """A map (Z, Y, X) of what may be above or below 0, on the scan's own grid."""
    most = float(np.abs(values).max()) or 1.0
    return Numbers(name, placed.to_layer(values), (-most, most), display_like(layer), around_zero=True)


def masks(name: str, labels: np.ndarray, structures: Mapping[int, Label], placed: Placed, layer: Layer) -> Masks:
    """Labels (Z, Y, X) on the scan's grid."""
    return Masks(name, np.ascontiguousarray(placed.to_layer(labels)), structures, placed, display_like(layer))


def _along(values: np.ndarray, to_layer: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values turned to run along a layer's axes; how many of its voxels a cell takes; the layer's voxel of the first cell's middle.

    to_layer: (z, y, x, 1) to (u, v, w, 1), one axis along one.
    """
    order = [int(np.abs(row[:3]).argmax()) for row in to_layer[:3]]
    array = values.transpose(order)
    steps = np.array([to_layer[i, axis] for i, axis in enumerate(order)])
    origin = to_layer[:3, 3] + np.where(steps < 0, steps * (np.array(array.shape) - 1), 0)
    return np.flip(array, tuple(np.nonzero(steps < 0)[0].tolist())), np.abs(steps), origin


def colormap(scale: tuple[str, ...], *, around_zero: bool) -> Colormap:
    """A scale that lets the scan through: what is low, or near 0, is clear."""
    share = np.linspace(0, 1, _STOPS)
    rgb = painted(share, 0, 1, scale) / 255
    alpha = np.abs(2 * share - 1) if around_zero else share
    return Colormap(np.column_stack([rgb, np.sqrt(alpha)]), name="above and below 0" if around_zero else "amount")


def _image(shown: Numbers) -> Image:
    scale = colormap(DIVERGING if shown.around_zero else VIRIDIS, around_zero=shown.around_zero)
    return Image(np.asarray(shown.array), name=shown.name, contrast_limits=shown.limits, colormap=scale, opacity=OPACITY,
                 blending="translucent_no_depth", interpolation2d="nearest", metadata={NUMBERS: True}, **shown.display)  # fmt: skip


def _labels(shown: Masks) -> Labels:
    return Labels(shown.array, name=shown.name, metadata={PLACED: shown.placed}, **shown.display, **named(shown.structures))


def _copy(old: Any, new: Any) -> None:
    old.data, old.name, old.metadata = new.data, new.name, new.metadata
    old.translate, old.colormap = new.translate, new.colormap
    if isinstance(new, Labels):
        old.features = new.features
    else:
        old.contrast_limits_range, old.contrast_limits = new.contrast_limits_range, new.contrast_limits
