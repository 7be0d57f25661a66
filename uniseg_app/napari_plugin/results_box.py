"""The table of what was found: show and hide, go to, recolour, take away, undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from uniseg_app import wording
from uniseg_app.answers import StructureRow, as_csv
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.answers import answer_of, color_of, is_shown, recolor
from uniseg_app.napari_plugin.desk import Desk, Watch
from uniseg_app.napari_plugin.measured import card, current_rows, middle
from uniseg_app.napari_plugin.parts import button, named_for_all, say, swatch, text
from uniseg_app.napari_plugin.results import Results
from uniseg_app.napari_plugin.saving import Shown, save_shown
from uniseg_app.napari_plugin.surfaces import surface_of
from uniseg_model.errors import UniSegError
from uniseg_model.files import whole_file

Measured = list[tuple[Labels, list[StructureRow]]]
_PAUSE_MS = 400  # after a brush stroke, before volumes are measured anew
_HEIGHT_PX = 190
_LAYER, _ROW = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_COLUMNS = ("Structure", "ml", "Sure")


class ResultsBox(QGroupBox):
    """The table and its buttons; it shows what the layers hold now, edits included."""

    def __init__(self, viewer: Any, desk: Desk, results: Results) -> None:
        super().__init__("What was found")
        self._viewer, self._desk, self._results = viewer, desk, results
        self._measured: Measured = []
        self._newest: Job[Measured] | None = None
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._pause.timeout.connect(self._measure)
        self.table, self._card, self._said = _table(), text(role="faint"), text()
        self.table.itemChanged.connect(self._checked)
        self.table.itemDoubleClicked.connect(lambda item, _column: self._go_to(item))
        self.table.currentItemChanged.connect(lambda item, _before: self._tell(item))
        self.undo = button("Undo run", self._undo, "Take the last run back; layers that were edited since stay")
        self._buttons = [
            button("Go to", lambda: self._go_to(self.table.currentItem()), "Look at the chosen structure (or double-click it)"),
            button("Colour…", lambda: self._ask_color(self.table.currentItem()), "Another colour for the chosen structure"),
            self.undo,
            button("Save…", self._ask_folder, "Labels on the image's own grid, volumes and run record, in a new folder"),
            button("CSV…", self._ask_csv, "The volumes as a table"),
        ]
        self._lay_out()
        results.changed.connect(self._measure)
        for event in (viewer.layers.events.removed, viewer.layers.events.inserted, viewer.layers.events.renamed):
            event.connect(self._later)
        self._measure()

    @property
    def is_idle(self) -> bool:
        """Whether the table is up to date."""
        return not self._pause.isActive() and self._newest is None

    def rows(self) -> list[StructureRow]:
        """What the table says."""
        return [row for _, rows in self._measured for row in rows]

    def save(self, folder: Path) -> None:
        """Write everything into a new folder in this one."""
        shown = [Shown(answer, layer.data) for layer in self._results.layers() if (answer := answer_of(layer))]
        backend = self._desk.backend
        say(self._said, "Writing")
        job = self._desk.ask("save", lambda progress: save_shown(folder, shown, backend.model().checkpoint.tasks))
        Watch(job, self).ended.connect(self._saved)

    def save_csv(self, path: Path) -> None:
        """Write the table."""
        try:
            with whole_file(path) as temporary:
                temporary.write_text(as_csv(self.rows()), encoding="utf-8")
            say(self._said, f"Saved {path.name}.")
        except UniSegError as exc:
            say(self._said, str(exc))

    def set_color(self, item: QTreeWidgetItem, color: str) -> None:
        """Show a structure in ``#RRGGBB``."""
        recolor(item.data(0, _LAYER), _value(item), color)
        self._fill()

    def _lay_out(self) -> None:
        box, grid = QVBoxLayout(self), QGridLayout()
        for number, one in enumerate(self._buttons):
            grid.addWidget(one, number // 3, number % 3)
        for widget in (self.table, self._card):
            box.addWidget(widget)
        box.addLayout(grid)
        box.addWidget(self._said)

    # What is shown ----------------------------------------------------------------------------------------------------

    def _later(self, event: Any = None) -> None:
        self._pause.start()

    def _measure(self) -> None:
        layers = self._results.layers()
        for layer in layers:
            shown = (layer.events.visible, layer.events.colormap)
            for event in (layer.events.data, layer.events.labels_update, layer.events.paint, *shown):
                event.connect(self._later)  # once, however often
        work = [(layer, answer, layer.data) for layer in layers if (answer := answer_of(layer))]
        self._newest = self._desk.ask(
            "volumes", lambda progress: [(layer, current_rows(answer, data)) for layer, answer, data in work]
        )
        Watch(self._newest, self).ended.connect(self._show)

    def _show(self, job: Job[Measured]) -> None:
        if job is not self._newest:
            return
        self._newest = None
        if job.state is State.DONE:
            self._measured = [(layer, rows) for layer, rows in job.result() if layer in self._viewer.layers]
            self._fill()

    def _fill(self) -> None:
        chosen = _place(self.table.currentItem())
        self.table.blockSignals(True)
        self.table.clear()
        self.table.addTopLevelItems([_layer_item(layer, rows) for layer, rows in self._measured])
        self.table.expandAll()
        self.table.blockSignals(False)
        for item in _items(self.table):
            if _place(item) == chosen:
                self.table.setCurrentItem(item)
        self.setVisible(bool(self._measured) or self._results.can_undo)
        self.undo.setEnabled(self._results.can_undo)
        self._tell(self.table.currentItem())

    def _tell(self, item: QTreeWidgetItem | None) -> None:
        row = item.data(0, _ROW) if item is not None else None
        say(self._card, card(row) if row is not None else "")

    def _checked(self, item: QTreeWidgetItem) -> None:
        layer, shown = item.data(0, _LAYER), item.checkState(0) is Qt.CheckState.Checked
        if item.parent() is None:
            layer.visible = shown
        elif (surface := surface_of(self._viewer, layer, _value(item))) is not None:
            surface.visible = shown
        elif shown != is_shown(layer, _value(item)):
            recolor(layer, _value(item), color_of(layer, _value(item)), shown=shown)

    # What can be done -------------------------------------------------------------------------------------------------

    def _go_to(self, item: QTreeWidgetItem | None) -> None:
        if item is None:
            return
        layer = item.data(0, _LAYER)
        place = middle(layer.data, _value(item) if item.parent() else None)
        if place is None:
            say(self._said, "There is nothing to go to: no voxel has this label.")
            return
        world = layer.data_to_world(place)
        self._viewer.dims.point = world
        self._viewer.scene.camera.center = tuple(world[axis] for axis in self._viewer.dims.displayed)

    def _ask_color(self, item: QTreeWidgetItem | None) -> None:
        if item is None or item.parent() is None:
            return
        dialog = QColorDialog(QColor(color_of(item.data(0, _LAYER), _value(item))), self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        place = _place(item)
        dialog.colorSelected.connect(lambda color: self._recolored(place, color.name().upper()))
        dialog.open()

    def _recolored(self, place: tuple[Any, int | None], color: str) -> None:
        for item in _items(self.table):
            if _place(item) == place:
                self.set_color(item, color)
                return

    def _undo(self) -> None:
        if self._results.can_undo:
            kept = self._results.undo()
            say(self._said, f"Left as it is, because it was edited: {', '.join(kept)}" if kept else "Undone.")

    def _ask_folder(self) -> None:
        self._ask_path(QFileDialog.getExistingDirectory(self, "Save the answers in"), self.save)

    def _ask_csv(self) -> None:
        self._ask_path(QFileDialog.getSaveFileName(self, "Save the volumes as", "volumes.csv", "CSV (*.csv)")[0], self.save_csv)

    def _ask_path(self, chosen: str, then: Callable[[Path], None]) -> None:
        if chosen:
            then(Path(chosen))

    def _saved(self, job: Job[Sequence[Path]]) -> None:
        if job.state is State.DONE:
            say(self._said, f"Saved in {', '.join(path.name for path in job.result())}.")
        else:
            say(self._said, ". ".join(wording.trouble(job.error, "napari's console")))


def _table() -> QTreeWidget:
    table = QTreeWidget()
    table.setHeaderLabels(list(_COLUMNS))
    table.headerItem().setToolTip(2, "Mean probability of its voxels; empty where it was edited since, or not asked for")
    table.setFixedHeight(_HEIGHT_PX)
    table.setRootIsDecorated(True)
    table.header().setStretchLastSection(False)
    table.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    for column in (1, 2):
        table.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
    named_for_all(table, "What was found", "Tick to show; double-click to go there")
    return table


def _layer_item(layer: Labels, rows: Sequence[StructureRow]) -> QTreeWidgetItem:
    item = QTreeWidgetItem([layer.name])
    item.setData(0, _LAYER, layer)
    item.setToolTip(0, layer.name)
    item.setFirstColumnSpanned(True)
    item.setCheckState(0, _checked(layer.visible))
    item.addChildren([_structure_item(layer, value, row) for value, row in enumerate(rows, start=1)])
    return item


def _structure_item(layer: Labels, value: int, row: StructureRow) -> QTreeWidgetItem:
    sure = "" if row.mean_probability is None else f"{row.mean_probability:.2f}"
    volume = f"{'≥ ' if row.cut_by_field_of_view else ''}{row.volume_ml:,.1f}" if row.volume_ml else "–"
    item = QTreeWidgetItem([row.structure, volume, sure])
    item.setData(0, _LAYER, layer)
    item.setData(0, _ROW, row)
    item.setData(1, _LAYER, value)
    item.setIcon(0, swatch(color_of(layer, value)))
    item.setCheckState(0, _checked(is_shown(layer, value)))
    item.setToolTip(0, card(row))
    for column in (1, 2):
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _checked(shown: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked


def _value(item: QTreeWidgetItem) -> int:
    return int(item.data(1, _LAYER))


def _place(item: QTreeWidgetItem | None) -> tuple[Any, int | None]:
    """Which layer and structure a line is about."""
    return (None, None) if item is None else (item.data(0, _LAYER), _value(item) if item.parent() else None)


def _items(table: QTreeWidget) -> list[QTreeWidgetItem]:
    tops = [table.topLevelItem(index) for index in range(table.topLevelItemCount())]
    return [item for top in tops for item in (top, *(top.child(n) for n in range(top.childCount())))]
