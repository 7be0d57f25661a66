"""Tests of the window: a real viewer on a screen without a monitor, the real demo network on a small synthetic patient."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from window import LONG_MS, rest, tick

from uniseg_model import Options, Segmentation, load_model
from uniseg_model.phantom import Phantom, make_phantom
from uniseg_model.volume import Volume

HERE = Path(__file__).parent
HAS_SCREEN = bool(os.environ.get("DISPLAY") or shutil.which("Xvfb"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where there is no screen, say so."""
    if HAS_SCREEN and config.pluginmanager.hasplugin("napari"):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(
                pytest.mark.skip(reason="no screen here: the window needs Xvfb and the libraries that the Makefile names")
            )


@pytest.fixture(scope="session")
def patient() -> Phantom:
    """A synthetic CT of the trunk that takes one window."""
    return make_phantom("liver", 7, shape=(32, 48, 56), spacing_mm=(5.0, 5.0, 5.0))


@pytest.fixture(scope="session")
def ct(patient: Phantom) -> Volume:
    """Its image."""
    return patient.volume


@pytest.fixture(scope="session")
def tall_ct() -> Volume:
    """One that takes three windows, and two where they stand 0.75 of their side apart."""
    return make_phantom("liver", 7, shape=(56, 48, 56), spacing_mm=(5.0, 5.0, 5.0)).volume


@pytest.fixture
def plugin(npe2pm: Any, plugin_settings: None) -> None:
    """The plugin as napari finds it, with preferences of its own."""
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("uniseg-app"))


@pytest.fixture
def viewer(plugin: None, make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    """What a panel is given."""
    return make_napari_viewer_proxy()


@pytest.fixture
def add(viewer: Any) -> Callable[..., list[Any]]:
    """Put a volume among the layers, as the reader does."""
    from napari.layers import Layer

    from uniseg_app.napari_plugin.reader import image_layers

    def added(volume: Volume, name: str = "ct", channel_names: tuple[str, ...] = ()) -> list[Any]:
        return [viewer.add_layer(Layer.create(*data)) for data in image_layers(volume, name, channel_names)]

    return added


@pytest.fixture(scope="session")
def answers(ct: Volume) -> dict[str, Segmentation]:
    """What the demo network finds in the small patient."""
    keys = ["liver", "spleen"]
    return dict(zip(keys, load_model(device="cpu").open(ct).segment(keys, Options(confidence=True)), strict=True))


@pytest.fixture
def show_found(panel: Any, add: Any, ct: Volume, answers: dict[str, Segmentation], qtbot: Any) -> Callable[..., list[Any]]:
    """Put answers into the viewer as the end of a run does, without computing them again."""
    from uniseg_app.napari_plugin.results import Growing, display_like, made_ready
    from uniseg_app.napari_plugin.world import Placed

    def shown(*keys: str) -> list[Any]:
        [image] = add(ct)
        placed = Placed.of(ct)
        ready = made_ready([answers[key] for key in keys], placed, [])
        panel.results.finish(Growing(placed, display_like(image), image.name), ready, lambda: None)
        qtbot.waitUntil(lambda: len(panel.results.layers()) == len(keys) and panel.results.can_undo, timeout=LONG_MS)
        rest(qtbot, panel)
        return panel.results.layers()[::-1]

    return shown


@pytest.fixture
def panel(viewer: Any, qtbot: Any) -> Iterator[Any]:
    """The Segment panel, docked, its weights loaded."""
    from uniseg_app.napari_plugin.segment import SegmentPanel

    made = SegmentPanel(viewer)
    viewer.window.add_dock_widget(made, name="Segment")
    rest(qtbot, made)
    return made


@pytest.fixture
def settled(qtbot: Any) -> Callable[[Any], None]:
    """The same, as a fixture."""
    return lambda panel: rest(qtbot, panel)


@pytest.fixture
def segment(qtbot: Any) -> Callable[..., None]:
    """Tick tasks, press the button, wait."""
    from qtpy.QtCore import Qt

    def pressed(panel: Any, *keys: str) -> None:
        rest(qtbot, panel)
        tick(panel, *keys)
        rest(qtbot, panel)
        qtbot.mouseClick(panel.run.start, Qt.MouseButton.LeftButton)
        rest(qtbot, panel)

    return pressed
