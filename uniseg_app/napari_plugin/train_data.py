"""Which data set a task is learned from, and what the doctor says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QGroupBox, QHBoxLayout, QHeaderView, QTreeWidget, QTreeWidgetItem, QVBoxLayout

from uniseg_app import training_words as words
from uniseg_app.napari_plugin.parts import button, combo_box, named_for_all, say, text
from uniseg_model.doctor.findings import Report

_HEIGHT_PX = 96
_MOST_LINES = 6  # of what mending would change
_NOTHING = "Choose a folder with images and labels (nnU-Net's layout, Decathlon's, or files with the same names), or add a scan from the layers below."


class DataBox(QGroupBox):
    """The choice and the doctor's table. ``chosen``: a folder (Path). ``mend``: a copy is wanted."""

    chosen = Signal(object)
    mend = Signal()

    def __init__(self) -> None:
        super().__init__("1  Data")
        self.sets = combo_box("Data set")
        self.sets.activated.connect(lambda _: self._picked())
        self._said, self._trouble, self._detail = text(_NOTHING, role="faint"), text(role="trouble"), text(role="faint")
        self.findings = _table()
        self.findings.currentItemChanged.connect(lambda item, _: say(self._detail, _told(item) if item else ""))
        self._mending = text()
        self.mend_button = button(
            "Mend into a copy", self.mend.emit, "All that can be mended safely; the data set itself stays as it is"
        )
        row = QHBoxLayout()
        row.addWidget(self.sets, 1)
        row.addWidget(button("Folder…", self._ask, "A folder with images and labels"))
        box = QVBoxLayout(self)
        box.addLayout(row)
        for widget in (self._said, self._trouble, self.findings, self._detail, self._mending, self.mend_button):
            box.addWidget(widget)
        self.forget()

    @property
    def folder(self) -> Path | None:
        """The chosen data set."""
        return self.sets.currentData()

    def offer(self, folders: Sequence[Path]) -> None:
        """These can be chosen, beside what is."""
        chosen = self.folder
        every = list(dict.fromkeys([*folders, *([chosen] if chosen else [])]))
        self.sets.clear()
        self.sets.addItem("Choose a data set" if every else "No data set yet", None)
        for folder in every:
            self.sets.addItem(folder.name, folder)
            self.sets.setItemData(self.sets.count() - 1, str(folder), Qt.ItemDataRole.ToolTipRole)
        self.sets.setCurrentIndex(every.index(chosen) + 1 if chosen else 0)

    def choose(self, folder: Path) -> None:
        """Take this one."""
        if self.sets.findData(folder) < 0:
            self.sets.addItem(folder.name, folder)
        self.sets.setCurrentIndex(self.sets.findData(folder))
        self._picked()

    def forget(self) -> None:
        """Nothing is known of it."""
        self.findings.clear()
        for widget in (self.findings, self.mend_button):
            widget.hide()
        for label in (self._trouble, self._detail, self._mending):
            say(label, "")
        say(self._said, _NOTHING)

    def wait(self, what: str) -> None:
        """Something is being done with it."""
        self.forget()
        say(self._said, what)

    def tell(self, report: Report) -> None:
        """What the doctor found."""
        self.forget()
        say(self._said, report.sentence())
        for row in words.finding_rows(report):
            item = QTreeWidgetItem([row.severity, row.case, row.what])
            item.setData(0, Qt.ItemDataRole.UserRole, row)
            item.setToolTip(2, _told(item))
            self.findings.addTopLevelItem(item)
        self.findings.setVisible(bool(report.findings))
        self.findings.setCurrentItem(self.findings.topLevelItem(0))
        lines = words.mending(report)
        self.mend_button.setVisible(bool(lines))
        if lines:
            more = f"\nand {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
            say(self._mending, "A mended copy would change:\n" + "\n".join(lines[:_MOST_LINES]) + more)

    def tell_trouble(self, what: str) -> None:
        """It cannot be looked at, or mended."""
        say(self._trouble, what)

    def _picked(self) -> None:
        self.forget()
        if self.folder:
            self.chosen.emit(self.folder)

    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A data set")
        if chosen:
            self.choose(Path(chosen))


def _table() -> QTreeWidget:
    table = QTreeWidget()
    table.setColumnCount(3)
    table.setHeaderLabels(["", "Case", "What"])
    table.setRootIsDecorated(False)
    table.setFixedHeight(_HEIGHT_PX)
    table.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
    named_for_all(table, "What the doctor found")
    return table


def _told(item: QTreeWidgetItem) -> str:
    row = item.data(0, Qt.ItemDataRole.UserRole)
    fix = f" Mending: {row.fix}." if row.fix else ""
    return f"{row.what} {row.how}{fix}"
