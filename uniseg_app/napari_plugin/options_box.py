"""How to segment, for those who want to know: collapsed until somebody opens it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QLineEdit, QWidget
from superqt import QCollapsible

from uniseg_app.napari_plugin.parts import combo_box, named_for_all, say, text
from uniseg_app.run_options import STEP, STEP_COUNTS_MORE, STEPS, WORK, WORKS, asked_options
from uniseg_model.errors import OptionError
from uniseg_model.options import Options
from uniseg_model.volume import Triple

_AXES = ("the task's own", "axial", "stored", "RAS", "LPI", "IPL")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class OptionsBox(QCollapsible):
    """The options of a run. ``changed``: another one. ``device_changed``: the model must be loaded anew."""

    changed = Signal()
    device_changed = Signal()

    def __init__(self, device: str) -> None:
        super().__init__("More options")
        self.work, self.step = combo_box(WORK, list(WORKS)), combo_box(STEP, list(STEPS))
        self.confidence, self.agreement = QCheckBox("How sure is each structure?"), QCheckBox("Agreement under mirroring")
        self.confidence.setChecked(True)
        self.spacing, self.axes = QLineEdit(), combo_box("Axes", _AXES)
        self._device = combo_box("Device", list(dict.fromkeys(["auto", "cpu", "cuda", device])))
        self._device.setCurrentText(device)
        self._precision = combo_box("Precision", _PRECISIONS)
        self._about_work = text(role="faint")
        self._lay_out()
        self._tell_work()
        self._connect()

    def _lay_out(self) -> None:
        form = QFormLayout(within := QWidget())
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for row in (QLabel(WORK), self.work, self._about_work):
            form.addRow(row)
        form.addRow("Step", named_for_all(self.step, "Step", STEP))
        form.addRow(text(STEP_COUNTS_MORE, role="faint"))
        form.addRow(_tipped(self.confidence, "A little more memory"))
        form.addRow(_tipped(self.agreement, "Dice with and without it: segments twice, nine times the work"))
        spacing = "z, y, x in mm in place of each task's own, such as 3, 1.5, 1.5; empty: its own"
        form.addRow("Spacing", named_for_all(self.spacing, "Spacing", spacing))
        form.addRow("Axes", _tipped(self.axes, "How the network sees the array; letters are the file's x, y, z"))
        form.addRow("Device", _tipped(self._device, "Where it is computed"))
        form.addRow("Precision", _tipped(self._precision, "auto: float16 on a GPU, float32 on a CPU"))
        self.addWidget(within)

    def _connect(self) -> None:
        self.work.currentTextChanged.connect(lambda _: self._tell_work())
        for choice in (self.work, self.step, self.axes):
            choice.currentTextChanged.connect(lambda _: self.changed.emit())
        for check in (self.confidence, self.agreement):
            check.toggled.connect(lambda _: self.changed.emit())
        self.spacing.textChanged.connect(lambda _: self.changed.emit())
        for choice in (self._device, self._precision):
            choice.currentTextChanged.connect(lambda _: self.device_changed.emit())

    def _tell_work(self) -> None:
        say(self._about_work, WORKS[self.work.currentText()].sentence)

    @property
    def options(self) -> Options:
        """What is asked for.

        Raises:
            OptionError: an entry breaks its rule.
        """
        axes = self.axes.currentText()
        return asked_options(
            self.work.currentText(), self.step.currentText(), spacing_mm=_spacing(self.spacing.text().strip()),
            axes=None if axes == _AXES[0] else axes, confidence=self.confidence.isChecked(), agreement=self.agreement.isChecked(),
        )  # fmt: skip

    @property
    def device(self) -> tuple[str, str]:
        """Device and precision."""
        return self._device.currentText(), self._precision.currentText()


def _spacing(words: str) -> Triple | None:
    try:
        return tuple(float(part) for part in words.split(",")) if words else None  # type: ignore[return-value]
    except ValueError:
        raise OptionError(f"the spacing must be three numbers in mm such as 3, 1.5, 1.5 (z, y, x), not {words!r}") from None


def _tipped(widget: QWidget, tip: str) -> QWidget:
    widget.setToolTip(tip)
    return widget
