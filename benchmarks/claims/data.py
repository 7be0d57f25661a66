"""Phantoms as the networks see them, painted once into a folder and then memory-mapped.

FOLDER/FAMILY_GRID_SEED.npy          image (C, Z, Y, X) float32, prepared as for any scan
FOLDER/FAMILY_GRID_SEED.labels.npy   labels (T, Z, Y, X) uint8, a layer for each task that the image answers
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg_model.phantom import FAMILIES, make_phantom, trunk
from uniseg_model.phantom.canvas import paint
from uniseg_model.preprocess import Recipe, prepare
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.training.cache import PreparedCase, places_of, prepare_labels, save_array
from uniseg_model.volume import Triple, Volume

Cases = dict[str, list[PreparedCase]]  # by task key
Make = Callable[[int], tuple[Volume, list[np.ndarray]]]  # from a seed to an image and the labels of each task


@dataclass(frozen=True)
class Group:
    """Tasks that share their images, and how such an image is made."""

    name: str
    tasks: tuple[Task, ...]
    make: Make

    def case(self, folder: Path, seed: int) -> list[PreparedCase]:
        """One phantom, painted when it is not there yet: a case for each task."""
        grid = "x".join(f"{mm:g}" for mm in self.tasks[0].spacing_mm)
        name = f"{self.name}_{grid}mm_{self.tasks[0].axes}_{seed}"
        image, labels = folder / f"{name}.npy", folder / f"{name}.labels.npy"
        if not labels.exists():
            volume, answers = self.make(seed)
            prepared = prepare(volume, Recipe.of(self.tasks[0]))
            save_array(image, prepared.array)
            pairs = zip(answers, self.tasks, strict=True)
            save_array(labels, np.stack([prepare_labels(answer, prepared, task.n_classes) for answer, task in pairs]))
        array, layers = np.load(image, mmap_mode="r"), np.load(labels, mmap_mode="r")
        return [PreparedCase(name, array, layer, places_of(layer)) for layer in layers]

    def cases(self, folder: Path, seeds: Iterable[int]) -> Cases:
        """The phantoms of some seeds."""
        folder.mkdir(parents=True, exist_ok=True)
        by_seed = [self.case(folder, seed) for seed in seeds]
        return {task.key: [case[i] for case in by_seed] for i, task in enumerate(self.tasks)}


def upstream_groups(tasks: TaskRegistry) -> list[Group]:
    """The four families of phantoms, each with its tasks."""
    members: dict[str, list[Task]] = {}
    for task in tasks.values():
        members.setdefault(FAMILIES[task.key], []).append(task)
    return [Group(name, tuple(own), _from_phantom(own)) for name, own in members.items()]


def downstream_group(tasks: TaskRegistry) -> Group:
    """Phantoms of the trunk with the new tasks' labels."""
    own = tuple(tasks.values())

    def make(seed: int) -> tuple[Volume, list[np.ndarray]]:
        return trunk_with(seed, own[0].spacing_mm, [task.labels[0].name for task in own])

    return Group("downstream", own, make)


def trunk_with(seed: int, spacing_mm: Triple, structures: Iterable[str]) -> tuple[Volume, list[np.ndarray]]:
    """The very image of ``make_phantom``, and for each structure that is painted in it a mask (Z, Y, X) uint8.

    structures: names of strokes, whether or not any task knows them.
    """
    grid = trunk.GRID.covered_by(None, spacing_mm)
    scene = trunk.draw_scene(np.random.default_rng(seed))
    picture = paint(scene.strokes, grid, scene.pose, scene.background)
    image = scene.develop(picture.values, grid, np.random.default_rng([seed, 1]))
    masks = [picture.where(name).astype(np.uint8) for name in structures]
    return Volume(image, grid.affine, spacing_mm=grid.spacing_mm), masks


def _from_phantom(tasks: list[Task]) -> Make:
    def make(seed: int) -> tuple[Volume, list[np.ndarray]]:
        phantom = make_phantom(tasks[0].key, seed, spacing_mm=tasks[0].spacing_mm)
        return phantom.volume, [phantom.labels[task.key] for task in tasks]

    return make
