"""What was seen of prompts: pictures and tables in the panel, one thing over the scan, files to take away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QGridLayout,
    QHeaderView,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from uniseg_app import prompt_words as words
from uniseg_app.napari_plugin.answers import structures_of_task
from uniseg_app.napari_plugin.overlays import Masks, Numbers, cells, masks, voxels
from uniseg_app.napari_plugin.parts import button, named_for_all, swatch, text
from uniseg_app.napari_plugin.prompt_charts import MatrixView, PlaneView, key, ramp, slices
from uniseg_app.napari_plugin.world import Placed
from uniseg_app.prompt_answers import ChangeRow, change_rows
from uniseg_model.prompts.colors import DIVERGING, VIRIDIS
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.report import ALIKE, LEARNED_MAPS, PLANE
from uniseg_model.prompts.saliency import Saliency
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.sheet import Sheet
from uniseg_model.prompts.whatif import WhatIf
from uniseg_model.tasks import Label

_HEADS = ("Structure", "Before", "After", "Dice")
_PICTURE_PX = 290


def learned(found: PromptSet) -> QWidget:
    """What training left in the weights."""
    most = float(np.abs(found.array).max())
    own = QCheckBox("Each on a scale of its own")
    stacks = [_stacks(found, most), _stacks(found, None)]
    stacks[1].hide()
    own.toggled.connect(lambda is_own: [stack.setVisible(i == is_own) for i, stack in enumerate(stacks)])
    scale = f"Slices from left to right; orange above 0, blue below, up to ±{most:.2g} or each up to its own largest."
    return _column(
        text(f"{LEARNED_MAPS} {scale}", role="faint"), *stacks, own, *_alike(found, "the learned prompts"),
        text(PLANE, role="faint"), PlaneView(found, "Learned prompts in a plane"),
    )  # fmt: skip


def image(sets: Sequence[PromptMaps], learned_too: Sequence[PromptSet]) -> QWidget:
    """How alike this image's prompts are, beside the learned ones of the same tasks."""
    parts: list[QWidget] = [text(words.LEVELS, role="warning")]
    for maps, same in zip(sets, learned_too, strict=True):
        grid = " × ".join(f"{mm:g}" for mm in reversed(maps.recipe.spacing_mm))
        parts += _alike(maps, f"this image's prompts, grid of {grid} mm")
        parts += [
            text("The learned prompts of the same tasks:", role="faint"),
            MatrixView(same, "correlation", "Learned prompts compared"),
        ]
    return _column(*parts)


def what_if(found: WhatIf, said: str, cautions: Sequence[str]) -> QWidget:
    """What changed, structure by structure. said: the change in words."""
    n_changed = {name: int(np.count_nonzero(found.difference == value)) for value, (name, _) in words.DIFFERENCES.items()}
    counts = ", ".join(f"{n:,} voxels {name}" for name, n in n_changed.items())
    sides = " × ".join(str(side.stop - side.start) for side in reversed(found.valid))
    title = text(f"{found.before.task.title}: {said}", role="notice")
    seen = text(f"Volumes in ml. {counts}. Looked at: {sides} voxels. {words.WHAT_IF}", role="faint")
    return _column(title, _table(change_rows(found)), seen, *(text(one, role="warning") for one in cautions))


def sensitivity(found: Saliency) -> QWidget:
    """What the map is, and what it is not."""
    low, high = float(np.nanmin(found.array)), float(np.nanmax(found.array))
    title = text(f"Sensitivity of {found.structure} to the prompt of {found.task.title}", role="notice")
    numbers = text(
        f"Change of the mean probability in a window per unit of the prompt: from {low:.2g} to {high:.2g}.", role="faint"
    )
    return _column(title, numbers, text(words.SENSITIVITY, role="warning"))


