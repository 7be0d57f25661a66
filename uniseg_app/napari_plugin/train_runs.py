"""Trainings as they stand: state, curves, preview, and what may be done with them; one beside another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QGroupBox, QLineEdit, QProgressBar, QVBoxLayout

from uniseg_app import run_watch as watch
from uniseg_app import training_words as words
from uniseg_app.napari_plugin.parts import button, combo_box, named_for_all, say, text
from uniseg_app.napari_plugin.prompt_charts import key as color_key
from uniseg_app.napari_plugin.train_charts import DICE, LOSS, OTHER, CurveView, PreviewView
from uniseg_app.preview_pictures import preview_pictures, preview_sentence
from uniseg_app.training_runs import RunInfo, TrainingRuns
from uniseg_model.errors import FileFormatError

_SIDE_PX, _STEPS = 84, 1000
_EMPTY = "No training yet."
_VERBS = {
    watch.PAUSE: ("Pause", "End after this step; all that is needed to go on is kept"),
    watch.STOP: ("Stop, keep the best", "End it, and judge the best it has found so far"),
    watch.RESUME: ("Resume", "Go on from the last checkpoint"),
    watch.INSTALL: ("Install", "Take the result into use: its task is in the Segment panel's list then"),
    watch.RETIRE: ("Remove the task", "Take its pack out of use; the run still has it"),
    watch.REMOVE: ("Delete the run", "Delete all that the run has written; an installed pack stays"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """All runs, and the one that is watched, read from their folders. pictures: RGB by name. other: the one beside it."""

    infos: Sequence[RunInfo] = ()
    info: RunInfo | None = None
    price: str = ""
    curve: words.Curve = field(default_factory=words.Curve)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: str = ""
    actions: frozenset[str] = frozenset()
    other: words.Curve | None = None
    differs: Sequence[tuple[str, str, str]] = ()

    @classmethod
    def of(cls, runs: TrainingRuns, id: str, other: str) -> Seen:
        """Takes a moment, for a job."""
        infos = runs.history()
        info = watch.watched(infos, id)
        if info is None:
            return cls(infos)
        price, pictures, said = runs.price(info.id), {}, ""
        with suppress(FileFormatError):  # the next one is whole
            preview = runs.preview(info.id)
            if preview:
                pictures = preview_pictures(preview, watch.task_of_run(runs, info.id), _SIDE_PX)
                said = preview_sentence(preview)
        beside = other if any(one.id == other for one in infos) and other != info.id else ""
        return cls(
            infos, info, words.price_tag(price) if price else "", words.curve_points(runs.curve(info.id)), pictures, said, watch.actions(info),
            words.curve_points(runs.curve(beside)) if beside else None,
            words.difference_rows(runs.compare(info.id, beside)) if beside else (),
        )  # fmt: skip


class RunsBox(QGroupBox):
    """The runs. ``picked``: another is to be watched or compared. ``wished``: an action of ``run_watch``. ``noted``: a note."""

    picked = Signal()
    wished = Signal(str)
    noted = Signal(str)

    def __init__(self) -> None:
        super().__init__("Trainings")
        self.runs, self.beside, self.note = combo_box("Training"), combo_box("Compare with"), QLineEdit()
        self.note.setPlaceholderText("Note")
        named_for_all(self.note, "Note", "Kept with the run")
        self.note.editingFinished.connect(lambda: self.noted.emit(self.note.text()))
        self._state, self._price, self._trouble, self._differs = (
            text(_EMPTY),
            text(role="faint"),
            text(role="trouble"),
            text(role="faint"),
        )
        self._bar = QProgressBar()
        self._bar.setRange(0, _STEPS)
        self._bar.setTextVisible(False)
        named_for_all(self._bar, "Progress of the training")
        self.curves, self.preview = CurveView(), PreviewView()
        self._legend = color_key({"Dice of the validation": DICE, "Loss": LOSS})
        self._legend_beside = color_key({"Dice of the other run": OTHER})
        self.buttons = {verb: button(name, partial(self.wished.emit, verb), tip) for verb, (name, tip) in _VERBS.items()}
        for one in self.buttons.values():
            one.setParent(self)
        for combo in (self.runs, self.beside):
            combo.activated.connect(lambda _: self.picked.emit())
        self._lay_out()
        self.show_seen(Seen())

    def _lay_out(self) -> None:
        box, self._grid, form = QVBoxLayout(self), QGridLayout(), QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Compare with", self.beside)
        self._form = form
        for widget in (self.runs, self._state, self._bar, self._price, self._trouble):
            box.addWidget(widget)
        box.addLayout(self._grid)
        for widget in (self._legend, self._legend_beside, self.curves, self.preview, self.note):
            box.addWidget(widget)
        box.addLayout(form)
        box.addWidget(self._differs)

    @property
    def id(self) -> str:
        """Of the run that is watched; empty: the newest."""
        return self.runs.currentData() or ""

    @property
    def other(self) -> str:
        """Of the run beside it; empty: none."""
        return self.beside.currentData() or ""

    @property
    def is_active(self) -> bool:
        """Whether the run that is watched goes on."""
        return self._is_active

    def show_seen(self, seen: Seen) -> None:
        """How it stands now."""
        info = seen.info
        self._is_active = info is not None and info.is_active
        _offer(self.runs, seen.infos, info.id if info else "")
        others = [one for one in seen.infos if info and one.id != info.id]
        _offer(self.beside, others, self.other, "nothing")
        titles = {one.id: one.title for one in seen.infos}
        say(self._state, words.state_sentence(info, titles) + (f" {info.hint}" if info.hint else "") if info else _EMPTY)
        say(self._price, f"It was said to take {seen.price}." if seen.price else "")
        share = words.share(info) if info else None
        self._bar.setVisible(share is not None)
        self._bar.setValue(round(_STEPS * (share or 0)))
        self._show_results(seen, bool(others))

    def _show_results(self, seen: Seen, has_others: bool) -> None:
        info = seen.info
        self._offer_buttons(seen.actions)
        has_curve = bool(seen.curve.dice or seen.curve.loss)
        for widget in (self.curves, self._legend):
            widget.setVisible(has_curve)
        self._legend_beside.setVisible(seen.other is not None)
        self.curves.show_curves(seen.curve, seen.other)
        self.preview.show_pictures(seen.pictures, seen.said)
        self.runs.setVisible(bool(seen.infos))
        self.note.setVisible(info is not None)
        if info and not self.note.hasFocus():
            self.note.setText(info.note)
        self._form.setRowVisible(self.beside, has_others)
        say(self._differs, "\n".join(f"{name}: {first} / {second}" for name, first, second in seen.differs))

    def _offer_buttons(self, actions: frozenset[str]) -> None:
        """Those that are of use, two in a row."""
        for one in self.buttons.values():
            self._grid.removeWidget(one)
        of_use = [one for verb, one in self.buttons.items() if verb in actions]
        for number, one in enumerate(of_use):
            self._grid.addWidget(one, number // 2, number % 2)
        for one in self.buttons.values():
            one.setVisible(one in of_use)

    def tell_trouble(self, what: str) -> None:
        """What went wrong, and the way out; empty: nothing."""
        say(self._trouble, what)


def _offer(combo: QComboBox, infos: Sequence[RunInfo], id: str, none: str = "") -> None:
    """Show these runs, unless they are shown already: a list that is open must not be pulled away."""
    entries = ([(none, "")] if none else []) + [(words.run_title(info), info.id) for info in infos]
    if entries != [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count())]:
        combo.clear()
        for title, one in entries:
            combo.addItem(title, one)
    combo.setCurrentIndex(max(0, combo.findData(id)))
