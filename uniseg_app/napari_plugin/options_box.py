"""How to segment, for those who want to know: collapsed until somebody opens it."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget
from superqt import QCollapsible

from uniseg_app.napari_plugin.parts import keep_narrow, named_for_all, say, text
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
        self.work, self.step = ComboBox(choices=list(WORKS)), ComboBox(choices=list(STEPS))
        self.confidence = CheckBox(value=True, text="How sure is each structure?")
        self.agreement = CheckBox(value=False, text="Agreement under mirroring")
        self.spacing, self.axes = LineEdit(), ComboBox(choices=_AXES)
        self._device = ComboBox(choices=list(dict.fromkeys(["auto", "cpu", "cuda", device])), value=device)
        self._precision = ComboBox(choices=_PRECISIONS)
        self._about_work = text(role="faint")
        self._lay_out()
        self._tell_work()
        self._connect()

    def _lay_out(self) -> None:
        form = QFormLayout(within := QWidget())
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for row in (QLabel(WORK), _named(self.work, WORK), self._about_work):
            form.addRow(row)
        form.addRow("Step", _named(self.step, "Step", STEP))
        form.addRow(text(STEP_COUNTS_MORE, role="faint"))
        form.addRow(_named(self.confidence, "How sure is each structure?", "A little more memory"))
        form.addRow(_named(self.agreement, "Agreement", "Dice with and without mirroring: segments twice, nine times the work"))
        spacing = "z, y, x in mm in place of each task's own, such as 3, 1.5, 1.5; empty: its own"
        form.addRow("Spacing", _named(self.spacing, "Spacing", spacing))
        form.addRow("Axes", _named(self.axes, "Axes", "How the network sees the array; letters are the file's x, y, z"))
        form.addRow("Device", _named(self._device, "Device", "Where it is computed"))
        form.addRow("Precision", _named(self._precision, "Precision", "auto: float16 on a GPU, float32 on a CPU"))
        self.addWidget(within)

    def _connect(self) -> None:
        self.work.changed.connect(lambda _: self._tell_work())
        for asked in (self.work, self.step, self.confidence, self.agreement, self.spacing, self.axes):
            asked.changed.connect(lambda _: self.changed.emit())
        for place in (self._device, self._precision):
            place.changed.connect(lambda _: self.device_changed.emit())

    def _tell_work(self) -> None:
        say(self._about_work, WORKS[self.work.value].sentence)

    @property
    def options(self) -> Options:
        """What is asked for.

        Raises:
            OptionError: an entry breaks its rule.
        """
        return asked_options(
            self.work.value, self.step.value, spacing_mm=_spacing(self.spacing.value.strip()),
            axes=None if self.axes.value == _AXES[0] else self.axes.value,
            confidence=self.confidence.value, agreement=self.agreement.value,
        )  # fmt: skip

    @property
    def device(self) -> tuple[str, str]:
        """Device and precision."""
        return self._device.value, self._precision.value


def _spacing(words: str) -> Triple | None:
    try:
        return tuple(float(part) for part in words.split(",")) if words else None  # type: ignore[return-value]
    except ValueError:
        raise OptionError(f"the spacing must be three numbers in mm such as 3, 1.5, 1.5 (z, y, x), not {words!r}") from None


def _named(asked: ValueWidget, name: str, tip: str = "") -> QWidget:
    """The Qt widget of a value, with a name and a tip; a choice does not widen the dock, however long its entries are."""
    widget = asked.native
    if isinstance(widget, QComboBox):
        keep_narrow(widget)
    return named_for_all(widget, name, tip)
