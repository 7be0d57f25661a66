"""What a visit's viewer shows: the display copy of its image, and one map of all structures found so far."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniseg_app.grey import Window, grey_windows, is_ct
from uniseg_app.web_demo.display import (
    Structure,
    color_table,
    display_copy,
    display_labels,
    located,
    structures_of,
    write_display_image,
    write_display_labels,
)
from uniseg_app.web_demo.heat import Heat
from uniseg_app.web_demo.slices import Overlay, draw_slice
from uniseg_app.web_demo.viewer import ViewerScene, heat_scene, scene
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.volume import Volume

_SHOWN_CHANNEL = {4: 3}  # of four MR channels FLAIR shows most; otherwise the first


@dataclass(frozen=True)
class Layers:
    """What lies over what. windows: by name, the one to begin with first. labels: (z, y, x), None where nothing was found."""

    windows: Mapping[str, Window]
    labels: np.ndarray | None = field(default=None, repr=False)
    structures: tuple[Structure, ...] = ()


class Stage:
    """The display copy of one image, made once, and what is laid over it."""

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.copy = display_copy(volume, _SHOWN_CHANNEL.get(volume.n_channels, 0))
        self._folder, self._count = folder, 0
        self._image = folder / f"shown-{secrets.token_hex(4)}.nii.gz"
        write_display_image(self._image, self.copy)

    def layers(self, labels: Mapping[str, np.ndarray], known: TaskRegistry) -> Layers:
        """Labels (Z, Y, X) by task key over the copy."""
        tasks = [known[key] for key in labels]
        windows = grey_windows(self.copy, tasks)
        if not tasks:
            return Layers(windows)
        together, structures = one_map({task: display_labels(labels[task.key], self.copy) for task in tasks})
        return Layers(windows, together, tuple(located(structures, together, self.copy.affine)))

    def scene(self, layers: Layers) -> ViewerScene:
        """For the viewer."""
        unit = "HU" if is_ct(self.copy) else ""
        if layers.labels is None:
            return scene(self._image, layers.windows, unit)
        self._count += 1
        path = self._folder / f"labels-{self._count}.nii.gz"
        write_display_labels(path, layers.labels, self.copy)
        return scene(self._image, layers.windows, unit, path, layers.structures)

    def heat_scene(self, heat: Heat, known: Sequence[Task] = ()) -> ViewerScene:
        """For the viewer, with numbers over the image. known: tasks whose windows are offered."""
        self._count += 1
        path = self._folder / f"heat-{self._count}.nii.gz"
        write_display_labels(path, heat.levels, self.copy)
        return heat_scene(self._image, grey_windows(self.copy, known), "HU" if is_ct(self.copy) else "", path, heat)

    def slice(self, layers: Layers, plane: str, number: int) -> np.ndarray:
        """For browsers without the viewer: a picture, (h, w, 3) uint8."""
        window = next(iter(layers.windows.values()))
        return draw_slice(self.copy, plane, number, window, layers.labels, Overlay(color_table(layers.structures)))


def one_map(labels: Mapping[Task, np.ndarray]) -> tuple[np.ndarray, list[Structure]]:
    """Labels (z, y, x) of several tasks in one map, earlier tasks on top; values count through the tasks' structures from 1."""
    shape = next(iter(labels.values())).shape
    together, structures = np.zeros(shape, np.uint8), list[Structure]()
    for task, found in labels.items():
        values = np.arange(len(task.labels) + 1, dtype=np.uint8) + np.uint8(len(structures))
        values[0] = 0
        free = (together == 0) & (found > 0)
        together[free] = values[found[free]]
        structures += _counted_from(len(structures), structures_of(task.labels))
    return together, structures


def _counted_from(first: int, structures: Iterable[Structure]) -> list[Structure]:
    return [Structure(first + s.value, s.name, s.color) for s in structures]
