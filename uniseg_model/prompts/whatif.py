"""What changes if: one task with its own prompt and with another, on the same encoding of each window.

Both answers come from one call of the engine a batch, so nothing but the prompt differs between them.

Letters: K classes; Z, Y, X the image, z, y, x the prepared grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from uniseg_model.preprocess import Prepared, best_class
from uniseg_model.prompts.changes import Change, Own
from uniseg_model.regions import Region, Scope
from uniseg_model.segmentation import Segmentation, agreement
from uniseg_model.tensors import in_memory
from uniseg_model.windows import Slices, overlap, seen_from

if TYPE_CHECKING:
    from uniseg_model.run import Run

SAME, ONLY_BEFORE, ONLY_AFTER, OTHER = range(4)  # values of a difference map


@dataclass(frozen=True, eq=False)
class WhatIf:
    """One task before and after a change of its prompt.

    before, after: labels on the image's grid, 0 outside ``valid``; volumes are of what lies inside. valid: the voxels Z, Y, X for
        which they hold, see :mod:`uniseg_model.regions`; outside nothing is claimed.
    probability_change: (Z, Y, X) float32, the probability that a voxel is of any structure, after minus before; 0 outside.
    mean_change: by structure, the mean over ``valid`` of its probability after minus before.
    """

    change: Change
    before: Segmentation
    after: Segmentation
    valid: Slices
    probability_change: np.ndarray = field(repr=False)
    mean_change: dict[str, float]

    @property
    def difference(self) -> np.ndarray:
        """(Z, Y, X) uint8: 0 the same, 1 a structure only before, 2 only after, 3 another structure."""
        before, after = self.before.labels, self.after.labels
        found = np.where(before == 0, np.uint8(ONLY_AFTER), np.where(after == 0, np.uint8(ONLY_BEFORE), np.uint8(OTHER)))
        return np.asarray(np.where(before == after, np.uint8(SAME), found))

    def dice(self) -> dict[str, float]:
        """Dice of each structure between before and after; NaN where neither found it."""
        return agreement(self.before, self.after)

    def volume_change_ml(self) -> dict[str, float]:
        """By structure, the volume after minus before."""
        before, after = self.before.volumes_ml(), self.after.volumes_ml()
        return {name: after[name] - before[name] for name in before}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return {
            "task": self.before.task.key,
            "change": self.change.to_dict(),
            "valid_zyx": [[side.start, side.stop] for side in self.valid],
            "dice": {name: None if np.isnan(value) else value for name, value in self.dice().items()},
            "volume_change_ml": self.volume_change_ml(),
            "mean_change": dict(self.mean_change),
            "voxels": {name: int(np.count_nonzero(self.difference == value)) for name, value in _NAMES.items()},
            "record": self.after.record.to_dict(),
        }


_NAMES = {"only before": ONLY_BEFORE, "only after": ONLY_AFTER, "another structure": OTHER}


def make_what_if(run: Run, change: Change, region: Region) -> WhatIf:
    """Both answers of the run's one task.

    Raises:
        TaskError: the change names a task that the weights do not know. OptionError: the region or the change does not fit.
        OutOfMemoryError: even the smallest plan does not fit. Cancelled: the hook wanted it so.
    """
    from uniseg_model.engines.rules import Read

    [task], place = run.tasks, run.checkpoint.place
    known = run.session.tasks
    shape = run.checkpoint.config.prompt_shape
    rules = [Read(c.rule(place(task), lambda key: place(known[key]), shape), place(task)) for c in (Own(), change)]
    prepared = run.prepared(run.recipe(task))
    scope = region.scope(prepared, run.layout(prepared), run.session.volume.shape)
    both = [in_memory(one) for one in run.answers(prepared, run.sweep_of(rules, [task.n_classes] * 2, scope.layout))]
    with run.clock("restore"):
        labels, probability_change, mean_change = _compared(prepared, both, scope)
    records = [run.record(**c.to_dict(), **region.to_dict()) for c in (Own(), change)]
    before, after = (Segmentation(task, own, run.session.volume, record) for own, record in zip(labels, records, strict=True))
    names = [label.name for label in task.labels]
    return WhatIf(change, before, after, scope.valid, probability_change, dict(zip(names, mean_change, strict=True)))


def _compared(prepared: Prepared, both: list[np.ndarray], scope: Scope) -> tuple[list[np.ndarray], np.ndarray, list[float]]:
    """On the image's grid: the labels before and after, the change of the foreground's probability, the mean change of each class."""
    valid = prepared.axes.turn(scope.valid, prepared.full_shape)
    labels = [np.zeros(prepared.full_shape, np.uint8) for _ in both]
    change, total = np.zeros(prepared.full_shape, np.float32), np.zeros(len(both[0]) - 1)
    before, after = both
    for (place, old), (_, new) in zip(prepared.slabs(before, valid), prepared.slabs(after, valid), strict=True):
        inside = overlap(place, valid)
        cut = (slice(None), *seen_from(place, inside))
        old, new = old[cut], new[cut]
        for kept, values in zip(labels, (old, new), strict=True):
            kept[inside] = best_class(values)
        step = new[1:] - old[1:]
        change[inside] = step.sum(axis=0)
        total += step.sum(axis=(1, 2, 3), dtype=np.float64)
    n_valid = max(1, int(np.prod([side.stop - side.start for side in valid])))
    return [prepared.axes.undo(kept) for kept in labels], prepared.axes.undo(change), [float(t / n_valid) for t in total]
