"""Metrics against numbers by hand, against a slow oracle, and at their edges."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial import KDTree

from uniseg_model.errors import GeometryError, MissingPackageError, OptionError
from uniseg_model.evaluation import DEFINITIONS, dice, hd95_mm, surface_dice, volume_error_percent
from uniseg_model.evaluation.metrics import Mask, union_box
from uniseg_model.volume import Triple

EMPTY = np.zeros((12, 12, 12), dtype=bool)
SPACING: Triple = (5.0, 0.7, 0.8)
METRICS: dict[str, Callable[[Mask, Mask], float]] = {
    "dice": dice,
    "hd95_mm": lambda a, b: hd95_mm(a, b, SPACING),
    "surface_dice": lambda a, b: surface_dice(a, b, SPACING, 2.0),
    "volume_error_percent": volume_error_percent,
}

masks = arrays(bool, (4, 5, 6))
spacings = st.tuples(*[st.floats(0.25, 6.0)] * 3)


def cube(z: int = 3, y: int = 3, x: int = 3, *, edge: int = 4) -> np.ndarray:
    """A cube of ``edge`` voxels with its first voxel at (z, y, x), on a grid of 12 voxels a side."""
    mask = EMPTY.copy()
    mask[z : z + edge, y : y + edge, x : x + edge] = True
    return mask


def blob(rng: np.random.Generator, shape: tuple[int, int, int] = (14, 16, 18)) -> np.ndarray:
    """A ragged region of about a third of the grid, at its border too."""
    noise: np.ndarray = gaussian_filter(rng.normal(size=shape), 1.5)
    return np.asarray(noise > np.quantile(noise, 0.65))


def hd95_slowly(a: np.ndarray, b: np.ndarray, spacing_mm: Triple) -> float:
    """The definition, word for word: a surface voxel has a face on the outside, and beyond the grid is outside."""
    surface_a, surface_b = (np.argwhere(mask ^ binary_erosion(mask)) * spacing_mm for mask in (a, b))
    there, back = KDTree(surface_b).query(surface_a)[0], KDTree(surface_a).query(surface_b)[0]
    return max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))


def test_dice_of_a_cube_shifted_by_one_of_its_four_voxels_is_three_quarters() -> None:
    assert dice(cube(), cube(z=4)) == 0.75


def test_dice_counts_each_mask_once() -> None:
    assert dice(cube(edge=4), cube(edge=2)) == pytest.approx(2 * 8 / (64 + 8))


@pytest.mark.parametrize("voxels", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hd95_of_a_shifted_cube_is_the_shift_in_mm(axis: int, voxels: int) -> None:
    shifted = np.roll(cube(edge=3), voxels, axis)  # 9 of 26 surface voxels are a whole shift away: more than 5 %
    assert hd95_mm(cube(edge=3), shifted, SPACING) == pytest.approx(voxels * SPACING[axis])


def test_hd95_is_the_larger_direction_and_not_both_pooled() -> None:
    one, many = EMPTY.copy(), EMPTY.copy()
    one[6, 6, :10] = True
    many[6, 6, :11] = True  # ten voxels at 0 mm and one at 1 mm: the 95th percentile is half-way, 0.5 mm
    assert hd95_mm(one, many, (1.0, 1.0, 1.0)) == pytest.approx(0.5)  # pooled it were 0


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), SPACING, (0.5, 3.0, 1.25)])
def test_hd95_agrees_with_a_slow_oracle(rng: np.random.Generator, spacing_mm: Triple) -> None:
    for _ in range(5):
        a, b = blob(rng), blob(rng)
        assert hd95_mm(a, b, spacing_mm) == pytest.approx(hd95_slowly(a, b, spacing_mm), rel=1e-5)


def test_surface_dice_is_one_when_the_tolerance_covers_the_shift() -> None:
    assert surface_dice(cube(), cube(z=4), SPACING, 5.0) == 1.0
    assert surface_dice(cube(), cube(z=4), SPACING, 4.99) < 1.0


def test_surface_dice_weighs_each_element_by_its_area() -> None:
    # At tolerance 0 a cube of 4 and its copy one voxel further share the walls between them and each the rim of a face.
    flat, edge, corner = 1.0, math.sqrt(0.5), math.sqrt(3) / 8  # mm² of Nikolov's elements, one a grid point
    surface = 6 * 9 * flat + 12 * 3 * edge + 8 * corner
    shared = 3 * (4 * 3 * flat + 4 * edge) + (4 * 3 * edge + 4 * corner)
    assert surface_dice(cube(), cube(z=4), (1.0, 1.0, 1.0), 0.0) == pytest.approx(shared / surface)


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0), (0, 2, 1)])
def test_surfaces_do_not_depend_on_the_order_of_axes(rng: np.random.Generator, axes: tuple[int, int, int]) -> None:
    a, b = blob(rng), blob(rng)
    i, j, k = axes
    turned = a.transpose(axes), b.transpose(axes), (SPACING[i], SPACING[j], SPACING[k])
    assert hd95_mm(*turned) == pytest.approx(hd95_mm(a, b, SPACING))
    assert surface_dice(*turned, 2.0) == pytest.approx(surface_dice(a, b, SPACING, 2.0), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(a=masks, b=masks, spacing_mm=spacings, tolerance_mm=st.floats(0.0, 10.0))
def test_no_metric_cares_which_mask_comes_first(a: np.ndarray, b: np.ndarray, spacing_mm: Triple, tolerance_mm: float) -> None:
    assert dice(a, b) == dice(b, a)
    np.testing.assert_allclose(hd95_mm(a, b, spacing_mm), hd95_mm(b, a, spacing_mm))
    there, back = surface_dice(a, b, spacing_mm, tolerance_mm), surface_dice(b, a, spacing_mm, tolerance_mm)
    np.testing.assert_allclose(there, back, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(a=masks.filter(np.any), spacing_mm=spacings)
def test_a_mask_agrees_with_itself(a: np.ndarray, spacing_mm: Triple) -> None:
    assert (dice(a, a), hd95_mm(a, a, spacing_mm), surface_dice(a, a, spacing_mm, 0.0)) == (1.0, 0.0, 1.0)
    assert volume_error_percent(a, a) == 0.0


@pytest.mark.parametrize(
    ("metric", "both_empty", "one_empty"),
    [("dice", 1.0, 0.0), ("hd95_mm", math.nan, math.inf), ("surface_dice", math.nan, 0.0)],
)
def test_empty_masks_score_what_the_definition_says(metric: str, both_empty: float, one_empty: float) -> None:
    score = METRICS[metric]
    assert score(EMPTY, EMPTY) == pytest.approx(both_empty, nan_ok=True)
    assert score(cube(), EMPTY) == score(EMPTY, cube()) == one_empty


def test_the_volume_error_is_signed_and_in_per_cent_of_the_reference() -> None:
    assert volume_error_percent(cube(edge=4), cube(edge=2)) == 700.0  # 64 voxels instead of 8
    assert volume_error_percent(cube(edge=2), cube(edge=4)) == -87.5
    assert volume_error_percent(cube(z=0), cube(z=6)) == 0.0  # as large, wherever it is


def test_the_volume_error_of_empty_masks_is_what_the_definition_says() -> None:
    assert math.isnan(volume_error_percent(EMPTY, EMPTY))
    assert volume_error_percent(cube(), EMPTY) == math.inf
    assert volume_error_percent(EMPTY, cube()) == -100.0


@pytest.mark.parametrize("metric", METRICS)
def test_masks_of_different_shapes_are_refused_with_both_shapes(metric: str) -> None:
    with pytest.raises(GeometryError, match=r"\(12, 12, 12\) and \(12, 12, 6\)"):
        METRICS[metric](EMPTY, EMPTY[:, :, :6])
    with pytest.raises(GeometryError, match=r"one grid \(z, y, x\).* \(12, 12\) and \(12, 12\)"):
        METRICS[metric](EMPTY[0], EMPTY[0])


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (math.nan, 1.0, 1.0), (1.0, 1.0)])
def test_a_spacing_that_is_none_is_refused(spacing_mm: Triple) -> None:
    with pytest.raises(GeometryError, match="three positive numbers of mm"):
        hd95_mm(cube(), cube(), spacing_mm)
    with pytest.raises(GeometryError, match="three positive numbers of mm"):
        surface_dice(cube(), cube(), spacing_mm, 2.0)


@pytest.mark.parametrize("tolerance_mm", [-0.1, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused_even_for_empty_masks(tolerance_mm: float) -> None:
    with pytest.raises(OptionError, match=f"0 or more, not {tolerance_mm}"):
        surface_dice(EMPTY, EMPTY, SPACING, tolerance_mm)


def test_the_union_box_has_a_margin_that_ends_at_the_border() -> None:
    a, b = cube(0, 3, 4, edge=2), cube(2, 8, 4, edge=4)
    assert union_box(a, b) == (slice(0, 7), slice(2, 13), slice(3, 9))


def test_the_box_changes_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (np.pad(blob(rng, (8, 9, 10)), ((0, 9), (5, 4), (7, 0))) for _ in range(2))  # touches two borders of the grid
    boxed = hd95_mm(a, b, SPACING), surface_dice(a, b, SPACING, 1.0)
    monkeypatch.setattr("uniseg_model.evaluation.metrics.union_box", lambda a, b: (slice(None),) * 3)
    assert (hd95_mm(a, b, SPACING), surface_dice(a, b, SPACING, 1.0)) == boxed


def test_flipped_and_read_only_masks_are_measured_too() -> None:
    a, b = cube()[::-1], cube(z=4)[::-1]
    a.flags.writeable = False
    assert hd95_mm(a, b, SPACING) == pytest.approx(5.0)


def test_no_warning_of_monai_reaches_the_caller() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface_dice(cube(), cube(z=4), SPACING, 1.0)
        hd95_mm(cube(), EMPTY, SPACING)


@pytest.mark.parametrize("metric", ["hd95_mm", "surface_dice"])
def test_without_monai_the_error_says_how_to_get_it(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(MissingPackageError, match=r"'monai', which is not installed\. .*pip install \"uniseg-app\[train\]\""):
        METRICS[metric](cube(), cube())


def test_every_metric_has_a_definition_of_one_sentence() -> None:
    assert set(DEFINITIONS) == set(METRICS)
    assert all(text.endswith(".") and ". " not in text.replace("et al. ", "") for text in DEFINITIONS.values())
