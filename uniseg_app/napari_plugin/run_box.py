"""Start, stop, and how far it is."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from uniseg_app import wording
from uniseg_app.jobs import Job
from uniseg_app.napari_plugin.parts import button, named_for_all, say, text

_STEPS = 1000  # of the bar


class RunBox(QWidget):
    """The buttons and the bar. ``started``, ``cancelled``: they were pressed. words, tip, key: of the button that starts."""

    started = Signal()
    cancelled = Signal()

    def __init__(self, words: str, tip: str, key: str = "") -> None:
        super().__init__()
        self._cost, self._words = text(role="faint"), text()
        self._trouble, self._hint = text(role="trouble"), text(role="hint")
        self.start = button(words, self.started.emit, f"{tip} ({key})" if key else tip)
        self.start.setProperty("role", "primary")
        self.start.setShortcut(QKeySequence(key))
        self.cancel = button("Cancel", self.cancelled.emit, "Stop; what was there before stays")
        self._bar = QProgressBar()
        self._bar.setRange(0, _STEPS)
        self._bar.setTextVisible(False)
        named_for_all(self._bar, "Progress")
        buttons = QHBoxLayout()
        buttons.addWidget(self.start, 2)
        buttons.addWidget(self.cancel, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self._cost)
        box.addLayout(buttons)
        for widget in (self._bar, self._words, self._trouble, self._hint):
            box.addWidget(widget)
        self.rest()

    def tell_cost(self, words: str) -> None:
        """What a run will take."""
        say(self._cost, words)

    def run(self) -> None:
        """A run has begun."""
        self.tell_trouble("", "")
        self.cancel.setEnabled(True)
        self._bar.setValue(0)
        self._bar.show()

    def show_progress(self, job: Job[Any]) -> None:
        """How far it is. A bar that only runs to and fro would cost the cores that it waits for: it stands still instead."""
        share, words = wording.progress(job)
        self._bar.setValue(round(_STEPS * (share or 0.0)))
        say(self._words, words)

    def write(self, words: str) -> None:
        """It is too late to cancel."""
        self.cancel.setEnabled(False)
        say(self._words, words)

    def rest(self, words: str = "") -> None:
        """Nothing goes on."""
        self._bar.hide()
        self.cancel.setEnabled(False)
        say(self._words, words)

    def tell_trouble(self, message: str, hint: str) -> None:
        """An error, and the way out."""
        say(self._trouble, message)
        say(self._hint, hint)
