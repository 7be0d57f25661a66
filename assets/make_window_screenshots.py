"""Take the README's pictures of the napari plugin: labels with their table, surfaces in 3D, two prompts side by side.

    xvfb-run -a -s "-screen 0 1280x1024x24" python assets/make_window_screenshots.py

Opens the synthetic CT in a real viewer, presses the buttons, and writes ``napari-*.png`` beside this file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication

from uniseg_app.napari_plugin.segment import SegmentPanel

HERE = Path(__file__).parent
SIZE = (1280, 800)
DRAWN_S = 1.5


def rest(done: Callable[[], bool]) -> None:
    """Let the window work until that is so, and everything is drawn."""
    while not done():
        QApplication.processEvents()
        time.sleep(0.002)
    drawn_s = time.monotonic() + DRAWN_S
    while time.monotonic() < drawn_s:
        QApplication.processEvents()


def shoot(viewer: Any, panel: Any, name: str) -> None:
    """Write what is seen."""
    rest(lambda: panel.is_idle)
    picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(HERE / f"napari-{name}.png", optimize=True)


def main() -> None:
    """Take all."""
    viewer = napari.Viewer(title="UniSeg")
    viewer.window.resize(*SIZE)
    viewer.open_sample("uniseg-app", "ct")
    panel = SegmentPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Segment", area="right")
    rest(lambda: panel.is_idle)
    panel.tasks.tick(["liver", "kidney", "pancreas", "spleen", "vertebrae"])
    rest(lambda: panel.is_idle)
    panel.run.start.click()
    rest(lambda: panel.is_idle)
    viewer.theme = "dark"
    panel._area.ensureWidgetVisible(panel.view)
    panel.found.table.topLevelItem(0).setExpanded(True)
    viewer.dims.set_point(0, viewer.layers[0].extent.world.mean(axis=0)[0])
    shoot(viewer, panel, "labels")
    panel.view.in_3d.click()
    shoot(viewer, panel, "3d")
    panel.view.in_3d.click()
    rest(lambda: panel.is_idle)
    panel.view._compare.expand(animate=False)
    panel.view.beside.click()
    viewer.theme = "light"
    shoot(viewer, panel, "side-by-side")
    viewer.close()


if __name__ == "__main__":
    main()
