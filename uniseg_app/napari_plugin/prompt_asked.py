"""What is asked of prompts: which view, which tasks, what the decoder is told instead, and where in the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from uniseg_app.backend import Choice
from uniseg_app.napari_plugin.parts import combo_box, named_for_all, slider
from uniseg_app.napari_plugin.task_box import TaskBox
from uniseg_app.prompt_jobs import Elsewhere, box_around
from uniseg_app.prompt_words import (
    BLEND,
    CHANGE,
    CHANGES,
    CONTACT_SHEET,
    FOREIGN,
    IMAGE,
    SENSITIVITY_OF,
    SHUFFLE,
    SWAP,
    VIEWS,
    ZERO,
    other_title,
)
from uniseg_model.errors import OptionError
from uniseg_model.prompts.changes import Blend, Change, Own, Shuffle, Swap, Zero
from uniseg_model.regions import WHOLE, OneWindow, Region
from uniseg_model.volume import Triple, Volume

WINDOW, BOX, EVERYWHERE = "One window (quick)", "A box", "The whole image"
BEST, HERE = "Where each structure is largest", "The slice that is shown"
_SHARES = 20  # steps of the slider


class AskedBox(QWidget):
    """The controls. ``viewed``: another view. ``changed``: something else is asked for."""

    viewed = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.view = combo_box("What to look at", VIEWS)
        self.tasks = TaskBox("Whose prompts")
        self.task, self.change, self.other = (
            combo_box("Task"),
            combo_box("Its decoder is told", CHANGES),
            combo_box("The other task"),
        )
        self.share, self.seed, self.foreign = (
            slider("Share of the other prompt", _SHARES),
            QSpinBox(),
            combo_box("The other image"),
        )
        self.structure, self.region = combo_box("Structure"), combo_box("Where", (WINDOW, BOX, EVERYWHERE))
        self.side_mm, self.slice = QSpinBox(), combo_box("Slices", (BEST, HERE))
        self.side_mm.setRange(5, 500)
        self.side_mm.setValue(60)
        self.side_mm.setSuffix(" mm")
        self.region.setToolTip("A window or a box around the middle of the view, on the slice that is shown")
        named_for_all(self.seed, "Seed of the shuffle")
        named_for_all(self.side_mm, "Side of the box")
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.view)
        box.addWidget(self.tasks)
        box.addLayout(self._form)
        for widget in self._rows():
            self._form.addRow(QLabel(widget.accessibleName()), widget)
        self.view.currentIndexChanged.connect(lambda _: self.viewed.emit())
        self.change.currentIndexChanged.connect(lambda _: self._lay_out())
        self.region.currentIndexChanged.connect(lambda _: self._lay_out())
        self.viewed.connect(self._lay_out)
        self.share.sliderReleased.connect(self.changed.emit)
        self._lay_out()

    def _rows(self) -> Sequence[QWidget]:
        return (self.task, self.change, self.other, self.share, self.seed, self.foreign, self.structure, self.region,
                self.side_mm, self.slice)  # fmt: skip

    def offer(self, choices: Sequence[Choice]) -> None:
        """The tasks for another image. A task that does not fit its channels may lend its prompt, but cannot be asked for."""
        self.tasks.show_choices(choices)
        if not self.tasks.keys:
            self.tasks.tick({choice.task.key for choice in choices if choice.suits})
        fitting = sorted((choice for choice in choices if not choice.refused), key=lambda choice: not choice.suits)
        others = sorted(choices, key=lambda choice: not choice.suits)
        _fill(self.task, {choice.task.title: choice.task.key for choice in fitting})
        _fill(self.other, {other_title(choice): choice.task.key for choice in others}, first=1)
        structures = {
            f"{choice.task.title}: {label.name}": (choice.task.key, label.name)
            for choice in fitting for label in choice.task.labels
        }  # fmt: skip
        _fill(self.structure, structures)

    def offer_images(self, images: Mapping[str, Any]) -> None:
        """Other images whose prompts may be taken."""
        _fill(self.foreign, images)

    @property
    def keys(self) -> list[str]:
        """The ticked tasks.

        Raises:
            OptionError: none is.
        """
        if not self.tasks.keys:
            raise OptionError("no task is ticked", hint="Tick at least one under “Whose prompts”.")
        return self.tasks.keys

    def told(self, foreign: Elsewhere | None) -> Change | Elsewhere:
        """What the decoder is told. foreign: the other image, where its prompt is asked for.

        Raises:
            OptionError: there is no other image.
        """
        change = self.change.currentText()
        if change == FOREIGN:
            if foreign is None:
                raise OptionError("no other image is chosen", hint="Open a second scan, or take another change.")
            return foreign
        other, share = self.other.currentData(), self.share.value() / _SHARES
        changes: Mapping[str, Callable[[], Change]] = {
            SWAP: lambda: Swap(other), BLEND: lambda: Blend(other, share), ZERO: Zero, SHUFFLE: lambda: Shuffle(self.seed.value()),
        }  # fmt: skip
        return changes.get(change, Own)()

    def where(self, volume: Volume, voxel: Triple) -> Region:
        """The region. voxel: Z, Y, X in the middle of the view."""
        if self.region.currentText() == EVERYWHERE:
            return WHOLE
        return box_around(volume, voxel, self.side_mm.value()) if self.region.currentText() == BOX else OneWindow(voxel)

    def _lay_out(self) -> None:
        """Show what is of use."""
        view, change = self.view.currentText(), self.change.currentText()
        is_change, is_local = view == CHANGE, view in (CHANGE, SENSITIVITY_OF)
        self.tasks.setVisible(view in (IMAGE, CONTACT_SHEET))
        shown = {
            self.task: is_change, self.change: is_change, self.other: is_change and change in (SWAP, BLEND),
            self.share: is_change and change == BLEND, self.seed: is_change and change == SHUFFLE,
            self.foreign: is_change and change == FOREIGN, self.structure: view == SENSITIVITY_OF, self.region: is_local,
            self.side_mm: is_local and self.region.currentText() == BOX, self.slice: view == CONTACT_SHEET,
        }  # fmt: skip
        for widget, is_shown in shown.items():
            self._form.setRowVisible(widget, is_shown)


def _fill(combo: QComboBox, entries: Mapping[str, Any], first: int = 0) -> None:
    """Other entries; what was chosen stays, where it is still among them."""
    chosen = combo.currentText()
    combo.clear()
    for title, value in entries.items():
        combo.addItem(title, value)
    at = combo.findText(chosen)
    combo.setCurrentIndex(at if at >= 0 else min(first, combo.count() - 1))
