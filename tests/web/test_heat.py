"""Numbers as colours over the scan: which level a number gets, and that a cell lies where it lies in the patient."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gradio")

from uniseg_app.web_demo.heat import cells_heat, change_heat, levels_of
from uniseg_model.volume import Volume

AFFINE = np.array([[0, 0, 2.0, -4], [0, 2.0, 0, 0], [2.0, 0, 0, 10], [0, 0, 0, 1.0]])  # 2 mm, RAS


def test_levels_run_from_1_to_254_and_nothing_is_0() -> None:
    values = np.array([-9.0, 0.0, 0.5, 1.0, 9.0, np.nan])
    assert levels_of(values, 0.0, 1.0).tolist() == [1, 1, 127, 254, 254, 0]


def test_every_voxel_has_the_color_of_its_cell_and_none_beyond() -> None:
    """Cells of 2 x 3 x 2 voxels; the last two planes of the copy lie beyond them."""
    copy = Volume(np.ones((1, 6, 6, 4), np.float32), AFFINE)
    to_voxel = np.diag([2.0, 3.0, 2.0, 1.0])
    to_voxel[:3, 3] = [0.5, 1.0, 0.5]  # the middle of the first cell
    cells = np.arange(8.0).reshape(2, 2, 2)
    heat = cells_heat("prompt", cells, AFFINE @ to_voxel, copy, (0.0, 7.0))
    wanted = levels_of(np.kron(cells, np.ones((2, 3, 2))), 0.0, 7.0)
    np.testing.assert_array_equal(heat.levels[:4], wanted)
    assert not heat.levels[4:].any()


def test_the_exact_numbers_go_along_with_where_they_are() -> None:
    copy = Volume(np.ones((1, 4, 4, 4), np.float32), AFFINE)
    cells = np.array([[[1.23456, np.nan]]])
    exact = cells_heat("prompt", cells, AFFINE, copy, (0.0, 2.0)).exact
    assert exact is not None
    assert exact["cells"] == [1.235, None]
    place = np.array(exact["to_cells"]) @ [-2.0, 0.0, 10.0, 1.0]  # right, anterior, superior of the second cell
    np.testing.assert_allclose(place, [0, 0, 1])


def test_what_hardly_changed_is_clear() -> None:
    copy = Volume(np.ones((1, 2, 2, 4), np.float32), AFFINE)
    heat = change_heat("change", np.tile(np.float32([-0.5, 0.0, -0.009, 0.25]), (2, 2, 1)), copy)
    assert heat.levels[1, 1].tolist() == [1, 0, 0, 191]  # (0.25 + 0.5) of 253 steps, counted from 1
    assert (heat.low, heat.high) == (-0.5, 0.5)
    colors = heat.colors()
    assert colors["A"] == [0, *[255] * 254]
    assert len(colors["R"]) == 255
