"""What a task of one's own is: its name, structures and colours, images and voxel size; suggested, and for a person to change."""

from __future__ import annotations

from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from uniseg_app.napari_plugin.parts import named_for_all, small_button, swatch
from uniseg_app.training_form import TrainingForm, filled
from uniseg_app.typed import colored, modalities_in, spacing_in, spacing_text
from uniseg_model.tasks import Label


class StructureRow(QWidget):
    """One structure: its label value, name, colour."""

    def __init__(self, value: int, label: Label) -> None:
        super().__init__()
        self.name, self.color = QLineEdit(label.name), label.color
        named_for_all(self.name, f"Name of structure {value}")
        self._button = QToolButton()
        self._button.clicked.connect(self._ask)
        named_for_all(self._button, f"Colour of structure {value}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel(str(value)))
        row.addWidget(self.name, 1)
        row.addWidget(self._button)
        self.paint(label.color)

    @property
    def label(self) -> Label:
        """What stands there."""
        return Label(self.name.text().strip(), self.color)

    def paint(self, color: str) -> None:
        """Another colour, ``#RRGGBB``."""
        self.color = color
        self._button.setIcon(swatch(color))

    def _ask(self) -> None:
        chosen = QColorDialog.getColor(QColor(self.color), self, "Colour")
        if chosen.isValid():
            self.paint(chosen.name().upper())


class TaskForm(QGroupBox):
    """The fields. :meth:`fill` puts a suggestion in, :meth:`read` gives what stands there."""

    def __init__(self) -> None:
        super().__init__("2  Task")
        self.title, self.modalities, self.spacing = QLineEdit(), QLineEdit(), QLineEdit()
        self.rows: list[StructureRow] = []
        self._rows = QVBoxLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Name", named_for_all(self.title, "Name of the task"))
        form.addRow("Structures", self._structures())
        form.addRow("Images", named_for_all(self.modalities, "Images", "What each channel is, such as CT, or T1, T2"))
        form.addRow(
            "Voxels, mm",
            named_for_all(self.spacing, "Voxel size in mm along z, y, x", "The grid that the network works on, z, y, x"),
        )

    def fill(self, form: TrainingForm) -> None:
        """A suggestion."""
        self.title.setText(form.title)
        self.modalities.setText(", ".join(form.modalities))
        self.spacing.setText(spacing_text(form.spacing_mm))
        for row in self.rows:
            self._rows.removeWidget(row)
            row.deleteLater()
        self.rows = []
        for label in form.structures:
            self._add(label)

    def read(self, form: TrainingForm) -> TrainingForm:
        """The form with what stands here; its key is made anew where the name is another.

        Raises:
            TaskError: the voxel size is not three numbers.
        """
        return filled(
            form, self.title.text(), structures=tuple(row.label for row in self.rows),
            modalities=modalities_in(self.modalities.text()), spacing_mm=spacing_in(self.spacing.text()),
        )  # fmt: skip

    def _structures(self) -> QWidget:
        holder, buttons = QWidget(), QHBoxLayout()
        buttons.addWidget(small_button("+", self._one_more, "One more structure"))
        buttons.addWidget(small_button("−", self._one_less, "One structure less"))
        buttons.addStretch()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._rows)
        column.addLayout(buttons)
        return holder

    def _one_more(self) -> None:
        n = len(self.rows) + 1
        self._add(Label(f"structure {n}", colored([""] * n)[-1].color))

    def _one_less(self) -> None:
        if len(self.rows) > 1:
            row = self.rows.pop()
            self._rows.removeWidget(row)
            row.deleteLater()

    def _add(self, label: Label) -> None:
        self.rows.append(StructureRow(len(self.rows) + 1, label))
        self._rows.addWidget(self.rows[-1])
