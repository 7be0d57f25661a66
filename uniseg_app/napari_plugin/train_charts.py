"""A training in pictures: loss and Dice over its steps, and a validation case as it is answered so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QGridLayout, QWidget

from uniseg_app.napari_plugin.parts import text
from uniseg_app.napari_plugin.prompt_charts import Chart, picture
from uniseg_app.training_words import Curve

LOSS, DICE, OTHER = "#E69F00", "#0072B2", "#009E73"  # told apart by colour-blind eyes, in the dark and in the light
_HEIGHT_PX, _LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 150, 30, 34, 6, 18
_NEAR_PX = 12
Points = Sequence[tuple[int, float]]


class CurveView(Chart):
    """Dice on the left axis, 0 to 1; loss on the right one, in its own range. other: Dice of a run beside it."""

    def __init__(self) -> None:
        super().__init__("Loss and Dice of the validation, by step")
        self.setFixedHeight(_HEIGHT_PX)
        self.curve, self._other = Curve(), Curve()

    def show_curves(self, curve: Curve, other: Curve | None = None) -> None:
        """These, from now on."""
        self.curve, self._other = curve, other or Curve()
        self.update()

    def told_at(self, x: float, y: float) -> str:
        """The nearest validation, where it is near."""
        found = [(abs(self._x(step) - x), f"step {step}: Dice {value:.3f}") for step, value in self.curve.dice]
        away, words = min(found, default=(_NEAR_PX, ""))
        return words if away < _NEAR_PX else ""

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_axes(painter)
        low, high = self._losses()
        self._draw(painter, self.curve.loss, LOSS, low, high, Qt.PenStyle.SolidLine)
        self._draw(painter, self._other.dice, OTHER, 0, 1, Qt.PenStyle.DashLine)
        self._draw(painter, self.curve.dice, DICE, 0, 1, Qt.PenStyle.SolidLine, dots=True)

    def _losses(self) -> tuple[float, float]:
        values = [value for _, value in self.curve.loss] or [0.0, 1.0]
        return min(values), max(max(values), min(values) + 1e-6)

    def _last_step(self) -> int:
        steps = [step for points in (self.curve.loss, self.curve.dice, self._other.dice) for step, _ in points]
        return max(steps, default=1) or 1

    def _x(self, step: int) -> float:
        return _LEFT_PX + (self.width() - _LEFT_PX - _RIGHT_PX) * step / self._last_step()

    def _y(self, share: float) -> float:
        return _TOP_PX + (self.height() - _TOP_PX - _BOTTOM_PX) * (1 - share)

    def _draw_axes(self, painter: QPainter) -> None:
        ink = self.palette().windowText().color()
        faint = QColor(128, 128, 128, 90)
        low, high = self._losses()
        right, bottom = self.width() - _RIGHT_PX, self.height() - _BOTTOM_PX
        for share in (0.0, 0.5, 1.0):
            y = self._y(share)
            painter.setPen(faint)
            painter.drawLine(QPointF(_LEFT_PX, y), QPointF(right, y))
            painter.setPen(QColor(DICE).lighter(150))
            painter.drawText(QRectF(0, y - 7, _LEFT_PX - 4, 14), Qt.AlignmentFlag.AlignRight, f"{share:g}")
            if len(self.curve.loss) > 1:
                painter.setPen(QColor(LOSS))
                painter.drawText(
                    QRectF(right + 4, y - 7, _RIGHT_PX - 4, 14), Qt.AlignmentFlag.AlignLeft, f"{low + share * (high - low):.2g}"
                )
        painter.setPen(ink)
        painter.drawText(QRectF(_LEFT_PX, bottom + 2, 60, 14), Qt.AlignmentFlag.AlignLeft, "step 0")
        painter.drawText(QRectF(right - 80, bottom + 2, 80, 14), Qt.AlignmentFlag.AlignRight, str(self._last_step()))

    def _draw(
        self, painter: QPainter, points: Points, color: str, low: float, high: float, style: Qt.PenStyle, *, dots: bool = False
    ) -> None:
        places = [QPointF(self._x(step), self._y((value - low) / (high - low))) for step, value in points]
        pen = QPen(QColor(color), 2, style)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(places)
        if dots:
            painter.setBrush(QColor(color))
            for place in places:
                painter.drawEllipse(place, 2.5, 2.5)


class PreviewView(QWidget):
    """Pictures beside each other, with what they are and one sentence."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._said = text(role="faint")
        self._shown: tuple[str, int] | None = None
        self.hide()

    def show_pictures(self, pictures: Mapping[str, np.ndarray], said: str) -> None:
        """These, from now on; none hide it."""
        if self._shown == (said, len(pictures)):
            return
        self._shown = (said, len(pictures))
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            if widget is not self._said:
                widget.deleteLater()
        for column, (name, colors) in enumerate(pictures.items()):
            self._grid.addWidget(picture(colors, name), 0, column)
            self._grid.addWidget(text(name, role="faint"), 1, column)
        self._said.setText(said)
        self._said.setVisible(bool(said))
        self._grid.addWidget(self._said, 2, 0, 1, max(1, len(pictures)))
        self.setVisible(bool(pictures))
