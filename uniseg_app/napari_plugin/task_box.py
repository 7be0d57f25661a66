"""Which tasks are asked for: a tree by modality, with what each finds, and why one does not suit the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QLineEdit, QSizePolicy, QTreeWidget, QTreeWidgetItem, QVBoxLayout

from uniseg_app.backend import Choice
from uniseg_app.napari_plugin.parts import named_for_all, small_button, swatch

_KEY = Qt.ItemDataRole.UserRole
_HEIGHT_PX = 190


class TaskBox(QGroupBox):
    """The tree. ``changed``: other tasks are ticked."""

    changed = Signal()

    def __init__(self, title: str = "What to look for") -> None:
        super().__init__(title)
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search tasks and structures")
        self._search.setClearButtonEnabled(True)
        self._search.textChanged.connect(self._filter)
        named_for_all(self._search, "Search tasks and structures")
        self._tree = QTreeWidget()
        self._tree.setHeaderHidden(True)
        self._tree.setFixedHeight(_HEIGHT_PX)
        self._tree.itemChanged.connect(lambda _item, _column: self._ticked())
        named_for_all(self._tree, "Tasks", "Tick what to look for; several tasks share one pass")
        self._count = QLabel()
        self._count.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout()
        row.addWidget(self._count, 1)
        row.addWidget(small_button("All suiting", self._tick_suiting, "Tick every task that suits this image"))
        row.addWidget(small_button("None", lambda: self.tick(()), "Tick nothing"))
        box = QVBoxLayout(self)
        box.addWidget(self._search)
        box.addWidget(self._tree)
        box.addLayout(row)
        self._choices: tuple[Choice, ...] = ()

    @property
    def keys(self) -> list[str]:
        """The ticked tasks, in prompt order."""
        return [
            str(item.data(0, _KEY))
            for item in self.items()
            if _is_offered(item) and item.checkState(0) is Qt.CheckState.Checked
        ]

    def show_choices(self, choices: Sequence[Choice]) -> None:
        """The tasks for another image; what was ticked and is still offered stays so."""
        ticked = set(self.keys)
        self._choices = tuple(choices)
        self._tree.blockSignals(True)
        self._tree.clear()
        for modality, group in _by_modality(choices).items():
            self._tree.addTopLevelItem(_group(modality, group))
        self._tree.blockSignals(False)
        for index in range(self._tree.topLevelItemCount()):
            top = self._tree.topLevelItem(index)
            top.setExpanded(not top.isDisabled() and bool(top.data(0, _KEY)))
        self.tick(ticked)
        self._filter(self._search.text())

    def items(self) -> Iterator[QTreeWidgetItem]:
        """The items of tasks."""
        for index in range(self._tree.topLevelItemCount()):
            group = self._tree.topLevelItem(index)
            yield from (item for n in range(group.childCount()) if (item := group.child(n)).data(0, _KEY))

    def tick(self, keys: Sequence[str] | set[str]) -> None:
        """Tick these tasks, as far as they are offered, and no others."""
        self._tree.blockSignals(True)
        for item in self.items():
            wanted = item.data(0, _KEY) in keys and _is_offered(item)
            item.setCheckState(0, Qt.CheckState.Checked if wanted else Qt.CheckState.Unchecked)
        self._tree.blockSignals(False)
        self._ticked()

    def _tick_suiting(self) -> None:
        self.tick({choice.task.key for choice in self._choices if choice.suits})

    def _ticked(self) -> None:
        n_suit = sum(choice.suits for choice in self._choices)
        self._count.setText(f"{len(self.keys)} ticked, {n_suit} of {len(self._choices)} suit" if self._choices else "")
        self.changed.emit()

    def _filter(self, words: str) -> None:
        """Show the tasks that speak of the words, in their title, structures or modality."""
        for item in self.items():
            told = " ".join([item.text(0), *(item.child(n).text(0) for n in range(item.childCount())), item.parent().text(0)])
            item.setHidden(words.strip().lower() not in told.lower())
            if words.strip() and not item.isHidden():
                item.parent().setExpanded(True)


def _is_offered(item: QTreeWidgetItem) -> bool:
    return bool(item.flags() & Qt.ItemFlag.ItemIsEnabled)


def _by_modality(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    """What suits comes first."""
    groups: dict[str, list[Choice]] = {}
    for choice in sorted(choices, key=lambda choice: (not choice.suits, bool(choice.refused))):
        groups.setdefault(", ".join(choice.task.modalities), []).append(choice)
    return groups


def _group(modality: str, choices: Sequence[Choice]) -> QTreeWidgetItem:
    suits = any(choice.suits for choice in choices)
    top = QTreeWidgetItem([f"{modality}: suits this image" if suits else modality])
    top.setData(0, _KEY, suits)
    top.setFlags(Qt.ItemFlag.ItemIsEnabled)
    for why in dict.fromkeys(choice.refused or "; ".join(choice.doubts) for choice in choices if not choice.suits):
        note = QTreeWidgetItem([why[0].upper() + why[1:]])
        note.setFlags(Qt.ItemFlag.NoItemFlags)
        note.setToolTip(0, why)
        top.addChild(note)
    top.addChildren([_task(choice) for choice in choices])
    return top


def _task(choice: Choice) -> QTreeWidgetItem:
    task = choice.task
    item = QTreeWidgetItem([task.title])
    item.setData(0, _KEY, task.key)
    item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable
                  | (Qt.ItemFlag.NoItemFlags if choice.refused else Qt.ItemFlag.ItemIsEnabled))  # fmt: skip
    item.setCheckState(0, Qt.CheckState.Unchecked)
    item.setToolTip(0, _about(choice))
    for label in task.labels:
        child = QTreeWidgetItem([label.name])
        child.setIcon(0, swatch(label.color))
        child.setFlags(Qt.ItemFlag.ItemIsEnabled)
        item.addChild(child)
    return item


def _about(choice: Choice) -> str:
    task = choice.task
    z, y, x = task.spacing_mm
    lines = [f"{task.title}: {', '.join(label.name for label in task.labels)}", f"Trained on {', '.join(task.modalities)}"
             f" at {x:g} × {y:g} × {z:g} mm (x, y, z)", *filter(None, [task.dataset, task.caution, choice.refused, *choice.doubts])]  # fmt: skip
    return "\n".join(lines)
