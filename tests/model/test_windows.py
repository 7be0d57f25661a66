"""Windows: starts, weights and padding, each with numbers one can check by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniseg_model.errors import OptionError
from uniseg_model.windows import Layout, constant_value, importance, nearest_first, padding, window_starts


def along(size: int, side: int, step: float = 0.5) -> list[int]:
    """Starts along one axis."""
    return [z for z, _, _ in window_starts((size, 1, 1), (side, 1, 1), step)]


@pytest.mark.parametrize(
    ("size", "side", "step", "starts"),
    [
        (182, 64, 0.5, [0, 30, 59, 88, 118]),  # seen in a run of the original: 29.5 -> 30, 88.5 -> 88
        (64, 64, 0.5, [0]),
        (65, 64, 0.5, [0, 1]),
        (96, 64, 0.5, [0, 32]),
        (97, 64, 0.5, [0, 16, 33]),  # 16.5 goes to the even 16
        (99, 64, 0.5, [0, 18, 35]),  # 17.5 goes to the even 18
        (128, 64, 0.5, [0, 32, 64]),
        (10, 4, 1.0, [0, 3, 6]),
        (8, 4, 1.0, [0, 4]),
        (6, 4, 0.25, [0, 1, 2]),
    ],
)
def test_starts_along_one_axis(size: int, side: int, step: float, starts: list[int]) -> None:
    assert along(size, side, step) == starts


def test_windows_come_with_z_outermost() -> None:
    assert window_starts((6, 4, 5), (4, 4, 4), 0.5) == [(0, 0, 0), (0, 0, 1), (2, 0, 0), (2, 0, 1)]


def test_a_grid_of_the_window_s_size_has_one_window() -> None:
    assert window_starts((64, 192, 192), (64, 192, 192)) == [(0, 0, 0)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(10, 60), st.integers(0, 200), st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]))
def test_windows_reach_both_ends_and_leave_no_gap(side: int, more: int, step: float) -> None:
    starts = along(side + more, side, step)
    assert starts[0] == 0
    assert starts[-1] == more
    assert all(0 < b - a <= math.ceil(side * step) for a, b in pairwise(starts))


@pytest.mark.parametrize("step", [0.0, -0.5, 1.01, math.nan])
def test_a_step_outside_its_range_is_refused(step: float) -> None:
    with pytest.raises(OptionError, match=rf"above 0 and at most 1, not {step:g}"):
        window_starts((8, 8, 8), (4, 4, 4), step)


@pytest.mark.parametrize(
    ("shape", "window", "voxels"),
    [
        ((64, 192, 192), (64, 192, 192), [(0, 0), (0, 0), (0, 0)]),
        ((100, 191, 189), (64, 192, 192), [(0, 0), (0, 1), (1, 2)]),
        ((1, 2, 4), (4, 4, 4), [(1, 2), (1, 1), (0, 0)]),
    ],
)
def test_padding_puts_the_odd_voxel_after(shape: tuple, window: tuple, voxels: list[tuple[int, int]]) -> None:
    assert padding(shape, window) == voxels


def slowly(window: tuple[int, int, int]) -> np.ndarray:
    """A Gaussian of sigma = side / 8 round side // 2, cut off at 4 sigma, voxel by voxel."""
    weights = np.zeros(window)
    for index in np.ndindex(window):
        weight = 1.0
        for i, side in zip(index, window, strict=True):
            sigma, distance = side / 8, abs(i - side // 2)
            weight *= math.exp(-(distance**2) / (2 * sigma**2)) if distance <= int(4 * sigma + 0.5) else 0.0
        weights[index] = weight
    return weights


@pytest.mark.parametrize("window", [(8, 8, 8), (6, 9, 16), (1, 4, 5), (2, 3, 24)])
def test_importance_is_a_gaussian_of_an_eighth_of_the_side(window: tuple[int, int, int]) -> None:
    weights = importance(window)
    assert weights.shape == window
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, slowly(window), rtol=1e-5)


