"""Structures as smooth surfaces among the layers, for a quick 3D view: a volume rendering takes seconds a frame without a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels, Surface
from napari.utils.colormaps import Colormap

from uniseg_app.meshes import smooth_surface
from uniseg_app.napari_plugin.answers import answer_of, color_of, is_shown, structures_of_task
from uniseg_app.napari_plugin.layers import world_of
from uniseg_model.tasks import Label

SURFACE = "uniseg_surface"  # in a layer's metadata: the Labels layer and value that it shows


@dataclass(frozen=True, eq=False)
class Solid:
    """What a surface is made of, taken in the window's thread. labels: of ``layer``, (u, v, w). world: (u, v, w, 1) to its world."""

    name: str
    color: str
    layer: Labels
    value: int
    labels: np.ndarray
    world: np.ndarray


@dataclass(frozen=True, eq=False)
class Skin:
    """A surface, worked out. vertices: (n, 3) in the world. triangles: (m, 3)."""

    solid: Solid
    vertices: np.ndarray
    triangles: np.ndarray


def solids(layers: Sequence[Labels]) -> list[Solid]:
    """All structures that are shown now."""
    found = []
    for layer in layers:
        answer = answer_of(layer)
        structures: Mapping[int, Label] = structures_of_task(answer.task) if answer and layer.visible else {}
        for value, label in structures.items():
            if is_shown(layer, value):
                found.append(Solid(label.name, color_of(layer, value), layer, value, layer.data, world_of(layer)))
    return found


def skins(shown: Sequence[Solid]) -> list[Skin]:
    """Their surfaces; for a job, as it takes a while. What has no voxel has none."""
    made = [Skin(one, *smooth_surface(one.labels == one.value, one.world)) for one in shown]
    return [skin for skin in made if len(skin.triangles)]


def surface_layer(skin: Skin) -> Surface:
    """A layer of one surface, among those it was made of."""
    solid = skin.solid
    plain = Colormap([solid.color, solid.color], name=solid.name)
    return Surface((skin.vertices, skin.triangles), name=f"{solid.name} (3D)", colormap=plain, shading="smooth",
                   units=solid.layer.units, axis_labels=solid.layer.axis_labels, metadata={SURFACE: (solid.layer, solid.value)})  # fmt: skip


def surface_of(viewer: Any, layer: Labels, value: int) -> Surface | None:
    """The surface that stands for a structure in 3D; None where there is none."""
    return next((one for one in viewer.layers if one.metadata.get(SURFACE) == (layer, value)), None)
