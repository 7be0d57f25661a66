"""Ways to look: the three planes, windows of grey values, the frontal view in 3D."""

from __future__ import annotations

from typing import Any

from napari.layers import Image

from uniseg_app.grey import Window

PLANES = {"Axial": (0, 1, 2), "Coronal": (1, 0, 2), "Sagittal": (2, 0, 1)}  # the order of u, v, w: the first is sliced
_FROM_THE_FRONT, _HEAD_UP = (0, 1, 0), (-1, 0, 0)  # in the world's axes: towards posterior; towards superior


def show_plane(viewer: Any, plane: str) -> None:
    """Slices of a plane, radiological and upright; more axes than three keep their sliders."""
    viewer.dims.ndisplay = 2
    extra = viewer.dims.ndim - 3
    viewer.dims.order = (*range(extra), *(extra + axis for axis in PLANES[plane]))
    viewer.reset_view()


def show_3d(viewer: Any) -> None:
    """The frontal view, the patient's right on the left."""
    viewer.dims.order = tuple(range(viewer.dims.ndim))
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    viewer.scene.camera.set_view_direction(_FROM_THE_FRONT, _HEAD_UP)


def show_window(layer: Image, window: Window) -> None:
    """Other grey values as black and white; the voxels stay."""
    low, high = window
    least, most = layer.contrast_limits_range
    layer.contrast_limits_range = (min(least, low), max(most, high))
    layer.contrast_limits = window
