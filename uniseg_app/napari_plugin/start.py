"""napari with the Segment panel open, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import napari

from uniseg_app.napari_plugin.preferences import PLUGIN


def start(images: Sequence[Path]) -> None:
    """Open the images and the panel; returns when the window is closed.

    Raises:
        UniSegError: an image cannot be read.
    """
    viewer = napari.Viewer(title="UniSeg")
    if images:
        viewer.open([str(path) for path in images], plugin=PLUGIN)
    viewer.window.add_plugin_dock_widget(PLUGIN, "Segment")
    napari.run()
