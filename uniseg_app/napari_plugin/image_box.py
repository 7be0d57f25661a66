"""Which image layers are segmented, as channels in their order, and what they do not say themselves."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from uniseg_app.napari_plugin.layers import CHANNEL, NUMBERS, ORIENTATIONS, PLACED, Given, Seen
from uniseg_app.napari_plugin.parts import named_for_all, say, small_button, text

_MOST_CHANNELS = 4
_NO_IMAGE = "Open a scan (File > Open File, or drop it here), or one of File > Open Sample > UniSeg."


class ImageBox(QGroupBox):
    """The choice of images. ``changed``: other layers, or other things said about them."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("Image")
        self._viewer = viewer
        self._chosen: list[Image] = []
        self._by_hand = False
        self._rows = QGridLayout()
        self._facts, self._warnings = text(role="faint"), text(role="warning")
        self._asked, self._spacing, self._letters = _asked_for(self.changed)
        box = QVBoxLayout(self)
        box.addLayout(self._rows)
        for widget in (self._asked, self._letters, self._facts, self._warnings):
            box.addWidget(widget)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._layers_changed)
        viewer.layers.events.renamed.connect(self._redraw)
        self._layers_changed()

    @property
    def layers(self) -> list[Image]:
        """The chosen layers, channel by channel."""
        return list(self._chosen)

    @property
    def given(self) -> Given:
        """What a person says of them. The voxel size counts only where it is asked for, and when all three are given."""
        z, y, x = (box.value() for box in self._spacing)
        size = (z, y, x) if not self._asked.isHidden() and min(z, y, x) > 0 else None
        return Given(size, ORIENTATIONS[self._letters.currentText()] if not self._letters.isHidden() else Given().letters)

    def choose(self, layers: list[Image]) -> None:
        """Take these layers as channels."""
        if layers != self._chosen:
            self._chosen = layers
            for box in self._spacing:
                box.blockSignals(True)
                box.setValue(0)
                box.blockSignals(False)
        self._redraw()
        self.changed.emit()

    def ask_about(self, seen: list[Seen]) -> None:
        """Show the questions that these layers leave open."""
        self._asked.setVisible(any(not one.knows_place and not one.knows_size for one in seen))
        self._letters.setVisible(any(not one.knows_place for one in seen))

    def tell(self, facts: str, warnings: str = "") -> None:
        """What is known of the image."""
        say(self._facts, facts)
        say(self._warnings, warnings)

    def _images(self) -> list[Image]:
        return scans(self._viewer)

    def _layers_changed(self, event: Any = None) -> None:
        """Channels of one file come one by one, so what nobody has chosen by hand is chosen anew with each."""
        here = self._images()
        left = [layer for layer in self._chosen if layer in here]
        self._by_hand = self._by_hand and left == self._chosen
        if self._by_hand:
            self._redraw()
            return
        active = self._viewer.layers.selection.active
        first = left[0] if left else active if active in here else here[-1] if here else None
        wanted = with_siblings(self._viewer, first) if first is not None else []
        self._redraw() if wanted == self._chosen else self.choose(wanted)

    def _redraw(self, event: Any = None) -> None:
        while self._rows.count():
            self._rows.takeAt(0).widget().deleteLater()
        for row, layer in enumerate(self._chosen):
            self._rows.addWidget(QLabel(f"Channel {row + 1}" if len(self._chosen) > 1 else "Layer"), row, 0)
            self._rows.addWidget(self._combo(row, layer), row, 1)
        self._rows.addWidget(self._buttons(), 0, 2)
        self._rows.setColumnStretch(1, 1)
        if not self._chosen:
            only_labels = any(isinstance(layer, Labels) for layer in self._viewer.layers)
            self.tell(
                "", ("There are Labels layers only: they hold answers, not an image. " if only_labels else "") + _NO_IMAGE
            )

    def _combo(self, row: int, layer: Image) -> QWidget:
        combo = QComboBox()
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        images = self._images()
        combo.addItems([image.name for image in images])
        combo.setCurrentIndex(images.index(layer))
        combo.activated.connect(lambda index: self._picked(row, images[index]))
        return named_for_all(combo, f"Image layer of channel {row + 1}")

    def _picked(self, row: int, layer: Image) -> None:
        self._by_hand = True
        several = len(self._chosen) > 1
        self.choose([*self._chosen[:row], layer, *self._chosen[row + 1 :]] if several else with_siblings(self._viewer, layer))

    def _buttons(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(small_button("+", self._add, "One more channel, for tasks on several images"))
        row.addWidget(small_button("−", self._drop, "One channel less"))
        return holder

    def _add(self) -> None:
        free = [layer for layer in self._images() if layer not in self._chosen]
        if free and len(self._chosen) < _MOST_CHANNELS:
            self._by_hand = True
            self.choose([*self._chosen, free[0]])

    def _drop(self) -> None:
        if len(self._chosen) > 1:
            self._by_hand = True
            self.choose(self._chosen[:-1])


def scans(viewer: Any) -> list[Image]:
    """The Image layers, without those that show numbers of ours."""
    return [layer for layer in viewer.layers if isinstance(layer, Image) and NUMBERS not in layer.metadata]


def with_siblings(viewer: Any, layer: Image) -> list[Image]:
    """All channels of the volume that a layer is one of, where they are all there; else the layer alone."""
    whole = layer.metadata.get(PLACED)
    own = [other for other in scans(viewer) if whole is not None and other.metadata.get(PLACED) is whole]
    own.sort(key=lambda one: one.metadata[CHANNEL])
    is_complete = whole is not None and [one.metadata[CHANNEL] for one in own] == list(range(whole.volume.n_channels))
    return own if is_complete else [layer]


def _asked_for(changed: Any) -> tuple[QWidget, list[QDoubleSpinBox], QComboBox]:
    """Fields for a voxel size and an orientation that nobody knows."""
    holder, spacing = QWidget(), []
    grid = QGridLayout(holder)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.addWidget(text("How large is a voxel, in mm?", role="warning"), 0, 0, 1, 3)
    for column, name in enumerate(("between slices", "rows", "columns")):
        box = QDoubleSpinBox()
        box.setRange(0, 100)
        box.setDecimals(3)
        box.setSpecialValueText("?")
        box.setPrefix("")
        box.valueChanged.connect(lambda _: changed.emit())
        spacing.append(named_for_all(box, f"Voxel size {name}, mm"))
        grid.addWidget(text(name, role="faint"), 1, column)
        grid.addWidget(box, 2, column)
    letters = QComboBox()
    letters.addItems(list(ORIENTATIONS))
    letters.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    letters.activated.connect(lambda _: changed.emit())
    named_for_all(letters, "How the image lies", "How the image lies, as it is displayed now")
    holder.hide()
    letters.hide()
    return holder, spacing, letters
