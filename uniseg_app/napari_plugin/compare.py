"""Two answers on one image, such as the same scan under two prompts: side by side, or faded into each other.

Side by side the image and each answer are shown once more, as layers that share the voxels and go away again; everything else
is hidden meanwhile.
"""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels, Layer

from uniseg_app.napari_plugin.results import display_like, kept_selection

_OPACITY = 0.7  # of an answer that is faded in


class SideBySide:
    """The arrangement, while it lasts."""

    def __init__(self, viewer: Any, image: Image, left: Labels, right: Labels) -> None:
        self._viewer = viewer
        self._visible = {layer: layer.visible for layer in viewer.layers}
        grid = viewer.canvas.grid
        self._grid = (grid.enabled, grid.stride, grid.shape)
        for layer in self._visible:
            layer.visible = False
        self._added = [made for labels in (right, left) for made in (_copy_of_image(image), _copy_of_labels(labels))]
        with kept_selection(viewer):
            for made in self._added:  # a negative stride counts from the top: the last two come first
                viewer.add_layer(made)
        grid.stride, grid.shape, grid.enabled = -2, (1, 2), True
        viewer.reset_view()

    def end(self) -> None:
        """As it was before."""
        here = self._viewer.layers
        for made in self._added:
            if made in here:
                here.remove(made)
        grid = self._viewer.canvas.grid
        grid.enabled, grid.stride, grid.shape = self._grid
        for layer, visible in self._visible.items():
            if layer in here:
                layer.visible = visible
        self._viewer.reset_view()


def fade(left: Labels, right: Labels, share: float) -> None:
    """Show the left answer alone (share 0), the right one alone (1), or something of both."""
    left.visible = right.visible = True
    left.opacity, right.opacity = _OPACITY * (1 - share), _OPACITY * share


def _copy_of_image(layer: Image) -> Image:
    return Image(layer.data, name=f"{layer.name} ", contrast_limits=layer.contrast_limits, colormap=layer.colormap,
                 gamma=layer.gamma, interpolation2d=layer.interpolation2d, **display_like(layer))  # fmt: skip


def _copy_of_labels(layer: Labels) -> Labels:
    copy = Labels(layer.data, name=f"{layer.name} ", colormap=layer.colormap, features=layer.features, opacity=layer.opacity,
                  **display_like(layer))  # fmt: skip
    copy.editable = False  # one paints in the layer itself
    return copy


def titles(left: Layer, right: Layer) -> str:
    """Which is where, in words."""
    return f"Left: {left.name}\nRight: {right.name}"
