"""Synthetic cases with known answers: simple anatomies drawn at random, painted on any grid.

An anatomy is drawn in millimetres from a seed and only then painted, so another grid shows the same patient.
Good for tests, demonstrations and small trainings; not for judging how well a real organ is found.

    shapes    solids as signed distances in mm          frame     skin, fat, muscles and bones of the trunk
    canvas    from strokes to voxels                    organs    the organs of chest and belly
    scanner   blur, noise, shading                      trunk, petct, brain, prostate    the four families of the eleven tasks
                                                        torso    a fifth, for tasks that no weights of ours were taught
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniseg_model.errors import OptionError
from uniseg_model.phantom import brain, petct, prostate, torso, trunk
from uniseg_model.phantom.canvas import Grid, paint
from uniseg_model.phantom.scene import Scene
from uniseg_model.tasks import Task, TaskRegistry, builtin_tasks, read_tasks
from uniseg_model.volume import Shape, Source, Triple, Volume

__all__ = ["FAMILIES", "HELD_OUT", "Phantom", "held_out_tasks", "make_phantom", "phantom_tasks"]


@dataclass(frozen=True)
class _Family:
    name: str
    modality: str  # in DICOM's words
    grid: Grid
    draw_scene: Callable[[np.random.Generator], Scene]


_BY_MODALITIES = {
    ("CT",): _Family("trunk", "CT", trunk.GRID, trunk.draw_scene),
    ("T2",): _Family("prostate", "MR", prostate.GRID, prostate.draw_scene),
    ("T1", "T1ce", "T2", "FLAIR"): _Family("brain", "MR", brain.GRID, brain.draw_scene),
    ("CT", "PET"): _Family("petct", "PT", petct.GRID, petct.draw_scene),
}
_TORSO = _Family("torso", "CT", torso.GRID, torso.draw_scene)
FAMILIES = {key: _BY_MODALITIES[task.modalities].name for key, task in builtin_tasks().items()}  # by task key
HELD_OUT = {"gallbladder": _TORSO.name, "ribs": _TORSO.name}  # likewise, of the tasks that no weights of ours were taught


def held_out_tasks() -> list[Task]:
    """The tasks of phantoms beside the eleven."""
    return read_tasks(Path(__file__).with_name("held_out.toml"))


def phantom_tasks() -> TaskRegistry:
    """All tasks for which there are phantoms: the eleven in prompt order, then those held out."""
    return TaskRegistry([*builtin_tasks().values(), *held_out_tasks()])


@dataclass(frozen=True, eq=False)
class Phantom:
    """A made-up scan and the right answers.

    labels: task key to its labels (Z, Y, X) uint8, with an entry for each task that the scan can be asked for:
        eight for a CT of the trunk, two for one of the torso, one otherwise.
    """

    volume: Volume
    labels: dict[str, np.ndarray] = field(repr=False)
    family: str
    seed: int


def make_phantom(task_key: str, seed: int = 0, *, shape: Shape | None = None, spacing_mm: Triple | None = None) -> Phantom:
    """A random case for a task; the same arguments give the same bits.

    One seed is one patient: all CT tasks of the trunk get the very same image, and another grid shows the same
    anatomy (the noise differs). The grid is axial, its axes run to superior, anterior and right, and the world's
    origin is in its middle. Every label of the task is there on the family's own grid and on any that shows as much.

    seed: zero or more.
    shape, spacing_mm: along Z, Y, X. Given one, the other follows from the family's own field of view; given both,
        the field of view may be too small for some labels; given none, the family's own grid is used.

    Raises:
        TaskError: there is no such task.
        OptionError: a negative seed.
        GeometryError: fewer than two voxels along an axis, or a spacing that is not positive.
    """
    tasks = phantom_tasks()
    task, homes = tasks[task_key], FAMILIES | HELD_OUT
    family = _TORSO if task_key in HELD_OUT else _BY_MODALITIES[task.modalities]
    if seed < 0:
        raise OptionError(f"the seed of a phantom must be zero or more, it is {seed}")
    grid = family.grid.covered_by(shape, spacing_mm)
    scene = family.draw_scene(np.random.default_rng(seed))
    picture = paint(scene.strokes, grid, scene.pose, scene.background)
    noise = np.random.default_rng([seed, 1])  # its own stream: how much is drawn from it depends on the grid
    image = scene.develop(picture.values, grid, noise)
    labels = {key: scene.answer(tasks[key], picture) for key, name in homes.items() if name == family.name}
    volume = Volume(image, grid.affine, Source(format="phantom", modality=family.modality), spacing_mm=grid.spacing_mm)
    return Phantom(volume, labels, family.name, seed)
