"""Take the README's pictures of the napari plugin: labels with their table, surfaces in 3D, two prompts side by side, a change of prompt,
a training.

    xvfb-run -a -s "-screen 0 1280x1024x24" python assets/make_window_screenshots.py

Opens the synthetic CT in a real viewer, presses the buttons, and writes ``napari-*.png`` beside this file. The training is a real one, of a
task that the demo weights were never taught, and takes some minutes. A name or several (segment, prompts, train) take these only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication

from uniseg_app.commands import make_phantoms
from uniseg_app.napari_plugin.prompt_asked import EVERYWHERE
from uniseg_app.napari_plugin.prompts import PromptsPanel
from uniseg_app.napari_plugin.segment import SegmentPanel
from uniseg_app.napari_plugin.train import TrainPanel
from uniseg_app.own_data import my_data_folder
from uniseg_app.prompt_words import CHANGE, IMAGE
from uniseg_app.run_watch import REMOVE

HERE = Path(__file__).parent
SIZE = (1280, 800)
DRAWN_S = 1.5
FIRST_SEED = 3000  # of no phantom that the demo weights were trained on
TRAINED_MIN = 4


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
    takes = {"segment": take_segment, "prompts": take_prompts, "train": take_train}
    with tempfile.TemporaryDirectory() as place:
        os.environ["UNISEG_SETTINGS"] = str(Path(place) / "settings.toml")
        for name in sys.argv[1:] or takes:
            viewer.layers.clear()
            viewer.open_sample("uniseg-app", "ct")
            takes[name](viewer)
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
    dock = viewer.window.add_dock_widget(panel, name="Prompts", area="right")
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
    viewer.window.remove_dock_widget(dock)


def take_train(viewer: Any) -> None:
    """The Train panel, on the ribs of six patients."""
    panel = TrainPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Train", area="right")
    rest(lambda: panel.is_idle)
    folder = my_data_folder() / "ribs"
    make_phantoms(["ribs"], folder, 6, FIRST_SEED)
    panel.data.choose(folder)
    panel.how.settings.setPlainText("epoch = 10")
    rest(lambda: panel.is_idle)
    panel.how.minutes.setValue(TRAINED_MIN)
    rest(lambda: panel.is_idle)
    shoot(viewer, panel, "train-data")
    panel.how.start.click()
    rest(lambda: not panel.runs.buttons[REMOVE].isHidden())  # it has ended
    panel._area.ensureWidgetVisible(panel.runs.note)
    shoot(viewer, panel, "train")


if __name__ == "__main__":
    main()
