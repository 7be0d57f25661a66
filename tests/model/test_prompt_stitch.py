"""Window maps in one coarse volume: against the slow obvious version at full resolution, and with numbers known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from uniseg_model.prompts.stitch import Stitch
from uniseg_model.volume import Shape
from uniseg_model.windows import Layout

CELL = (2, 4, 4)
WINDOW = (4, 8, 12)


def slowly(layout: Layout, cell: Shape, maps: dict[Shape, np.ndarray]) -> np.ndarray:
    """Every map spread over its voxels, weighted, summed at full resolution; then weighted means over the cells."""
    n_maps = len(next(iter(maps.values())))
    padded = [n + before + after for n, (before, after) in zip(layout.shape, layout.pads, strict=True)]
    sums, weights = np.zeros((n_maps, *padded)), np.zeros(padded)
    for start, small in maps.items():
        place = tuple(slice(at, at + side) for at, side in zip(start, layout.window, strict=True))
        fine = small.repeat(cell[0], 1).repeat(cell[1], 2).repeat(cell[2], 3)
        sums[(slice(None), *place)] += fine * layout.weight
        weights[place] += layout.weight
    cells = [-(-n // side) for n, side in zip(padded, cell, strict=True)]
    out = np.empty((n_maps, *cells))
    for index in np.ndindex(*cells):
        box = tuple(slice(i * side, (i + 1) * side) for i, side in zip(index, cell, strict=True))
        out[(slice(None), *index)] = sums[(slice(None), *box)].sum((1, 2, 3)) / weights[box].sum()
    return out


@pytest.mark.parametrize("shape", [(4, 8, 12), (9, 17, 23), (3, 30, 5), (7, 8, 13), (20, 11, 41)])
def test_stitching_equals_the_slow_version_at_full_resolution(shape: Shape, rng: np.random.Generator) -> None:
    layout = Layout.over(shape, WINDOW)
    maps = {start: rng.normal(size=(3, 2, 2, 3)) for start in layout.starts}
    stitch = Stitch(layout, CELL, 3)
    for start, small in maps.items():
        stitch.add(start, small)
    np.testing.assert_allclose(stitch.means(), slowly(layout, CELL, maps), rtol=1e-5, atol=1e-6)


def test_a_constant_stitches_to_that_constant() -> None:
    layout = Layout.over((9, 17, 23), WINDOW)
    stitch = Stitch(layout, CELL, 1)
    for start in layout.starts:
        stitch.add(start, np.full((1, 2, 2, 3), 0.1, np.float32))
    assert (stitch.means() == np.float32(0.1)).all()


def test_a_lone_window_comes_back_as_it_is(rng: np.random.Generator) -> None:
    layout = Layout.over((3, 8, 12), WINDOW)
    small = rng.normal(size=(2, 2, 2, 3)).astype(np.float32)
    stitch = Stitch(layout, CELL, 2)
    stitch.add((0, 0, 0), small)
    assert np.array_equal(stitch.means(), small)


def test_two_windows_and_a_cell_between_them_by_hand() -> None:
    """Windows of 4 voxels with cells of 2 start at 0 and 3, all voxels count 1: cell 1 holds voxels 2 and 3, and voxel 3 belongs to
    both windows. 10 (twice, from the first window's second cell) and 30 (once, from the second's first): 50 / 3."""
    layout = Layout((7, 1, 1), (4, 1, 1), ((0, 0),) * 3, ((0, 0, 0), (3, 0, 0)))
    stitch = Stitch(layout, (2, 1, 1), 1)
    stitch._weight = np.ones((4, 1, 1), np.float32)
    stitch.add((0, 0, 0), np.array([20.0, 10.0]).reshape(1, 2, 1, 1))
    stitch.add((3, 0, 0), np.array([30.0, 40.0]).reshape(1, 2, 1, 1))
    np.testing.assert_allclose(stitch.means().ravel(), [20, 50 / 3, 35, 40], rtol=1e-6)


def test_a_ramp_over_the_image_stays_a_ramp() -> None:
    """Windows that start at multiples of a cell and each know their cells' places agree wherever they overlap."""
    layout = Layout.over((4, 8, 24), WINDOW, step=0.5)
    assert [start[2] for start in layout.starts] == [0, 6, 12]
    layout = Layout(layout.shape, WINDOW, layout.pads, ((0, 0, 0), (0, 0, 4), (0, 0, 12)))
    stitch = Stitch(layout, CELL, 1)
    for z, y, x in layout.starts:
        stitch.add((z, y, x), np.broadcast_to(x // 4 + np.arange(3.0), (1, 2, 2, 3)))
    assert (stitch.means() == np.arange(6, dtype=np.float32)).all()


def test_cells_without_a_window_hold_nothing() -> None:
    layout = Layout.over((4, 8, 24), WINDOW, step=1)
    one = layout.nearest((0, 0, 0))
    stitch = Stitch(one, CELL, 1)
    stitch.add(one.starts[0], np.ones((1, 2, 2, 3)))
    assert np.isnan(stitch.means()[..., 3:]).all()
    assert (stitch.means()[..., :3] == 1).all()
