"""Where a task's prompt matters for a structure: gradients of all windows, stitched like the prompts themselves.

Caution: a gradient is local. It says what a small change of the prompt would do, nothing of large changes such as swaps, and it
is no explanation of why something was found. See ``network.sensitivity`` for what is differentiated.

Letters: z, y, x the coarse volume.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg_model.io import write_map
from uniseg_model.prompts.maps import cell_of, coarse_affine
from uniseg_model.prompts.stitch import Stitch
from uniseg_model.record import RunRecord
from uniseg_model.regions import Region
from uniseg_model.tasks import Task
from uniseg_model.volume import Shape, Volume

if TYPE_CHECKING:
    from uniseg_model.run import Run

GRADIENTS = "gradients"  # the stage of progress


@dataclass(frozen=True, eq=False)
class Saliency:
    """How one structure's probability answers to the task's prompt.

    array: (z, y, x) float32, change of the structure's mean probability in a window per unit of the prompt there; NaN where the
        region has no window. affine: (4, 4), the coarse voxel (z, y, x, 1) to RAS+ mm.
    """

    task: Task
    structure: str
    array: np.ndarray = field(repr=False)
    affine: np.ndarray = field(repr=False)
    volume: Volume = field(repr=False)
    record: RunRecord = field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map as NIfTI, on the coarse grid in its place in the patient.

        Raises:
            OutputError: it cannot be written.
        """
        write_map(Path(path), self.array, self.affine)


def make_saliency(run: Run, structure: str, region: Region) -> Saliency:
    """The gradients of one structure of the run's one task.

    Raises:
        OptionError: the task has no such structure, or the region does not fit the image.
        OutOfMemoryError: one window at a time is still too much. Cancelled: the hook wanted it so.
    """
    from uniseg_model.engines.rules import Read, rule_of

    [task] = run.tasks
    value = task.value_of(structure)
    prepared = run.prepared(run.recipe(task))
    layout, cell, volume = (
        region.scope(prepared, run.layout(prepared), run.session.volume.shape).layout,
        cell_of(run),
        run.session.volume,
    )
    place = run.checkpoint.place(task)
    rule, stitch = Read(rule_of(place), place), Stitch(layout, cell, 1)

    def keep(start: Shape, gradient: np.ndarray) -> None:
        stitch.add(start, gradient[None])

    run.through(GRADIENTS, prepared.array, layout, lambda windows: run.engine.sensitivity(windows, rule, value), keep)
    record = run.record(structure=structure, **region.to_dict())
    return Saliency(task, structure, stitch.means()[0], coarse_affine(prepared, layout, cell, volume), volume, record)
