"""What the decoder is told about this image: the task prompts of all windows, stitched into one coarse volume.

Nothing is decoded: windows stand where segmenting puts them, each is encoded once, and the fusion gives all tasks' prompts at
once. Mirroring plays no part. Each window's prompts pass through a norm over that window alone: a map shows where in a
window a task's prompt is high, and its level cannot be compared from window to window.

Letters: T tasks; z, y, x the coarse volume, or, of one window, the bottleneck.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniseg_model.io import write_map
from uniseg_model.preprocess import Prepared, Recipe
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.stitch import Stitch
from uniseg_model.record import RunRecord
from uniseg_model.volume import Shape, Volume
from uniseg_model.windows import Layout

if TYPE_CHECKING:
    from uniseg_model.run import Run
    from uniseg_model.tasks import Task

PROMPTS = "prompts"  # the stage of progress


@dataclass(frozen=True, eq=False)
class PromptMaps(PromptSet):
    """The prompts of an image under one recipe.

    array: (T, z, y, x) float32, the windows' prompts as if each were spread over its voxels, weighted as in segmenting and
        averaged over each cell. affine: (4, 4), the coarse voxel (z, y, x, 1) to RAS+ mm. cell: prepared voxels along its sides.
    window_mean: (T, z, y, x) of one window, the mean over all windows: what ``Foreign`` takes to another image.
    """

    affine: np.ndarray = field(repr=False)
    cell: Shape
    window_mean: np.ndarray = field(repr=False)
    recipe: Recipe
    volume: Volume = field(repr=False)
    record: RunRecord = field(repr=False)

    def save(self, path: str | os.PathLike[str], key: str) -> None:
        """Write one task's map as NIfTI, on the coarse grid in its place in the patient.

        Raises:
            TaskError: it is not among these. OutputError: it cannot be written.
        """
        write_map(Path(path), self.of(key), self.affine)

    def to_dict(self) -> dict[str, Any]:
        """What the maps amount to, and the grid they lie on."""
        grid = {
            "cell_voxels": list(self.cell),
            "prepared_spacing_mm": list(self.recipe.spacing_mm),
            "affine_zyx": self.affine.tolist(),
        }
        return {**super().to_dict(), **grid, "record": self.record.to_dict()}


def cell_of(run: Run) -> Shape:
    """Prepared voxels along the sides of one prompt voxel."""
    z, y, x = (side // n for side, n in zip(run.engine.window, run.checkpoint.config.prompt_shape, strict=True))
    return z, y, x


def coarse_affine(prepared: Prepared, layout: Layout, cell: Shape, volume: Volume) -> np.ndarray:
    """Where the cells of a stitched volume lie, (z, y, x, 1) to RAS+ mm; cells are counted from the padded grid's first voxel."""
    to_prepared = np.diag([*cell, 1.0])
    to_prepared[:3, 3] = [(side - 1) / 2 - before for side, (before, _) in zip(cell, layout.pads, strict=True)]
    return np.asarray(prepared.affine(volume.affine) @ to_prepared)


def make_prompt_maps(run: Run, prepared: Prepared, tasks: list[Task]) -> PromptMaps:
    """The maps of tasks that share a recipe, with one encoding of each window.

    Raises:
        OutOfMemoryError: one window at a time is still too much. Cancelled: the hook wanted it so.
    """
    layout, cell = run.layout(prepared), cell_of(run)
    places = [run.checkpoint.place(task) for task in tasks]
    stitch, total = Stitch(layout, cell, len(tasks)), np.zeros((len(tasks), *run.checkpoint.config.prompt_shape))

    def keep(start: Shape, prompts: np.ndarray) -> None:
        nonlocal total
        stitch.add(start, prompts[places])
        total += prompts[places]

    run.through(PROMPTS, prepared.array, layout, run.engine.prompts, keep)
    volume = run.session.volume
    return PromptMaps(
        tuple(tasks), stitch.means(), coarse_affine(prepared, layout, cell, volume), cell,
        np.asarray(total / len(layout.starts), np.float32), prepared.recipe, volume, run.record(windows=len(layout.starts)),
    )  # fmt: skip