@pytest.mark.parametrize("window", [(64, 192, 192), (8, 16, 32), (3, 5, 7)])
def test_importance_is_1_in_the_middle_and_nowhere_0(window: tuple[int, int, int]) -> None:
    weights = importance(window)
    assert weights.max() == 1
    assert np.unravel_index(weights.argmax(), window) == tuple(side // 2 for side in window)
    assert weights.min() > 0


def test_importance_by_hand() -> None:
    weights = importance((8, 8, 8))  # sigma is 1 voxel, the middle is voxel 4
    assert weights[4, 4, 5] == pytest.approx(math.exp(-0.5))
    assert weights[4, 5, 5] == pytest.approx(math.exp(-1))
    assert weights[0, 4, 4] == pytest.approx(math.exp(-8))


def test_nobody_can_change_the_shared_weights() -> None:
    with pytest.raises(ValueError, match="read-only"):
        importance((4, 4, 4))[0, 0, 0] = 1
    assert importance((4, 4, 4)) is importance((4, 4, 4))


def test_windows_near_a_voxel_come_first() -> None:
    """Windows of 4 every 2 over 10; their middles are at 2, 4, 6, 8."""
    starts = window_starts((10, 1, 1), (4, 1, 1))
    assert [z for z, _, _ in nearest_first(starts, (4, 1, 1), (8.5, 0, 0))] == [6, 4, 2, 0]
    assert [z for z, _, _ in nearest_first(starts, (4, 1, 1), (5, 0, 0))] == [2, 4, 0, 6]  # ties as they were


def test_distance_is_measured_in_window_sides() -> None:
    """One side away along z (8 voxels) is farther than half a side along y (2 voxels)."""
    starts = [(0, 0, 0), (8, 0, 0), (0, 2, 0)]
    assert nearest_first(starts, (8, 4, 4), (4, 2, 2)) == [(0, 0, 0), (0, 2, 0), (8, 0, 0)]


@pytest.mark.parametrize("shape", [(5, 12, 3), (9, 8, 20), (8, 8, 8)])
def test_a_window_is_cut_as_from_the_padded_array(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    array, layout = rng.normal(size=(2, *shape)).astype(np.float32), Layout.over(shape, (8, 8, 8))
    padded = np.pad(array, [(0, 0), *layout.pads])
    for start in layout.starts:
        place = tuple(slice(at, at + 8) for at in start)
        np.testing.assert_array_equal(layout.cut(array, start), padded[(slice(None), *place)])


def test_a_window_is_constant_only_if_every_bit_is() -> None:
    window = np.full((2, 9, 9, 9), -0.0, np.float32)
    assert constant_value(window) == np.array([-0.0, -0.0], np.float32).tobytes()
    window[1] = 3
    assert constant_value(window) == np.array([-0.0, 3], np.float32).tobytes()
    window[0, 8, 7, 3] = 0.0  # equal, but for its sign
    assert constant_value(window) is None


def test_windows_with_too_little_body_are_left_out_and_the_middle_counts_most() -> None:
    """Windows of 8 side by side. One has a body of two planes at its rim, one of two planes in its middle, one none."""
    array, layout = np.zeros((1, 8, 8, 24), np.float32), Layout.over((8, 8, 24), (8, 8, 8), 1.0)
    array[..., 0:2] = 0.3
    array[..., 11:13] = -0.3
    planes = importance((8, 8, 8)).sum(axis=(0, 1), dtype=np.float64)
    rim, middle = planes[0:2].sum() / planes.sum(), planes[3:5].sum() / planes.sum()
    assert 0 < rim < 0.01 < 0.5 < middle
    assert layout.with_body(array, 0) is layout
    assert [start[2] for start in layout.with_body(array, rim * 0.99).starts] == [0, 8]
    assert [start[2] for start in layout.with_body(array, rim * 1.01).starts] == [8]
    assert [start[2] for start in layout.with_body(array, middle * 1.01).starts] == []
