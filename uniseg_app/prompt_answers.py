"""What was seen of prompts as people take it away: a table of what changed, and the files behind each picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniseg_app.outputs import staged
from uniseg_model import DISCLAIMER
from uniseg_model.files import write_sealed_json
from uniseg_model.io import write_labels, write_map
from uniseg_model.prompts.sets import PromptSet

if TYPE_CHECKING:
    from uniseg_model.prompts.inspection import Inspection
    from uniseg_model.prompts.saliency import Saliency
    from uniseg_model.prompts.whatif import WhatIf


@dataclass(frozen=True)
class ChangeRow:
    """One structure before and after.

    dice: between the two; None where neither found it. mean_change: of its probability, after minus before, over the voxels that
        were looked at.
    """

    structure: str
    color: str
    before_ml: float
    after_ml: float
    dice: float | None
    mean_change: float


def change_rows(found: WhatIf) -> list[ChangeRow]:
    """The rows of all structures, in the task's order."""
    before, after, dice = found.before.volumes_ml(), found.after.volumes_ml(), found.dice()
    return [
        ChangeRow(
            label.name,
            label.color,
            before[label.name],
            after[label.name],
            None if math.isnan(dice[label.name]) else dice[label.name],
            found.mean_change[label.name],
        )
        for label in found.before.task.labels
    ]


def changes_csv(rows: Iterable[ChangeRow]) -> str:
    """The rows as CSV with a header; numbers in full."""
    names = [f.name for f in fields(ChangeRow)]
    return _csv(names, (list(asdict(row).values()) for row in rows))


def statistics_csv(found: PromptSet) -> str:
    """Mean, standard deviation, extremes and norm of each prompt."""
    rows = {key: asdict(numbers) for key, numbers in found.statistics().items()}
    return _csv(["task", *next(iter(rows.values()))], ([key, *numbers.values()] for key, numbers in rows.items()))


def plane_csv(found: PromptSet) -> str:
    """Where each prompt lies in the plane."""
    points = found.plane().points
    return _csv(
        ["task", "across", "up"], ([task.key, *point] for task, point in zip(found.tasks, points.tolist(), strict=True))
    )


def voxels_csv(found: PromptSet) -> str:
    """Every number of each prompt, a line a voxel; z, y, x counted from 0."""
    rows = (
        [task.key, *at, value] for task, prompt in zip(found.tasks, found.array, strict=True) for at, value in _voxels(prompt)
    )
    return _csv(["task", "z", "y", "x", "value"], rows)


def _voxels(prompt: np.ndarray) -> Iterable[tuple[tuple[int, ...], float]]:
    return ((at, float(f"{value:.9g}")) for at, value in np.ndenumerate(prompt))


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()


def save_inspection(folder: Path, found: Inspection) -> list[Path]:
    """Maps as NIfTI, matrices, learned voxels, all numbers as JSON, and the page. All of it or nothing.

    Raises:
        OutputError: the folder cannot be written.
    """
    with staged(folder) as staging:
        (staging / "learned_prompts.csv").write_text(voxels_csv(found.learned), encoding="utf-8")
        found.write(staging, ["learned_prompts.csv"])
        return _moved(folder, staging)


def save_what_if(folder: Path, found: WhatIf) -> list[Path]:
    """Labels before and after, what differs (1 only before, 2 only after, 3 another structure), the change of probability, table and facts.

    All of it or nothing.

    Raises:
        OutputError: the folder cannot be written.
    """
    volume = found.before.volume
    with staged(folder) as staging:
        found.before.save(staging / "before.nii.gz")
        found.after.save(staging / "after.nii.gz")
        write_labels(staging / "difference.nii.gz", found.difference, volume)
        write_map(staging / "probability_change.nii.gz", found.probability_change, volume.affine)
        (staging / "what_if.csv").write_text(changes_csv(change_rows(found)), encoding="utf-8")
        write_sealed_json(staging / "what_if.json", {**found.to_dict(), "note": DISCLAIMER})
        return _moved(folder, staging)


def save_saliency(folder: Path, found: Saliency) -> list[Path]:
    """The map as NIfTI and what it is of. All of it or nothing.

    Raises:
        OutputError: the folder cannot be written.
    """
    facts: Mapping[str, Any] = {"task": found.task.key, "structure": found.structure, "record": found.record.to_dict()}
    with staged(folder) as staging:
        found.save(staging / "sensitivity.nii.gz")
        write_sealed_json(staging / "sensitivity.json", {**facts, "note": DISCLAIMER})
        return _moved(folder, staging)


def _moved(folder: Path, staging: Path) -> list[Path]:
    """Where the staged files will lie."""
    return sorted(folder / path.name for path in staging.iterdir())
