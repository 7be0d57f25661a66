"""What tests do in the window: press, tick, wait, read."""

from __future__ import annotations

from typing import Any

LONG_MS = 120_000


def rest(qtbot: Any, panel: Any) -> None:
    """Wait until a panel has nothing left to do."""
    qtbot.waitUntil(lambda: panel.is_idle, timeout=LONG_MS)


def tick(panel: Any, *keys: str) -> None:
    """Tick these tasks and no others, as with the mouse."""
    from qtpy.QtCore import Qt

    for item in panel.tasks.items():
        wanted = item.data(0, Qt.ItemDataRole.UserRole) in keys
        item.setCheckState(0, Qt.CheckState.Checked if wanted else Qt.CheckState.Unchecked)


def click(qtbot: Any, button: Any) -> None:
    """Press a button with the mouse."""
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def words(widget: Any) -> str:
    """Everything a widget says now."""
    from qtpy.QtWidgets import QLabel

    return "\n".join(label.text() for label in widget.findChildren(QLabel) if not label.isHidden())
