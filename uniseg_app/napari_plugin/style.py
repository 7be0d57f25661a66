"""How the panels look in napari's dark and light themes: roles of words, set as a property.

Greys are see-through, so that they fit both themes; palette() knows nothing of napari's.
"""

from __future__ import annotations

STYLE = """
QLabel[role="notice"] { font-weight: bold; }
QLabel[role="faint"] { font-size: 11px; }
QLabel[role="warning"] { border-left: 3px solid #E69F00; padding-left: 6px; }
QLabel[role="trouble"] { border-left: 3px solid #D55E00; padding-left: 6px; font-weight: bold; }
QLabel[role="hint"] { border-left: 3px solid #D55E00; padding-left: 6px; }
QPushButton[role="primary"] { font-weight: bold; padding: 6px; background-color: #0072B2; color: white; }
QPushButton[role="primary"]:hover { background-color: #1a82bd; }
QPushButton[role="primary"]:disabled { background-color: rgba(128, 128, 128, 70); color: rgba(128, 128, 128, 255); }
QTreeView::indicator { width: 12px; height: 12px; border: 1px solid #8a93a0; border-radius: 2px; background: transparent; }
QTreeView::indicator:checked { background-color: #0072B2; border-color: #56B4E9; image: none; }
QTreeView::indicator:disabled { border-color: rgba(128, 128, 128, 90); }
QToolButton { padding: 2px 4px; border: 1px solid rgba(128, 128, 128, 120); border-radius: 3px; }
QToolButton:checked { background-color: #0072B2; color: white; }
QToolButton:focus, QPushButton:focus { border: 1px solid #56B4E9; }
"""
