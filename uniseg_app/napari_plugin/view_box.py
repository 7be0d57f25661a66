"""How to look: planes, grey values, surfaces in 3D, two answers side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget
from superqt import QCollapsible

from uniseg_app.grey import Window
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.compare import SideBySide, fade, titles
from uniseg_app.napari_plugin.desk import Desk, Watch
from uniseg_app.napari_plugin.parts import combo_box, named_for_all, say, slider, small_button, text
from uniseg_app.napari_plugin.results import Results, kept_selection
from uniseg_app.napari_plugin.surfaces import Skin, skins, solids, surface_layer
from uniseg_app.napari_plugin.views import PLANES, show_3d, show_plane, show_window

_FADE_STEPS = 20


class ViewBox(QGroupBox):
    """The buttons. image: gives the layer that windows are for; None where there is none."""

    def __init__(self, viewer: Any, desk: Desk, results: Results, image: Callable[[], Image | None]) -> None:
        super().__init__("View")
        self._viewer, self._desk, self._results, self._image = viewer, desk, results, image
        self._windows: Mapping[str, Window] = {}
        self._hidden: dict[Layer, bool] = {}  # what 3D hides, and whether it was visible
        self._place: tuple[float, ...] = ()  # where the viewer looked before
        self._surfaces: list[Layer] = []
        self._making: Job[list[Skin]] | None = None
        self._to_come: list[Skin] = []
        self._to_go: list[Layer] = []
        self._turns = QTimer(self, singleShot=True, interval=0)
        self._turns.timeout.connect(self._take_turn)
        self._beside: SideBySide | None = None
        self._said = text()
        self.in_3d = _toggle("3D", self._turn_3d, "What is shown as smooth surfaces, from the front")
        self.grey = QComboBox()
        named_for_all(self.grey, "Window of grey values")
        self.grey.activated.connect(lambda _: self._show_window())
        self.left, self.right, self.fade = (
            combo_box("First answer"),
            combo_box("Second answer"),
            slider("Fade", _FADE_STEPS, "From the first answer to the second"),
        )
        self.fade.valueChanged.connect(self._fade)
        self.beside = _toggle("Side by side", self._turn_beside, "The image twice, each with one answer")
        self._lay_out()
        results.changed.connect(self._offer)
        for event in (viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(self._offer)
        self._offer()

    @property
    def is_idle(self) -> bool:
        """Whether no surface is being worked out, or waits to be shown or to go."""
        return self._making is None and not self._turns.isActive()

    def offer_windows(self, windows: Mapping[str, Window]) -> None:
        """Other windows to choose from; what is shown stays."""
        if list(windows) != list(self._windows):
            self.grey.clear()
            self.grey.addItems(list(windows))
        self._windows = windows
        self.grey.setEnabled(bool(windows))

    def _lay_out(self) -> None:
        row, box, compare = QHBoxLayout(), QVBoxLayout(self), QWidget()
        for plane in PLANES:
            row.addWidget(small_button(plane, partial(self._show_plane, plane), f"{plane} slices, radiological"))
        row.addWidget(self.in_3d)
        row.addStretch()
        grid = QGridLayout(compare)
        for row_of, (words, widget) in enumerate((("Left", self.left), ("Right", self.right), ("Fade", self.fade))):
            grid.addWidget(QLabel(words), row_of, 0)
            grid.addWidget(widget, row_of, 1)
        grid.addWidget(self.beside, 3, 1)
        grid.setColumnStretch(1, 1)
        self._compare = QCollapsible("Compare two answers")
        self._compare.addWidget(compare)
        box.addLayout(row)
        for widget in (self.grey, self._compare, self._said):
            box.addWidget(widget)

    # Planes and windows -----------------------------------------------------------------------------------------------

    def _show_plane(self, plane: str) -> None:
        self.in_3d.setChecked(False)
        show_plane(self._viewer, plane)

    def _show_window(self) -> None:
        layer = self._image()
        if layer is not None:
            show_window(layer, self._windows[self.grey.currentText()])

    # 3D ---------------------------------------------------------------------------------------------------------------

    def _turn_3d(self, on: bool) -> None:
        if not on:
            self._leave_3d()
            return
        self.beside.setChecked(False)
        shown = solids(self._results.layers())
        if not shown:
            self.in_3d.setChecked(False)
            say(self._said, "There is no structure to show: segment first, and tick what to show.")
            return
        say(self._said, "Working out the surfaces")
        self._making = self._desk.ask("surfaces", lambda progress: skins(shown))
        Watch(self._making, self).ended.connect(self._enter_3d)

    def _enter_3d(self, job: Job[list[Skin]]) -> None:
        say(self._said, "" if job.state is State.DONE else "The surfaces could not be worked out; napari's console says more.")
        if job is not self._making:
            return
        self._making = None
        if not self.in_3d.isChecked() or job.state is not State.DONE:
            return
        self._hidden = {layer: layer.visible for layer in self._viewer.layers if layer not in self._to_go}
        self._place = self._viewer.dims.point
        for layer in self._hidden:
            layer.visible = False
        show_3d(self._viewer)
        self._to_come = list(job.result())
        self._turns.start()

    def _take_turn(self) -> None:
        """One surface comes or goes; the window does something else before the next."""
        if self._to_go:
            layer = self._to_go.pop()
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
            if not self._to_go and self._viewer.dims.ndisplay == 2:
                self._viewer.dims.point = self._place  # once more: beside a surface it is rounded to other steps
        elif self._to_come:
            with kept_selection(self._viewer):
                self._surfaces.append(self._viewer.add_layer(surface_layer(self._to_come.pop(0))))
        if self._to_go or self._to_come:
            self._turns.start()

    def _leave_3d(self) -> None:
        for layer in self._surfaces:
            layer.visible = False
        for layer, visible in self._hidden.items():
            if layer in self._viewer.layers:
                layer.visible = visible
        if self._hidden:
            show_plane(self._viewer, "Axial")
            self._viewer.dims.point = self._place
        self._to_go += self._surfaces
        self._surfaces, self._hidden, self._to_come = [], {}, []
        self._turns.start()
        say(self._said, "")

    # Two answers ------------------------------------------------------------------------------------------------------

    def _offer(self, event: Any = None) -> None:
        answers = self._results.layers()
        left, right = self.left.currentData(), self.right.currentData()
        left = _one_of(answers, left)
        right = _one_of([layer for layer in answers if layer is not left], right)
        for combo, chosen in ((self.left, left), (self.right, right)):
            combo.clear()
            for layer in answers:
                combo.addItem(layer.name, layer)
            combo.setCurrentIndex(next((i for i, layer in enumerate(answers) if layer is chosen), -1))
        self._compare.setVisible(len(answers) > 1)

    def _pair(self) -> tuple[Labels, Labels] | None:
        left, right = self.left.currentData(), self.right.currentData()
        return None if left is None or right is None or left is right else (left, right)

    def _fade(self, value: int) -> None:
        if pair := self._pair():
            fade(*pair, value / _FADE_STEPS)

    def _turn_beside(self, on: bool) -> None:
        if self._beside is not None:
            self._beside.end()
            self._beside = None
            say(self._said, "")
        image, pair = self._image(), self._pair()
        if not on:
            return
        if image is None or pair is None:
            self.beside.setChecked(False)
            say(self._said, "Choose two different answers to compare.")
            return
        self.in_3d.setChecked(False)
        self._beside = SideBySide(self._viewer, image, *pair)
        say(self._said, titles(*pair))


def _one_of(layers: Sequence[Labels], wanted: Labels | None) -> Labels | None:
    """The wanted one where it is among them, else the first."""
    return next((layer for layer in layers if layer is wanted), next(iter(layers), None))


def _toggle(words: str, turned: Callable[[bool], None], tip: str) -> QToolButton:
    made = QToolButton()
    made.setText(words)
    made.setCheckable(True)
    made.toggled.connect(turned)
    named_for_all(made, words, tip)
    return made
