"""What is at work: the notice, the weights with their licence, the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from uniseg_app import wording
from uniseg_app.napari_plugin.parts import say, small_button, text
from uniseg_model import DISCLAIMER


class WeightsBox(QWidget):
    """The head of a panel. ``chosen``: a weights file (Path), or None for those the program finds by itself."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._facts = text("Loading the weights", role="faint")
        self._trouble = text(role="trouble")
        buttons = QHBoxLayout()
        buttons.addWidget(
            small_button("Other weights…", self._ask, "A weights file made by `uniseg weights import` or `uniseg train`")
        )
        buttons.addWidget(small_button("Default", lambda: self.chosen.emit(None), "Those of the settings, or the demo weights"))
        buttons.addStretch()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(text(DISCLAIMER, role="notice"))
        for widget in (self._facts, self._trouble):
            box.addWidget(widget)
        box.addLayout(buttons)

    def wait(self) -> None:
        """Weights are being loaded."""
        say(self._facts, "Loading the weights")
        say(self._trouble, "")

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Which weights under which licence on which device."""
        say(self._facts, "\n".join(wording.weights_and_device(facts)))

    def tell_trouble(self, words: str) -> None:
        """They could not be loaded."""
        say(self._facts, "")
        say(self._trouble, words)

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Weights", "", "Weights (*.safetensors)")
        if path:
            self.chosen.emit(Path(path))
