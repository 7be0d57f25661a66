"""Take the README's pictures of the napari plugin: labels with their table, surfaces in 3D, two prompts side by side, a change of prompt.

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

from uniseg_app.napari_plugin.prompt_asked import EVERYWHERE
from uniseg_app.napari_plugin.prompts import PromptsPanel
from uniseg_app.napari_plugin.segment import SegmentPanel
from uniseg_app.prompt_words import CHANGE, IMAGE

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
    take_segment(viewer)
    viewer.layers.clear()
    viewer.open_sample("uniseg-app", "ct")
    take_prompts(viewer)
    viewer.close()


def take_segment(viewer: Any) -> None:
    """The Segment panel."""
    panel = SegmentPanel(viewer)
    dock = viewer.window.add_dock_widget(panel, name="Segment", area="right")
    rest(lambda: panel.is_idle)
    panel.tasks.tick(["liver", "kidney", "pancreas", "spleen", "vertebrae"])
    rest(lambda: panel.is_idle)
    panel.run.start.click()
    rest(lambda: panel.is_idle)
    panel._area.ensureWidgetVisible(panel.view)
    viewer.dims.set_point(0, viewer.layers[0].extent.world.mean(axis=0)[0])
    shoot(viewer, panel, "labels")
    panel.view.in_3d.click()
    shoot(viewer, panel, "3d")
    panel.view.in_3d.click()
    rest(lambda: panel.is_idle)
    panel.view._compare.expand(animate=False)
    panel.view.beside.click()
    viewer.theme = "light"
    rest(lambda: panel.is_idle)
    panel._area.ensureWidgetVisible(panel.view.beside)
    shoot(viewer, panel, "side-by-side")
    panel.view.beside.click()
    viewer.theme = "dark"
    viewer.window.remove_dock_widget(dock)


def take_prompts(viewer: Any) -> None:
    """The Prompts panel."""
    panel = PromptsPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Prompts", area="right")
    rest(lambda: panel.is_idle)
    panel.asked.view.setCurrentText(IMAGE)
    panel.run.start.click()
    rest(lambda: panel.is_idle)
    panel._area.ensureWidgetVisible(panel.shown)
    panel._area.verticalScrollBar().setValue(panel._area.verticalScrollBar().value() + 320)
    shoot(viewer, panel, "prompts")
    panel.asked.view.setCurrentText(CHANGE)
    panel.asked.other.setCurrentText("Spleen")
    panel.asked.region.setCurrentText(EVERYWHERE)
    panel.run.start.click()
    shoot(viewer, panel, "what-if")


if __name__ == "__main__":
    main()
