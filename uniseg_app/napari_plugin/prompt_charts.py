"""Pictures of prompts in a panel: a matrix with its tree, points in a plane, slices. What lies under the pointer is told.

Letters: T tasks; z, y, x voxels of a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetrics, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolTip, QWidget

from uniseg_app.napari_plugin.parts import named_for_all
from uniseg_model.prompts.colors import DIVERGING, ink_on, painted
from uniseg_model.prompts.sets import PromptSet

_TREE_PX, _CELL_PX, _MOST_CELL_PX, _GAP_PX = 36, 16, 26, 4
_PLANE_PX, _DOT_PX = 200, 4
_SLICE_CELL_PX = 9
_RAMP_PX = 160


class Chart(QWidget):
    """A picture that tells what lies under the pointer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        named_for_all(self, name)
        self.setToolTip("")

    def told_at(self, x: float, y: float) -> str:
        """What there is to tell of a place in pixels; empty where nothing is."""
        raise NotImplementedError

    def event(self, event: Any) -> bool:
        """Tell it as a tip."""
        if event.type() == QEvent.Type.ToolTip:
            words = self.told_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), words, self) if words else QToolTip.hideText()
            return True
        return super().event(event)


class MatrixView(Chart):
    """How alike prompts are: the tree above, a coloured cell for each pair, ordered so that alike ones are neighbours."""

    def __init__(self, found: PromptSet, kind: str, name: str) -> None:
        super().__init__(name)
        self._titles = [task.title for task in found.tasks]
        self._matrix, self._tree = found.similarity(kind), found.tree(kind)
        self._colors = painted(self._matrix, -1, 1, DIVERGING)
        self._names_px = min(130, max(QFontMetrics(self.font()).horizontalAdvance(title) for title in self._titles) + _GAP_PX)
        self.setFixedHeight(_TREE_PX + len(self._titles) * _CELL_PX + _GAP_PX)

    @property
    def _cell_px(self) -> float:
        return float(min(_MOST_CELL_PX, max(4, (self.width() - self._names_px) / len(self._titles))))

    def told_at(self, x: float, y: float) -> str:
        """The pair and its number."""
        row, column = int((y - _TREE_PX) // _CELL_PX), int((x - self._names_px) // self._cell_px)
        order = self._tree.order
        if not (0 <= row < len(order) and 0 <= column < len(order)):
            return ""
        i, j = order[row], order[column]
        return f"{self._titles[i]} and {self._titles[j]}: {self._matrix[i, j]:.3f}"

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_tree(painter)
        width = self._cell_px
        for row, i in enumerate(self._tree.order):
            top = _TREE_PX + row * _CELL_PX
            title = painter.fontMetrics().elidedText(self._titles[i], Qt.TextElideMode.ElideRight, self._names_px - _GAP_PX)
            painter.setPen(self.palette().windowText().color())
            painter.drawText(QRectF(0, top, self._names_px - _GAP_PX, _CELL_PX), _LEFT, title)
            for column, j in enumerate(self._tree.order):
                cell = QRectF(self._names_px + column * width, top, width - 1, _CELL_PX - 1)
                painter.fillRect(cell, QColor(*self._colors[i, j].tolist()))
                if width >= 22:
                    painter.setPen(QColor(ink_on(self._colors[i, j])))
                    painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, _short(float(self._matrix[i, j])))

    def _draw_tree(self, painter: QPainter) -> None:
        branches = self._tree.branches()
        highest = max((height for branch in branches for _, height in branch), default=1.0) or 1.0
        painter.setPen(self.palette().windowText().color())
        for branch in branches:
            painter.drawPolyline([
                QPointF(self._names_px + (place + 0.5) * self._cell_px, _TREE_PX - 2 - (_TREE_PX - 6) * height / highest)
                for place, height in branch
            ])  # fmt: skip


class PlaneView(Chart):
    """Prompts as points: near each other where they are alike."""

    def __init__(self, found: PromptSet, name: str) -> None:
        super().__init__(name)
        self._titles = [task.title for task in found.tasks]
        self._points = found.plane().points
        self.setFixedHeight(_PLANE_PX)

    def _places(self) -> np.ndarray:
        """Pixels (T, 2)."""
        reach = float(np.abs(self._points).max()) or 1.0
        half = np.array([self.width() * 0.30, self.height() * 0.42])
        return np.asarray(self._points * [1, -1] / reach * half + [self.width() * 0.36, self.height() / 2])

    def told_at(self, x: float, y: float) -> str:
        """The nearest point, where it is near."""
        away = np.linalg.norm(self._places() - [x, y], axis=1)
        nearest = int(away.argmin())
        across, up = self._points[nearest]
        return f"{self._titles[nearest]}: {across:.2f}, {up:.2f}" if away[nearest] <= 3 * _DOT_PX else ""

    def paintEvent(self, event: Any) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        taken: list[QRectF] = []
        for title, (x, y) in zip(self._titles, self._places(), strict=True):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(DIVERGING[-2]))
            painter.drawEllipse(QPointF(x, y), _DOT_PX, _DOT_PX)
            painter.setPen(ink)
            box = QRectF(x + 7, y - 7, painter.fontMetrics().horizontalAdvance(title) + 2, 14)
            while any(box.intersects(other) for other in taken) and box.bottom() < self.height() + 14:
                box.translate(0, 2)
            taken.append(box)
            painter.drawText(box, _LEFT, title)


def _short(value: float) -> str:
    """One digit after the point, and nothing before it that says nothing."""
    return f"{round(value, 1) + 0.0:.1f}".replace("0.", ".", 1)


_LEFT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft


def picture(colors: np.ndarray, name: str = "") -> QLabel:
    """Colours (H, W, 3 or 4) uint8 as a picture. name: for those who cannot see it."""
    array = np.ascontiguousarray(colors)
    height, width, n = array.shape
    format = QImage.Format.Format_RGB888 if n == 3 else QImage.Format.Format_RGBA8888
    label = QLabel()
    label.setPixmap(QPixmap.fromImage(QImage(array.data, width, height, array.strides[0], format).copy()))
    label.setAccessibleName(name)
    return label


def slices(prompt: np.ndarray, limits: tuple[float, float], scale: Sequence[str]) -> QLabel:
    """The slices of one prompt (z, y, x) beside each other."""
    n, height, width = prompt.shape
    row = np.full((height, n * (width + 1) - 1), np.nan)
    for i, one in enumerate(prompt):
        row[:, i * (width + 1) : i * (width + 1) + width] = one
    rgba = np.dstack([painted(np.nan_to_num(row), *limits, tuple(scale)), np.where(np.isnan(row), 0, 255).astype(np.uint8)])
    return picture(rgba.repeat(_SLICE_CELL_PX, axis=0).repeat(_SLICE_CELL_PX, axis=1))


def ramp(limits: tuple[float, float], scale: Sequence[str]) -> QWidget:
    """What the colours of a map mean."""
    holder, row = QWidget(), QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    bar = picture(painted(np.linspace(*limits, _RAMP_PX), *limits, tuple(scale))[None].repeat(10, axis=0))
    for part in (QLabel(f"{limits[0]:.3g}"), bar, QLabel(f"{limits[1]:.3g}")):
        row.addWidget(part)
    row.addStretch()
    holder.setLayout(row)
    return holder


def key(colors: Mapping[str, str]) -> QLabel:
    """Names with their colours."""
    label = QLabel(
        " &nbsp; ".join(f'<span style="color:{color}">&#9632;</span> {escape(name)}' for name, color in colors.items())
    )
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setWordWrap(True)
    return label
