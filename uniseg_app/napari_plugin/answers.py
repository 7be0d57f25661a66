"""Answers as Labels layers: what a layer must know of its run, and how names and colours are shown.

A layer's voxels are the person's, who may paint in them. What was predicted is kept beside them, packed, so that it can be told
what was changed, and undone. Letters: u, v, w a layer's axes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from uniseg_app.answers import StructureRow, structure_rows
from uniseg_app.napari_plugin.layers import PLACED
from uniseg_app.napari_plugin.world import Placed
from uniseg_model.record import RunRecord
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import Label, Task

ANSWER = "uniseg_answer"  # in a layer's metadata
PROVENANCE = "uniseg"  # there, too: the run record in plain values
STRUCTURE = "structure"  # the column of a layer's features that napari shows in its status bar

_QUICK = 1  # of zlib: label maps shrink a hundredfold even so


@dataclass(frozen=True, eq=False)
class Answer:
    """What was predicted. rows: its structures as they were; predicted: the labels, packed."""

    task: Task
    record: RunRecord
    placed: Placed
    rows: tuple[StructureRow, ...]
    predicted: bytes = field(repr=False)

    @classmethod
    def of(cls, segmentation: Segmentation, placed: Placed) -> Answer:
        """What is kept of one task's answer; takes a moment."""
        packed = zlib.compress(placed.to_layer(segmentation.labels).tobytes(), _QUICK)
        return cls(segmentation.task, segmentation.record, placed, tuple(structure_rows([segmentation])), packed)

    def labels(self) -> np.ndarray:
        """A copy of what was predicted, (u, v, w) uint8."""
        shape = [self.placed.volume.shape[axis] for axis in self.placed.axes.order]
        return np.frombuffer(bytearray(zlib.decompress(self.predicted)), np.uint8).reshape(shape)

    def edited_voxels(self, labels: np.ndarray) -> int:
        """In how many voxels (u, v, w) differ from what was predicted."""
        return int(np.count_nonzero(self.labels() != labels))

    def segmentation(self, labels: np.ndarray) -> Segmentation:
        """Labels (u, v, w), as a person may have changed them, on the image's own grid."""
        stored = self.placed.to_volume(np.asarray(labels)).astype(np.uint8)
        return Segmentation(self.task, stored, self.placed.volume, self.record, edited_voxels=self.edited_voxels(labels))


def answer_of(layer: Any) -> Answer | None:
    """The answer a layer shows; None where it is none of ours."""
    found = layer.metadata.get(ANSWER)
    return found if isinstance(layer, Labels) and isinstance(found, Answer) else None


def metadata_of(answer: Answer) -> dict[str, Any]:
    """What the layer of an answer knows."""
    return {PROVENANCE: {"task": answer.task.key, **answer.record.to_dict()}, ANSWER: answer, PLACED: answer.placed}


def named(structures: Mapping[int, Label]) -> dict[str, Any]:
    """The arguments of a Labels layer that give values their names, for the status bar, and their colours."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"} | {
        value: label.color for value, label in structures.items()
    }
    features = pd.DataFrame({"index": [0, *structures], STRUCTURE: ["", *(label.name for label in structures.values())]})
    return {"colormap": DirectLabelColormap(color_dict=colors), "features": features}


def structures_of_task(task: Task) -> dict[int, Label]:
    """Its structures by their value."""
    return dict(enumerate(task.labels, start=1))


def structures_of(features: Any, colormap: Any) -> dict[int, Label]:
    """The structures that a layer names, in the colours it shows them in now."""
    if STRUCTURE not in features or not isinstance(colormap, DirectLabelColormap):
        return {}
    rows = zip(features["index"], features[STRUCTURE], strict=True)
    return {int(value): Label(str(name), _hex(colormap.color_dict[value])) for value, name in rows if value and value in colormap.color_dict}  # fmt: skip


def color_of(layer: Labels, value: int) -> str:
    """The colour of a structure, ``#RRGGBB``, shown or not."""
    return _hex(layer.colormap.color_dict[value])


def is_shown(layer: Labels, value: int) -> bool:
    """Whether a structure of a layer is not hidden."""
    return bool(layer.colormap.color_dict[value][3] > 0)


def recolor(layer: Labels, value: int, color: str, *, shown: bool = True) -> None:
    """Show a structure in another colour, or hide it, which keeps its colour."""
    alpha = "FF" if shown else "00"
    layer.colormap = DirectLabelColormap(color_dict={**layer.colormap.color_dict, value: f"{color}{alpha}"})


def _hex(color: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02X}" for part in color[:3])
