"""Resampling equals scikit-image's resize as the original calls it; the slow obvious version stands here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from uniseg_model import resample
from uniseg_model.resample import coarse_axis, nearest_indices, resample_image, restored_slabs, slabs, spline_matrix

Shape = tuple[int, int, int]
SIDES = st.tuples(*[st.integers(1, 14)] * 3)
SEED = st.integers(0, 2**32 - 1)


def resized(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    """The original's call."""
    return resize(array.astype(np.float64), shape, order=order, mode="edge", clip=True, anti_aliasing=False)


def nearest_along(array: np.ndarray, n: int, axis: int) -> np.ndarray:
    """The original's call for the coarse axis: order 0 at half-pixel centres."""
    shape = tuple(n if i == axis else side for i, side in enumerate(array.shape))
    places = np.indices(shape).astype(float)
    places[axis] = array.shape[axis] / n * (places[axis] + 0.5) - 0.5
    return ndimage.map_coordinates(array, places, order=0, mode="nearest")


def slowly(array: np.ndarray, shape: Shape, apart: int | None, order: int) -> np.ndarray:
    """One channel or class as the original resamples it."""
    if array.shape == shape:
        return array
    if apart is None:
        return resized(array, shape, order).astype(np.float32)
    plane = [side for axis, side in enumerate(shape) if axis != apart]
    slices = [resized(one, tuple(plane), order).astype(np.float32) for one in np.moveaxis(array, apart, 0)]
    stack = np.stack(slices, axis=apart)
    return stack if stack.shape == shape else nearest_along(stack, shape[apart], apart)


def restored(probabilities: np.ndarray, shape: Shape, apart: int | None) -> np.ndarray:
    """All slabs put together."""
    whole = np.full((len(probabilities), *shape), np.nan, np.float32)
    for rows, values in restored_slabs(probabilities, shape, apart):
        assert values.dtype == np.float32
        assert np.isnan(whole[:, rows]).all(), "a row came twice"
        whole[:, rows] = values
    assert not np.isnan(whole).any(), "a row is missing"
    return whole


def noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def chances(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities that sum to 1 over the first axis."""
    values = np.random.default_rng(seed).random(shape).astype(np.float32)
    return values / values.sum(axis=0)


# The coarse axis -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacings_mm", "axis"),
    [
        ([(1, 1, 1)], None),
        ([(3, 1, 1)], None),  # 3 is not more than 3
        ([(3.0001, 1, 1)], 0),
        ([(1, 5, 1.5)], 1),
        ([(1, 1.5, 5)], 2),
        ([(5, 1, 5)], None),  # two equally coarse
        ([(5, 1, 4.9999)], 0),  # one is coarser
        ([(5, 1, 1), (1, 1, 9)], 0),  # the original spacing counts first
        ([(2, 1, 1), (1, 1, 9)], 2),  # then the target
        ([(5, 5, 1), (9, 1, 1)], None),  # a tie in the first is not mended by the second
        ([(3, 1, 1), (8, 4, 4)], None),
    ],
)
def test_the_axis_more_than_3_times_coarser_stands_apart(spacings_mm: list, axis: int | None) -> None:
    assert coarse_axis(*spacings_mm) == axis


# Nearest samples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "indices"),
    [
        (2, 2, [0, 1]),
        (2, 4, [0, 0, 1, 1]),
        (4, 2, [1, 3]),  # centres at 0.5 and 2.5 go up
        (3, 2, [0, 2]),  # centres at 0.25 and 1.75
        (6, 3, [1, 3, 5]),
        (1, 3, [0, 0, 0]),
        (3, 1, [1]),
        (2, 1, [1]),  # the centre at 0.5 goes up
    ],
)
def test_nearest_by_hand_half_way_goes_up(n: int, m: int, indices: list[int]) -> None:
    assert nearest_indices(n, m).tolist() == indices


def test_nearest_equals_the_original_s_order_0_for_all_small_lengths() -> None:
    for n in range(1, 41):
        for m in range(1, 61):
            expected = nearest_along(np.arange(n, dtype=np.float32), m, 0)
            assert nearest_indices(n, m).tolist() == expected.tolist(), (n, m)


def test_what_rounding_makes_of_half_way_is_the_original_s() -> None:
    assert nearest_indices(200, 167)[83] == 99  # 200 / 167 * 83.5 - 0.5 is 99.5, and in float64 the number before it
    for n, m in ((200, 167), (167, 200), (512, 341), (331, 290), (97, 313)):
        expected = nearest_along(np.arange(n, dtype=np.float32), m, 0)
        assert nearest_indices(n, m).tolist() == expected.tolist(), (n, m)


# Images ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED)
@example((1, 1, 1), (3, 3, 3), 1)
@example((1, 7, 9), (4, 1, 9), 2)
@example((5, 1, 6), (5, 6, 1), 3)
@example((12, 12, 12), (1, 1, 1), 4)
def test_an_image_equals_the_original_s(old: Shape, new: Shape, seed: int) -> None:
    image = noise(seed, old)
    got = resample_image(image, new, None)
    assert got.shape == new
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slowly(image, new, None, 3), rtol=0, atol=1e-6)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED, st.integers(0, 2))
@example((5, 4, 4), (5, 7, 3), 1, 0)  # only the planes change
@example((5, 4, 4), (9, 4, 4), 2, 0)  # only the coarse axis changes
@example((1, 5, 6), (4, 7, 8), 3, 0)
@example((6, 1, 5), (7, 1, 8), 4, 1)
def test_an_image_resampled_slice_by_slice_equals_the_original_s(old: Shape, new: Shape, seed: int, apart: int) -> None:
    image = noise(seed, old)
    got = resample_image(image, new, apart)
    assert got.shape == new
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slowly(image, new, apart, 3), rtol=0, atol=1e-6)


def test_a_ct_sized_step_is_bit_equal(rng: np.random.Generator) -> None:
    image = (rng.standard_normal((20, 40, 30)) * 500).astype(np.float32)
    assert np.array_equal(resample_image(image, (15, 27, 41), None), slowly(image, (15, 27, 41), None, 3))


@pytest.mark.parametrize("apart", [None, 0, 1, 2])
def test_a_constant_image_stays_constant(apart: int | None) -> None:
    image = np.full((4, 5, 6), -1000.125, np.float32)
    assert np.array_equal(resample_image(image, (7, 3, 11), apart), np.full((7, 3, 11), -1000.125, np.float32))


@pytest.mark.parametrize("apart", [None, 0])
def test_an_unchanged_shape_gives_the_image_itself(apart: int | None) -> None:
    image = noise(1, (3, 4, 5))
    assert resample_image(image, (3, 4, 5), apart) is image


def test_a_cubic_overshoot_is_clipped_to_the_whole_image_or_to_the_slice() -> None:
    image = np.zeros((2, 8, 8), np.float32)
    image[0, 4:, :] = 1  # a step, which a cubic overshoots
    image[1] = 5
    whole = resample_image(image, (2, 16, 16), None)
    by_slice = resample_image(image, (2, 16, 16), 0)
    assert whole[0].max() > 1.01  # the other slice's 5 allows it
    assert by_slice[0].max() == 1
    assert whole.min() == by_slice.min() == 0
    assert np.array_equal(by_slice[1], np.full((16, 16), 5, np.float32))


def test_the_input_is_left_alone(rng: np.random.Generator) -> None:
    image = noise(2, (4, 5, 6))
    before = image.copy()
    resample_image(image, (6, 5, 4), None)
    resample_image(image, (6, 5, 4), 1)
    assert np.array_equal(image, before)


def test_a_turned_view_gives_the_same_as_a_copy() -> None:
    image = noise(3, (6, 5, 4)).transpose(2, 0, 1)[::-1]
    for apart in (None, 0, 1, 2):
        assert np.array_equal(resample_image(image, (7, 9, 8), apart), resample_image(image.copy(), (7, 9, 8), apart))


@pytest.mark.parametrize("apart", [None, 0, 1, 2])
def test_small_slabs_give_the_same_image_as_one(apart: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(4, (11, 12, 13))
    at_once = resample_image(image, (14, 9, 17), apart)
    monkeypatch.setattr(resample, "_SLAB_VOXELS", 700)
    np.testing.assert_allclose(resample_image(image, (14, 9, 17), apart), at_once, rtol=0, atol=5e-7)


# Probabilities ---------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED)
@example((1, 1, 1), (3, 3, 3), 1)
@example((4, 5, 6), (4, 9, 6), 2)
def test_probabilities_equal_the_original_s(old: Shape, new: Shape, seed: int) -> None:
    probabilities = chances(seed, (3, *old))
    expected = np.stack([slowly(one, new, None, 1) for one in probabilities])
    np.testing.assert_allclose(restored(probabilities, new, None), expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED, st.integers(0, 2))
@example((5, 4, 4), (9, 4, 4), 2, 0)
@example((5, 4, 4), (5, 7, 3), 1, 0)
def test_probabilities_restored_slice_by_slice_equal_the_original_s(old: Shape, new: Shape, seed: int, apart: int) -> None:
    probabilities = chances(seed, (2, *old))
    expected = np.stack([slowly(one, new, apart, 1) for one in probabilities])
    np.testing.assert_allclose(restored(probabilities, new, apart), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("apart", [None, 0, 2])
def test_an_unchanged_shape_gives_the_probabilities_own_bits(apart: int | None) -> None:
    probabilities = chances(5, (3, 4, 5, 6))
    assert np.array_equal(restored(probabilities, (4, 5, 6), apart), probabilities)


@pytest.mark.parametrize("voxels", [1, 700, 3000])
@pytest.mark.parametrize("apart", [None, 0, 1, 2])
def test_small_slabs_give_the_same_probabilities_as_one(
    apart: int | None, voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities = chances(6, (3, 7, 8, 9))
    at_once = restored(probabilities, (15, 6, 11), apart)
    monkeypatch.setattr(resample, "_SLAB_VOXELS", voxels)
    # The order of a float64 sum may depend on the slab, so one float32 in a thousand rounds the other way.
    np.testing.assert_allclose(restored(probabilities, (15, 6, 11), apart), at_once, rtol=0, atol=6e-8)


def test_halves_and_doubles_by_hand() -> None:
    line = np.array([0, 1], np.float32).reshape(1, 2, 1, 1)
    assert restored(line, (4, 1, 1), None).ravel().tolist() == [0, 0.25, 0.75, 1]  # centres at -0.25, 0.25, 0.75, 1.25
    assert restored(line, (1, 1, 1), None).ravel().tolist() == [0.5]
    assert restored(line, (4, 1, 1), 0).ravel().tolist() == [0, 0, 1, 1]


# Parts -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("n", "m"), [(1, 4), (5, 1), (7, 12), (12, 7), (59, 60)])
def test_rows_of_a_matrix_sum_to_1(n: int, m: int, order: int) -> None:
    matrix = spline_matrix(n, m, order)
    assert matrix.shape == (m, n)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 2


@pytest.mark.parametrize(
    ("length", "voxels_a_row", "parts"),
    [
        (5, 500_000, [slice(0, 2), slice(2, 4), slice(4, 5)]),
        (3, 2_250_000, [slice(0, 1), slice(1, 2), slice(2, 3)]),  # one row at least
        (3, 0, [slice(0, 3)]),
    ],
)
def test_slabs_are_as_many_rows_as_are_worked_on_at_once(length: int, voxels_a_row: int, parts: list[slice]) -> None:
    assert list(slabs(length, voxels_a_row)) == parts


@pytest.mark.parametrize(
    ("shape", "new"), [((9, 150, 20), (7, 140, 11)), ((9, 150, 20), (12, 150, 11)), ((9, 70, 20), (9, 200, 30))]
)
def test_a_large_image_in_parts_is_the_same_image(
    shape: tuple[int, int, int], new: tuple[int, int, int], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = rng.normal(0, 300, shape).astype(np.float32)
    whole = resample_image(image, new, None)
    monkeypatch.setattr("uniseg_model.resample._FLAT_VOXELS", 1)  # one band of 64 rows at a time
    np.testing.assert_array_equal(resample_image(image, new, None), whole)
