"""Small pieces that several boxes of a panel are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSizePolicy, QSlider, QToolButton, QWidget

_SWATCH_PX = 12


def text(words: str = "", *, role: str = "") -> QLabel:
    """Words that wrap and can be copied. role: for the style sheet, ``notice``, ``trouble`` or ``faint``."""
    label = QLabel(words)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)  # a long word must not widen the dock
    label.setProperty("role", role)
    label.setVisible(bool(words))
    return label


def say(label: QLabel, words: str) -> None:
    """Other words; without any, the label takes no room."""
    label.setText(words)
    label.setVisible(bool(words))


def button(words: str, pressed: Callable[[], object], tip: str = "") -> QPushButton:
    """A button that calls when it is pressed."""
    made = QPushButton(words)
    made.setToolTip(tip)
    made.clicked.connect(lambda _=False: pressed())
    return made


def small_button(words: str, pressed: Callable[[], object], tip: str) -> QToolButton:
    """The same, as small as its words."""
    made = QToolButton()
    made.setText(words)
    made.setToolTip(tip)
    made.setAccessibleName(tip)
    made.clicked.connect(lambda _=False: pressed())
    return made


def swatch(color: str) -> QIcon:
    """A square of a colour ``#RRGGBB``."""
    pixmap = QPixmap(_SWATCH_PX, _SWATCH_PX)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)


def combo_box(name: str, entries: Sequence[str] = ()) -> QComboBox:
    """A choice that does not widen the dock, however long its entries are."""
    made = QComboBox()
    made.addItems(list(entries))
    keep_narrow(made)
    named_for_all(made, name)
    return made


def keep_narrow(choice: QComboBox) -> None:
    """Let a choice be narrower than its longest entry."""
    choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


def slider(name: str, n_steps: int, tip: str = "") -> QSlider:
    """A slider that begins in the middle."""
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(0, n_steps)
    made.setValue(n_steps // 2)
    named_for_all(made, name, tip)
    return made


def named_for_all(widget: QWidget, name: str, tip: str = "") -> QWidget:
    """The widget with a name for those who cannot see it, and a tip for those who can."""
    widget.setAccessibleName(name)
    widget.setToolTip(tip or name)
    return widget
