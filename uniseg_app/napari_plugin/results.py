"""What runs leave in the viewer: a Labels layer for each task, which grows while it is computed.

A layer that nobody has edited is filled anew by the next run of its task on its image, when that has ended; an edited one stays,
and the run makes another version. Any run can be undone. Layers are remembered as such, never found by their names, and a person
may remove them at any time.

napari takes 0.15 to 0.4 s to add or to remove a layer, and the window stands still meanwhile. So no more than one is added in a
turn of the event loop, and a layer that has grown becomes the answer's instead of making room for it.

Letters: u, v, w a layer's axes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from uniseg_app.napari_plugin.answers import Answer, answer_of, metadata_of, named, structures_of_task
from uniseg_app.napari_plugin.world import Placed
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import Task


@dataclass(frozen=True)
class Ready:
    """An answer, ready to be shown. replaces: the layer of an earlier one that nobody has edited."""

    answer: Answer
    labels: np.ndarray = field(repr=False)
    replaces: Labels | None = None


@dataclass(frozen=True)
class _Change:
    """What a run did to a layer. before: what it showed then; None for a new one."""

    layer: Labels
    before: Answer | None


@dataclass(frozen=True)
class Standing:
    """An answer's layer as it was when a run began or ended. labels: (u, v, w)."""

    layer: Labels
    answer: Answer
    labels: np.ndarray = field(repr=False)


@dataclass
class Growing:
    """The labels of a run so far, handed from its thread to the window's.

    display: scale, place and units of the layers to come, taken from the image's. name: of the image. standing: answers there are.
    """

    placed: Placed
    display: Mapping[str, Any]
    name: str
    standing: Sequence[Standing] = ()
    layers: dict[str, Labels] = field(default_factory=dict)
    _found: dict[str, np.ndarray] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def answered(self) -> frozenset[str]:
        """Tasks whose answer on this image can be filled anew in the end; they do not grow in a layer of their own."""
        own = self.placed.volume.fingerprint
        return frozenset(
            one.answer.task.key for one in self.standing
            if one.answer.placed.volume.fingerprint == own and not one.answer.edited_voxels(one.labels)
        )  # fmt: skip

    def look(self, labels: Mapping[str, np.ndarray]) -> None:
        """Take labels (Z, Y, X) by task key, in any thread."""
        turned = {
            key: np.ascontiguousarray(self.placed.to_layer(found)) for key, found in labels.items() if key not in self.answered
        }
        with self._lock:
            self._found.update(turned)

    def fresh(self) -> dict[str, np.ndarray]:
        """What has come since the last call, (u, v, w) by task key; of tasks that have no layer yet only one, the others wait."""
        with self._lock:
            new = [key for key in self._found if key not in self.layers]
            now = [key for key in self._found if key not in new[1:]]
            return {key: self._found.pop(key) for key in now}


class Results(QObject):
    """The answers in a viewer. ``changed``: other layers, or other voxels by a run or its undoing."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._runs: list[list[_Change]] = []

    def layers(self) -> list[Labels]:
        """The layers with answers, the topmost first."""
        return [layer for layer in reversed(self._viewer.layers) if answer_of(layer)]

    def standing(self) -> list[Standing]:
        """The same, with what they hold now."""
        return [Standing(layer, answer, layer.data) for layer in self.layers() if (answer := answer_of(layer))]

    def grow(self, growing: Growing, tasks: Mapping[str, Task]) -> None:
        """Show what has come."""
        for key, labels in growing.fresh().items():
            if key not in growing.layers:
                name = f"{tasks[key].title} (in progress)"
                growing.layers[key] = self._added(labels, growing, name, structures=tasks[key], metadata={})
            elif growing.layers[key] in self._viewer.layers:
                growing.layers[key].data = labels

    def abandon(self, growing: Growing) -> None:
        """Remove what has grown: the run did not end well."""
        for layer in growing.layers.values():
            self._remove(layer)
        growing.layers.clear()

    def finish(self, growing: Growing, ready: Sequence[Ready], then: Callable[[], None]) -> None:
        """Show the answers for good, one in a turn, and call ``then``. The run can be undone from now on."""
        changes: list[_Change] = []
        left = list(ready)

        def show_one() -> None:
            if left:
                changes.append(self._show(growing, left.pop(0)))
                QTimer.singleShot(0, show_one)
                return
            self.abandon(growing)
            self._runs.append(changes)
            self.changed.emit()
            then()

        show_one()

    @property
    def can_undo(self) -> bool:
        """Whether there is a run to undo."""
        return bool(self._runs)

    def undo(self) -> list[str]:
        """Take the last run back; the names of layers that were edited since, and are left as they are."""
        kept = []
        for change in self._runs.pop():
            answer = answer_of(change.layer)
            if change.layer not in self._viewer.layers or answer is None:
                continue
            if answer.edited_voxels(change.layer.data):
                kept.append(change.layer.name)
            elif change.before is None:
                self._remove(change.layer)
            else:
                _fill(change.layer, change.before, change.before.labels())
        self.changed.emit()
        return kept

    def _show(self, growing: Growing, ready: Ready) -> _Change:
        answer = ready.answer
        if ready.replaces is not None and ready.replaces in self._viewer.layers:
            before = answer_of(ready.replaces)
            _fill(ready.replaces, answer, ready.labels)
            return _Change(ready.replaces, before)
        name = self._free_name(f"{answer.task.title}: {growing.name}")
        grown = growing.layers.pop(answer.task.key, None)
        if grown is None or grown not in self._viewer.layers:
            return _Change(self._added(ready.labels, growing, name, structures=answer.task, metadata=metadata_of(answer)), None)
        _fill(grown, answer, ready.labels)
        grown.name = name
        return _Change(grown, None)

    def _added(self, labels: np.ndarray, growing: Growing, name: str, *, structures: Task, metadata: dict[str, Any]) -> Labels:
        look = named(structures_of_task(structures))
        layer = Labels(labels, name=name, metadata=metadata, **growing.display, **look)
        with kept_selection(self._viewer):
            self._viewer.add_layer(layer)
        return layer

    def _remove(self, layer: Labels) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _free_name(self, name: str) -> str:
        taken = {layer.name for layer in self._viewer.layers}
        versions = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 3))]
        return next(version for version in versions if version not in taken)


def made_ready(segmentations: Sequence[Segmentation], placed: Placed, standing: Sequence[Standing]) -> list[Ready]:
    """The answers of a run, and which of those that stand they may replace; for a job, as it takes a moment."""
    ready = []
    for segmentation in segmentations:
        answer = Answer.of(segmentation, placed)
        ready.append(Ready(answer, answer.labels(), _unedited(answer, standing)))
    return ready


@contextmanager
def kept_selection(viewer: Any) -> Iterator[None]:
    """Layers may be added, and the one that a person works on stays chosen: a new one must not take the brush."""
    active = viewer.layers.selection.active
    yield
    viewer.layers.selection.active = active


def display_like(layer: Layer) -> dict[str, Any]:
    """Where a layer stands, for another one on its grid."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def _unedited(answer: Answer, standing: Sequence[Standing]) -> Labels | None:
    """The layer that shows the same task on the same image as it was predicted."""
    place = answer.placed.volume.fingerprint
    for one in standing:
        is_same = one.answer.task.key == answer.task.key and one.answer.placed.volume.fingerprint == place
        if is_same and not one.answer.edited_voxels(one.labels):
            return one.layer
    return None


def _fill(layer: Labels, answer: Answer, labels: np.ndarray) -> None:
    layer.metadata = {**layer.metadata, **metadata_of(answer)}
    layer.data = labels
