"""How a task is learned: how deep, how long, and what that takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFormLayout, QGroupBox, QHBoxLayout, QPlainTextEdit, QVBoxLayout
from superqt import QCollapsible

from uniseg_app import training_words as words
from uniseg_app.napari_plugin.parts import button, combo_box, named_for_all, say, text
from uniseg_app.training_form import DEPTHS

_SETTINGS_PX = 60


class HowBox(QGroupBox):
    """Depth, minutes, price. ``changed``: what is wanted is something else. ``tried``, ``started``: the buttons were pressed."""

    changed = Signal()
    tried = Signal()
    started = Signal()

    def __init__(self) -> None:
        super().__init__("3  How")
        self.depth, self.minutes = combo_box("Depth"), QDoubleSpinBox()
        for depth in DEPTHS:
            self.depth.addItem(words.DEPTH_TITLES[depth], depth)
        self.minutes.setRange(0.1, 100_000)
        self.minutes.setDecimals(1)
        self.minutes.setValue(10)
        self.go_on = QCheckBox("Go on from the installed pack")
        self.go_on.setToolTip("Start from what the pack of this task has learned, instead of from an old task")
        self.settings = QPlainTextEdit()
        self.settings.setPlaceholderText("rate = 0.002")
        self.settings.setFixedHeight(_SETTINGS_PX)
        named_for_all(self.settings, "Settings of the plan", "Of the plan, one a line, such as rate = 0.002")
        self._pack: Path | None = None
        self._about, self._price, self._said, self._trouble = text(), text(), text(role="faint"), text(role="trouble")
        self.try_steps = button("Try two steps", self.tried.emit, "Two real steps on the first two cases, and a validation")
        self.start = button("Start training", self.started.emit, "It goes on by itself, also when this window is closed")
        self.start.setProperty("role", "primary")
        self._lay_out()
        self.depth.currentIndexChanged.connect(lambda _: self._deeper())
        self.minutes.valueChanged.connect(lambda _: self.changed.emit())
        self.settings.textChanged.connect(self.changed.emit)
        self._deeper()

    def _lay_out(self) -> None:
        form, buttons, box = QFormLayout(), QHBoxLayout(), QVBoxLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Depth", self.depth)
        form.addRow("Minutes", named_for_all(self.minutes, "Minutes of training"))
        buttons.addWidget(self.try_steps, 1)
        buttons.addWidget(self.start, 2)
        box.addLayout(form)
        more = QCollapsible("More settings")
        more.addWidget(self.settings)
        for widget in (self._about, self.go_on, more, self._price):
            box.addWidget(widget)
        box.addLayout(buttons)
        for widget in (self._said, self._trouble):
            box.addWidget(widget)

    @property
    def pack(self) -> Path | None:
        """The pack to go on from; None for a fresh start."""
        return self._pack if self.depth.currentData() == "pack" and self.go_on.isChecked() else None

    def choose_depth(self, depth: str) -> None:
        """Suggest this one."""
        self.depth.setCurrentIndex(self.depth.findData(depth))

    def offer_pack(self, pack: Path | None) -> None:
        """There is one of the same task, or none."""
        if pack != self._pack:
            self.go_on.setChecked(pack is not None)
        self._pack = pack
        self.go_on.setVisible(pack is not None and self.depth.currentData() == "pack")

    def tell_price(self, price: Mapping[str, Any] | None, note: str = "") -> None:
        """What it takes; nothing is known where None."""
        lines = [f"{name}: {value}" for name, value in words.price_rows(price)] if price else []
        say(self._price, "\n".join(filter(None, [note, *lines])))

    def say(self, what: str) -> None:
        """How something went."""
        say(self._said, what)
        say(self._trouble, "")

    def tell_trouble(self, what: str) -> None:
        """What is wrong, and the way out."""
        say(self._said, "")
        say(self._trouble, what)

    def _deeper(self) -> None:
        say(self._about, words.DEPTH_ABOUT[self.depth.currentData()])
        self.offer_pack(self._pack)
        self.changed.emit()
