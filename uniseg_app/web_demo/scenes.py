"""What a visit's viewer shows: the display copy of its image, and one map of all structures found so far."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from uniseg_app.web_demo.display import (
    Structure,
    display_copy,
    display_labels,
    grey_window,
    is_ct,
    located,
    structures_of,
    write_display_image,
    write_display_labels,
)
from uniseg_app.web_demo.viewer import ViewerScene, scene
from uniseg_app.web_demo.visits import Visit
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.volume import Volume

_SHOWN_CHANNEL = {4: 3}  # of four MR channels FLAIR shows most; otherwise the first


class Stage:
    """The display copy of one image, made once."""

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.copy = display_copy(volume, _SHOWN_CHANNEL.get(volume.n_channels, 0))
        self._folder, self._count = folder, 0
        self._image = folder / f"shown-{secrets.token_hex(4)}.nii.gz"
        write_display_image(self._image, self.copy)

    def scene(self, labels: Mapping[str, np.ndarray], known: TaskRegistry) -> ViewerScene:
        """Image and labels (Z, Y, X) by task key."""
        tasks = [known[key] for key in labels]
        window, unit = grey_window(self.copy, tasks[0] if tasks else None), "HU" if is_ct(self.copy) else ""
        if not tasks:
            return scene(self._image, window, unit)
        together, structures = one_map({task: display_labels(labels[task.key], self.copy) for task in tasks})
        self._count += 1
        path = self._folder / f"labels-{self._count}.nii.gz"
        write_display_labels(path, together, self.copy)
        (self._folder / f"labels-{self._count - 1}.nii.gz").unlink(missing_ok=True)
        return scene(self._image, window, unit, path, located(structures, together, self.copy.affine))


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


def scene_of(visit: Visit, known: TaskRegistry) -> ViewerScene | None:
    """What a visit shows now; nothing before it has an image."""
    if visit.volume is None:
        return None
    visit.stage = visit.stage or Stage(visit.volume, visit.folder)
    return visit.stage.scene(visit.labels(), known)
