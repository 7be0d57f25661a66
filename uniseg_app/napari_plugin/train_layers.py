"""Scans of the viewer as cases of a data set: an image and the labels that a person has corrected or painted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QGroupBox, QLineEdit, QVBoxLayout

from uniseg_app.napari_plugin.answers import answer_of, structures_of
from uniseg_app.napari_plugin.image_box import ImageBox
from uniseg_app.napari_plugin.layers import Given, Seen, placed
from uniseg_app.napari_plugin.parts import button, combo_box, named_for_all, say, text
from uniseg_app.own_data import Correction, corrected_folder, corrections_in, make_private_folder, my_data_folder, task_in
from uniseg_app.training_form import TrainingForm, suggested_images, task_of
from uniseg_app.typed import colored, key_of
from uniseg_model.errors import GeometryError, OptionError
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import Label, Task
from uniseg_model.training.corrected import Provenance, add_case
from uniseg_model.volume import Volume

_ABOUT = "Correct an answer with napari's brush, or paint a structure anew, and keep it as a case. The file the scan came from stays as it is."


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and labels of the viewer, as they were when they were asked for. name: of a new data set.

    answer: what the labels were made from, where they are an answer. structures: as the layer names them.
    """

    name: str
    seen: Sequence[Seen]
    given: Given
    labels: np.ndarray = field(repr=False)
    answer: Any = None
    structures: dict[int, Label] = field(default_factory=dict)


@dataclass(frozen=True)
class Added:
    """A case in its data set."""

    folder: Path
    case: str
    provenance: Provenance
    corrections: Sequence[Correction]

    def sentence(self) -> str:
        """What was added, and whether answers get better."""
        changed = f", {self.provenance.n_changed} voxels changed by hand" if self.provenance.weights else ""
        told = f"Added as {self.case} to {self.folder.name}{changed}."
        scores = [f"{one.dice:.2f}" for one in self.corrections if one.dice is not None]
        return f"{told} Dice of the answers with their corrections so far: {', '.join(scores)}." if len(scores) > 1 else told


class LayersBox(QGroupBox):
    """Which layers. ``added``: the button was pressed."""

    added = Signal()

    def __init__(self, viewer: Any, image: ImageBox) -> None:
        super().__init__("Add a scan from the layers")
        self._viewer = viewer
        self.labels, self.name = combo_box("Labels layer"), QLineEdit()
        self.name.setPlaceholderText("My task")
        named_for_all(self.name, "Name of a new data set", "Labels of a known task go to that task's data set")
        self.add = button("Add to my data", self.added.emit, "Write image and labels as a case of your own")
        self._said, self._trouble = text(role="faint"), text(role="trouble")
        form, box = QFormLayout(), QVBoxLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Labels", self.labels)
        form.addRow("Data set", self.name)
        for widget in (text(_ABOUT, role="faint"), image):
            box.addWidget(widget)
        box.addLayout(form)
        for widget in (self.add, self._said, self._trouble):
            box.addWidget(widget)
        self._form = form
        self.labels.activated.connect(lambda _: self._redraw())
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(lambda _: self._offer())
        self._offer()

    @property
    def layer(self) -> Labels | None:
        """The chosen one."""
        return self.labels.currentData()

    def tell(self, what: str) -> None:
        """How it went."""
        say(self._said, what)
        say(self._trouble, "")

    def tell_trouble(self, what: str) -> None:
        """What is wrong, and the way out."""
        say(self._said, "")
        say(self._trouble, what)

    def _offer(self) -> None:
        here = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Labels)]
        chosen = self.layer
        self.labels.clear()
        for layer in here:
            self.labels.addItem(layer.name, layer)
        if chosen in here:
            self.labels.setCurrentIndex(here.index(chosen))
        self._redraw()

    def _redraw(self) -> None:
        self.add.setEnabled(self.layer is not None)
        self._form.setRowVisible(self.name, self.layer is not None and answer_of(self.layer) is None)

    def pair(self, seen: Sequence[Seen], given: Given) -> Pair:
        """What is chosen now.

        Raises:
            OptionError: no Labels layer.
        """
        layer = self.layer
        if layer is None:
            raise OptionError(
                "there are no labels to add", hint="Segment the scan and correct the answer, or paint in a new Labels layer."
            )
        structures = structures_of(layer.features, layer.colormap)
        return Pair(self.name.text().strip(), seen, given, np.array(layer.data), answer_of(layer), structures)


def add_pair(pair: Pair, known_tasks: Iterable[Task] = ()) -> Added:
    """Write a pair as a case of my data; for a job. known_tasks: of the weights, for how such images are best looked at.

    Raises:
        UniSegError: of the kind that fits what is wrong with image, labels or data set.
    """
    answer = pair.answer
    one = answer.placed if answer else placed(pair.seen, pair.given)
    if pair.labels.shape != tuple(one.volume.shape[axis] for axis in one.axes.order):
        raise GeometryError(f"the labels have {pair.labels.shape} voxels, the image {one.volume.shape}",
                            hint="Choose the image that the labels were painted on.")  # fmt: skip
    labels = one.to_volume(pair.labels)
    if not labels.any():
        raise OptionError(
            "the labels are empty: nothing is painted in them", hint="Paint the structure, or choose another layer."
        )
    task = answer.task if answer else _task_of(pair, one.volume, labels, known_tasks)
    make_private_folder(my_data_folder())
    folder = corrected_folder(task.key) if answer else my_data_folder() / task.key
    predicted = Segmentation(task, one.to_volume(answer.labels()), one.volume, answer.record) if answer else None
    case, provenance = add_case(folder, one.volume, labels, task, predicted)
    return Added(folder, case, provenance, corrections_in(folder))


def _task_of(pair: Pair, volume: Volume, labels: np.ndarray, known_tasks: Iterable[Task]) -> Task:
    """The task of labels that are no answer: that of their data set, else a new one of what the layer names."""
    if not pair.name:
        raise OptionError("the data set has no name", hint="Name it after what is painted, such as Gall bladder.")
    known = task_in(my_data_folder() / key_of(pair.name))
    if known:
        return known
    names = [
        pair.structures.get(value, Label(f"structure {value}", "#000000")).name for value in range(1, int(labels.max()) + 1)
    ]
    modalities, spacing, axes = suggested_images([volume], known_tasks)
    return task_of(TrainingForm(my_data_folder(), pair.name, colored(names), modalities, spacing, axes=axes))