def sheet(found: Sheet) -> QWidget:
    """The picture, small, and a button for all of it."""
    height, width, _ = found.pixels.shape
    pixmap = QPixmap.fromImage(QImage(found.pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
    small = QLabel()
    small.setPixmap(pixmap.scaledToWidth(_PICTURE_PX, Qt.TransformationMode.SmoothTransformation))
    named_for_all(small, "The image under each prompt")
    holder = _column(text(words.SHEET, role="faint"), small)
    holder.layout().addWidget(button("In its own window", lambda: _large(pixmap, holder), "The sheet at its full size"))
    return holder


# Over the scan ----------------------------------------------------------------------------------------------------------------


def map_over(sets: Sequence[PromptMaps], key: str, minus: str, placed: Placed, layer: Layer) -> Numbers:
    """One task's map, or its difference to another's on the same grid."""
    maps = next(maps for maps in sets if key in [task.key for task in maps.tasks])
    title = next(task.title for task in maps.tasks if task.key == key)
    if minus:
        values = maps.difference(key, minus)
        most = float(np.nanmax(np.abs(values))) or 1.0
        other = next(task.title for task in maps.tasks if task.key == minus)
        return cells(f"Prompt: {title} minus {other}", values, maps.affine, placed, layer, (-most, most), around_zero=True)
    limits = float(np.nanmin(maps.array)), float(np.nanmax(maps.array))
    return cells(f"Prompt: {title}", maps.of(key), maps.affine, placed, layer, limits)


def change_over(found: WhatIf, shown: str, placed: Placed, layer: Layer) -> Numbers | Masks:
    """One of ``prompt_words.LAYERS``."""
    title = found.before.task.title
    if shown == words.PROBABILITY:
        return voxels(f"Change of probability: {title}", found.probability_change, placed, layer)
    if shown == words.DIFFERENT:
        structures = {value: Label(name, color) for value, (name, color) in words.DIFFERENCES.items()}
        return masks(f"What changed: {title}", found.difference, structures, placed, layer)
    answer = found.before if shown == words.BEFORE else found.after
    return masks(f"{shown}: {title}", answer.labels, structures_of_task(answer.task), placed, layer)


def sensitivity_over(found: Saliency, placed: Placed, layer: Layer) -> Numbers:
    """The gradients."""
    most = float(np.nanmax(np.abs(found.array))) or 1.0
    return cells(f"Sensitivity: {found.structure}", found.array, found.affine, placed, layer, (-most, most), around_zero=True)


def legend(shown: Numbers | Masks | None) -> QWidget:
    """What the colours over the scan mean."""
    if shown is None:
        return QWidget()
    if isinstance(shown, Masks):
        return key({label.name: label.color for label in shown.structures.values()})
    return ramp(shown.limits, DIVERGING if shown.around_zero else VIRIDIS)


# Pieces -----------------------------------------------------------------------------------------------------------------------


def _stacks(found: PromptSet, most: float | None) -> QWidget:
    """The slices of each prompt beside its task. most: the end of the colours; None for each its own."""
    grid, holder = QGridLayout(), QWidget()
    for row, (task, prompt, numbers) in enumerate(zip(found.tasks, found.array, found.statistics().values(), strict=True)):
        end = most if most is not None else float(np.abs(prompt).max()) or 1.0
        picture, name = slices(prompt, (-end, end), DIVERGING), QLabel(task.title)
        name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        for column, widget in enumerate((name, picture)):
            widget.setToolTip(f"{task.title}: mean {numbers.mean:.3g}, standard deviation {numbers.std:.3g}, "
                              f"from {numbers.min:.3g} to {numbers.max:.3g}, length {numbers.norm:.3g}")  # fmt: skip
            grid.addWidget(widget, row, column)
    grid.setColumnStretch(0, 1)
    grid.setVerticalSpacing(3)
    grid.setContentsMargins(0, 0, 0, 0)
    holder.setLayout(grid)
    return holder


def _alike(found: PromptSet, what: str) -> list[QWidget]:
    """The two matrices of a set, one shown."""
    kind, views = QComboBox(), [MatrixView(found, one, f"How alike are {what}, by {one}") for one in ("correlation", "cosine")]
    kind.addItems([f"By correlation: {what}", f"By cosine: {what}"])
    kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    named_for_all(kind, "Measure of likeness")
    views[1].hide()
    kind.currentIndexChanged.connect(lambda at: [view.setVisible(i == at) for i, view in enumerate(views)])
    return [text(ALIKE, role="faint"), kind, *views]


def _table(rows: Sequence[ChangeRow]) -> QTableWidget:
    table = QTableWidget(len(rows), len(_HEADS))
    table.setHorizontalHeaderLabels(list(_HEADS))
    table.verticalHeader().hide()
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    named_for_all(table, "Before and after, ml")
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    for at, row in enumerate(rows):
        dice = "none" if row.dice is None else f"{row.dice:.3f}"
        for column, told in enumerate((row.structure, f"{row.before_ml:,.1f}", f"{row.after_ml:,.1f}", dice)):
            table.setItem(at, column, item := QTableWidgetItem(told))
            item.setToolTip(f"{row.structure}: mean probability {row.mean_change:+.4f}")
            item.setTextAlignment(
                Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft)
            )
        table.item(at, 0).setIcon(swatch(row.color))
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    table.setFixedHeight(table.horizontalHeader().sizeHint().height() + sum(table.rowHeight(i) for i in range(len(rows))) + 8)
    return table


def _column(*parts: QWidget) -> QWidget:
    holder = QWidget()
    box = QVBoxLayout(holder)
    box.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        box.addWidget(part)
    return holder


def _large(pixmap: QPixmap, parent: QWidget) -> None:
    dialog, area, picture = QDialog(parent), QScrollArea(), QLabel()
    dialog.setWindowTitle("Contact sheet")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    picture.setPixmap(pixmap)
    area.setWidget(picture)
    QVBoxLayout(dialog).addWidget(area)
    dialog.resize(min(1100, pixmap.width() + 60), min(750, pixmap.height() + 60))
    dialog.show()
