"""How to segment, for those who want to know: collapsed until somebody opens it."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, Container, Label, LineEdit
from qtpy.QtCore import Signal
from superqt import QCollapsible

from uniseg_app.run_options import STEP, STEP_COUNTS_MORE, STEPS, WORK, WORKS, asked_options
from uniseg_model.errors import OptionError
from uniseg_model.options import Options

_AXES = ("the task's own", "axial", "stored", "RAS", "LPI", "IPL")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class OptionsBox(QCollapsible):
    """The options of a run. ``changed``: another one. ``device_changed``: the model must be loaded anew."""

    changed = Signal()
    device_changed = Signal()

    def __init__(self, device: str) -> None:
        super().__init__("More options")
        self._work = ComboBox(choices=list(WORKS), label=WORK)
        self._about_work = Label(label="")
        self._step = ComboBox(choices=list(STEPS), label="Step", tooltip=f"{STEP}. {STEP_COUNTS_MORE}")
        self._confidence = CheckBox(value=True, text="How sure is each structure?", tooltip="A little more memory")
        self._agreement = CheckBox(
            value=False,
            text="Agreement under mirroring",
            tooltip="Dice with and without it: segments twice, nine times the work",
        )
        self._spacing = LineEdit(
            label="Spacing", tooltip="z, y, x in mm in place of each task's own, such as 3, 1.5, 1.5; empty: its own"
        )
        self._axes = ComboBox(
            choices=_AXES, label="Axes", tooltip="How the network sees the array; letters are the file's x, y, z"
        )
        self._device = ComboBox(choices=_devices(device), value=device, label="Device", tooltip="Where it is computed")
        self._precision = ComboBox(choices=_PRECISIONS, label="Precision", tooltip="auto: float16 on a GPU, float32 on a CPU")
        asked = [self._work, self._step, self._confidence, self._agreement, self._spacing, self._axes]
        self._form = Container(widgets=[self._work, self._about_work, *asked[1:], self._device, self._precision])
        self._form.margins = (0, 0, 0, 0)
        for widget in asked:
            widget.changed.connect(lambda _: self.changed.emit())
        for widget in (self._device, self._precision):
            widget.changed.connect(lambda _: self.device_changed.emit())
        self.addWidget(self._form.native)
        self._work.changed.connect(lambda _: self._tell_work())
        self._tell_work()

    @property
    def options(self) -> Options:
        """What is asked for.

        Raises:
            OptionError: an entry breaks its rule.
        """
        spacing = self._spacing.value.strip()
        try:
            numbers = tuple(float(part) for part in spacing.split(",")) if spacing else None
        except ValueError:
            raise OptionError(
                f"the spacing must be three numbers in mm such as 3, 1.5, 1.5 (z, y, x), not {spacing!r}"
            ) from None
        return asked_options(
            self._work.value, self._step.value, spacing_mm=numbers,
            axes=None if self._axes.value == _AXES[0] else self._axes.value,
            confidence=self._confidence.value, agreement=self._agreement.value,
        )  # fmt: skip

    def _tell_work(self) -> None:
        self._about_work.value = WORKS[self._work.value].sentence

    @property
    def device(self) -> tuple[str, str]:
        """Device and precision."""
        return self._device.value, self._precision.value


def _devices(chosen: str) -> list[str]:
    return list(dict.fromkeys(["auto", "cpu", "cuda", chosen]))
