"""How one can look: planes that are radiological, windows, surfaces in 3D, two answers side by side or faded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels, Surface
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton
from window import LONG_MS, click, tick

from uniseg_model.volume import Volume

Layers = Callable[..., list[Any]]
Settled = Callable[[Any], None]


def press(qtbot: Any, panel: Any, words: str) -> None:
    [button] = [one for one in panel.view.findChildren(QToolButton) if one.text() == words]
    click(qtbot, button)


@pytest.fixture
def pair(show_found: Callable[..., list[Labels]]) -> tuple[Labels, Labels]:
    """The layers of liver and spleen."""
    liver, spleen = show_found("liver", "spleen")
    return liver, spleen


@pytest.mark.parametrize(("plane", "sliced"), [("Axial", 0), ("Coronal", 1), ("Sagittal", 2)])
def test_each_plane_slices_its_axis(
    viewer: Any, panel: Any, add: Layers, settled: Settled, ct: Volume, plane: str, sliced: int, qtbot: Any
) -> None:
    add(ct)
    settled(panel)
    press(qtbot, panel, plane)
    assert viewer.dims.ndisplay == 2
    assert viewer.dims.not_displayed == (sliced,)
    rows, columns = viewer.dims.displayed
    assert (rows, columns) == {0: (1, 2), 1: (0, 2), 2: (0, 1)}[sliced]  # head or front up, right or front on the left


def test_a_window_changes_what_is_black_and_white_and_no_voxel(
    viewer: Any, panel: Any, add: Layers, settled: Settled, ct: Volume
) -> None:
    [image] = add(ct)
    settled(panel)
    before = np.array(image.data)
    panel.view.grey.setCurrentText("Lung")
    panel.view.grey.activated.emit(panel.view.grey.currentIndex())
    assert tuple(image.contrast_limits) == (-1350.0, 150.0)
    np.testing.assert_array_equal(image.data, before)


def test_the_window_of_a_ticked_task_comes_first(panel: Any, add: Layers, settled: Settled, ct: Volume) -> None:
    add(ct)
    settled(panel)
    assert panel.view.grey.itemText(0) == "Soft tissue"
    tick(panel, "lung")
    settled(panel)
    assert panel.view.grey.itemText(0) == "Lung tumour"


def test_surfaces_stand_for_the_structures_and_go_away_again(
    viewer: Any, panel: Any, pair: tuple[Labels, Labels], settled: Settled, qtbot: Any
) -> None:
    viewer.dims.set_current_step(0, 5)
    place = viewer.dims.point
    press(qtbot, panel, "3D")
    settled(panel)
    surfaces = {layer.name: layer for layer in viewer.layers if isinstance(layer, Surface)}
    assert set(surfaces) == {"liver (3D)", "liver tumour (3D)", "spleen (3D)"}
    assert viewer.dims.ndisplay == 3
    assert [layer.visible for layer in viewer.layers if not isinstance(layer, Surface)] == [False, False, False]
    inside = np.argwhere(np.asarray(pair[1].data) == 1)
    low, high = pair[1].data_to_world(inside.min(axis=0) - 1), pair[1].data_to_world(inside.max(axis=0) + 1)
    vertices = surfaces["spleen (3D)"].vertices
    assert (vertices.min(axis=0) >= low).all()
    assert (vertices.max(axis=0) <= high).all()
    np.testing.assert_allclose(viewer.scene.camera.view_direction, (0, 1, 0), atol=1e-6)  # from the front
    np.testing.assert_allclose(viewer.scene.camera.up_direction, (-1, 0, 0), atol=1e-6)  # the head up
    press(qtbot, panel, "3D")
    assert viewer.dims.ndisplay == 2
    settled(panel)
    assert viewer.dims.point == place
    assert not [layer for layer in viewer.layers if isinstance(layer, Surface)]
    assert all(layer.visible for layer in viewer.layers)


def test_3d_can_be_left_before_all_surfaces_have_come(
    viewer: Any, panel: Any, pair: tuple[Labels, Labels], settled: Settled, qtbot: Any
) -> None:
    press(qtbot, panel, "3D")
    qtbot.waitUntil(lambda: viewer.dims.ndisplay == 3, timeout=LONG_MS)
    press(qtbot, panel, "3D")
    settled(panel)
    assert not [layer for layer in viewer.layers if isinstance(layer, Surface)]
    assert all(layer.visible for layer in viewer.layers)


def test_in_3d_the_table_shows_and_hides_surfaces(
    viewer: Any, panel: Any, pair: tuple[Labels, Labels], settled: Settled, qtbot: Any
) -> None:
    press(qtbot, panel, "3D")
    settled(panel)
    [item] = panel.found.table.findItems("spleen", Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    item.setCheckState(0, Qt.CheckState.Unchecked)
    [spleen] = [layer for layer in viewer.layers if layer.name == "spleen (3D)"]
    assert not spleen.visible
    assert pair[1].colormap.color_dict[1][3] == 1  # its labels are as they were


def test_without_an_answer_there_is_nothing_in_3d(
    viewer: Any, panel: Any, add: Layers, settled: Settled, ct: Volume, qtbot: Any
) -> None:
    add(ct)
    settled(panel)
    press(qtbot, panel, "3D")
    assert "There is no structure to show" in panel.view._said.text()
    assert not panel.view.in_3d.isChecked()
    assert viewer.dims.ndisplay == 2


def test_two_answers_stand_side_by_side_each_on_the_image(
    viewer: Any, panel: Any, pair: tuple[Labels, Labels], qtbot: Any
) -> None:
    before = {layer: layer.visible for layer in viewer.layers}
    active = viewer.layers.selection.active
    panel.view.beside.click()
    grid = viewer.canvas.grid
    assert grid.enabled
    assert grid.actual_shape(viewer.layers) == (1, 2)
    left, right = ([viewer.layers[i] for i in grid.contents_at((0, column), viewer.layers)] for column in (0, 1))
    assert [type(getattr(layer, "__wrapped__", layer)) for layer in left] == [Image, Labels]
    assert left[1].data is panel.view.left.currentData().data
    assert right[1].data is panel.view.right.currentData().data
    assert not left[1].editable
    assert viewer.layers.selection.active == active
    panel.view.beside.click()
    assert not grid.enabled
    assert {layer: layer.visible for layer in viewer.layers} == before


def test_one_answer_fades_into_the_other(panel: Any, pair: tuple[Labels, Labels]) -> None:
    left, right = panel.view.left.currentData(), panel.view.right.currentData()
    panel.view.fade.setValue(0)
    assert (left.opacity, right.opacity) == (pytest.approx(0.7), 0)
    panel.view.fade.setValue(20)
    assert (left.opacity, right.opacity) == (0, pytest.approx(0.7))


def test_two_different_answers_are_offered_for_comparison(panel: Any, pair: tuple[Labels, Labels]) -> None:
    assert {panel.view.left.currentData(), panel.view.right.currentData()} == set(pair)


def test_an_answer_cannot_be_compared_with_itself(viewer: Any, panel: Any, pair: tuple[Labels, Labels]) -> None:
    panel.view.right.setCurrentIndex(panel.view.left.currentIndex())
    panel.view.beside.click()
    assert "Choose two different answers" in panel.view._said.text()
    assert not viewer.canvas.grid.enabled
