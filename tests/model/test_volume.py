"""Volumes: affines that speak the array's own axis order, and a door that only lets usable images in."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from itertools import permutations
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orientations import ORIENTATIONS, WORLD, oriented_affine
from scipy.spatial.transform import Rotation

from uniseg_model.errors import GeometryError, IntensityError
from uniseg_model.grids import corner_distance_mm
from uniseg_model.volume import Source, Volume, closest_world_axes, trusted_spacing, voxel_lengths

AXIAL = np.array([[0, 0, 0.5, -10], [0, 0.75, 0, 20], [3, 0, 0, 5], [0, 0, 0, 1.0]])  # z up, y to the front, x to the right


def oriented(code: str, zyx_mm: tuple[float, float, float] = (3.0, 0.75, 0.5)) -> np.ndarray:
    return oriented_affine(code, zyx_mm)


def ones(affine: np.ndarray = AXIAL, shape: tuple[int, ...] = (1, 2, 3, 4), **facts: Any) -> Volume:
    return Volume(np.ones(shape, np.float32), affine, **facts)


def turned(degrees: float, about: str, affine: np.ndarray = AXIAL) -> np.ndarray:
    rotation = np.eye(4)
    rotation[:3, :3] = Rotation.from_euler(about, degrees, degrees=True).as_matrix()
    return rotation @ affine


def test_a_volume_knows_its_grid_by_hand() -> None:
    volume = ones(shape=(2, 3, 4, 5))
    assert volume.n_channels == 2
    assert volume.shape == (3, 4, 5)
    assert volume.spacing_mm == (3.0, 0.75, 0.5)
    assert volume.orientation == "RAS"
    assert volume.voxel_ml == pytest.approx(3 * 0.75 * 0.5 / 1000)
    assert volume.warnings == ()
    assert volume.source.format == "array"


def test_a_volume_describes_itself_in_one_line() -> None:
    text = repr(Volume(np.ones((1, 100, 100, 50), np.float32), AXIAL, Source(header="long")))
    assert text == "Volume(1 channels, 100 x 100 x 50 voxels at 3 x 0.75 x 0.5 mm, RAS, 2 MB)"
    assert "long" not in repr(Source(header="long"))


def test_a_volume_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ones().affine = AXIAL  # type: ignore[misc]


def test_volume_of_a_sheared_voxel_is_that_of_the_parallelepiped() -> None:
    sheared = AXIAL.copy()
    sheared[1, 0] = 4.0  # slices 3 mm apart slide 4 mm to the front: steps of 5 mm (3-4-5)
    volume = ones(sheared)
    assert volume.spacing_mm == (5.0, 0.75, 0.5)
    assert volume.voxel_ml == pytest.approx(3 * 0.75 * 0.5 / 1000)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_each_signed_permutation_is_recognised(code: str) -> None:
    affine = oriented(code)
    volume = ones(affine)
    assert volume.orientation == code
    assert volume.spacing_mm == (3.0, 0.75, 0.5)
    assert closest_world_axes(affine) == [WORLD[letter] for letter in reversed(code)]
    assert "".join(nib.aff2axcodes(affine[:, [2, 1, 0, 3]])) == code  # nibabel says the same of the file's order


@pytest.mark.parametrize("code", ["RAS", "LPS", "RPI", "LAS"])
@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
@pytest.mark.parametrize("degrees", [45, -45])
@pytest.mark.parametrize("about", ["x", "y", "z"])
def test_at_45_degrees_a_usual_axial_file_stays_as_it_is(about: str, degrees: float, noise: float, code: str) -> None:
    axes = closest_world_axes(turned(degrees + noise, about, oriented(code)))
    assert [world for world, _ in axes] == [2, 1, 0]


def test_beyond_45_degrees_two_axes_change_places() -> None:
    assert closest_world_axes(turned(44, "x")) == [(2, 1), (1, 1), (0, 1)]
    assert closest_world_axes(turned(46, "x")) == [(1, -1), (2, 1), (0, 1)]  # up has turned to the back, front to up


def test_the_length_of_steps_has_no_say_in_the_direction() -> None:
    thick = AXIAL * np.array([100, 1, 1, 1])
    assert closest_world_axes(turned(44, "x", thick)) == [(2, 1), (1, 1), (0, 1)]
    assert closest_world_axes(turned(46, "x", thick)) == [(1, -1), (2, 1), (0, 1)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.2, 8)] * 3))
def test_no_other_pairing_of_axes_lies_closer(angles: tuple[float, float, float], zyx_mm: tuple[float, float, float]) -> None:
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation * zyx_mm
    axes = closest_world_axes(affine)
    assert sorted(world for world, _ in axes) == [0, 1, 2]
    reached = sum(sign * rotation[world, axis] for axis, (world, sign) in enumerate(axes))
    best = max(sum(abs(rotation[world, axis]) for axis, world in enumerate(order)) for order in permutations(range(3)))
    assert reached == pytest.approx(best, abs=2e-6)


def test_the_header_is_trusted_where_it_differs_by_rounding() -> None:
    affine = np.diag([3.00002, 0.7, 0.6999999, 1])
    assert trusted_spacing((3.0, 0.7, 0.7), affine) == (3.0, 0.7, 0.7)  # equal steps stay exactly equal
    assert trusted_spacing((3.001, 0.7, 0.7), affine) == (3.00002, 0.7, 0.6999999)  # 3.3e-4 is more than rounding


def test_a_spacing_left_out_is_taken_from_the_affine_and_a_given_one_is_kept() -> None:
    affine = np.diag([3.0, 0.7, 0.6999999, 1])
    assert ones(affine).spacing_mm == (3.0, 0.7, 0.6999999)
    assert ones(affine, spacing_mm=(3.0, 0.7, 0.7)).spacing_mm == (3.0, 0.7, 0.7)


def test_corner_distance_is_the_worst_corner() -> None:
    moved, stretched = AXIAL.copy(), AXIAL.copy()
    moved[:3, 3] += 3, 4, 0
    stretched[0, 2] *= 1.02  # 0.5 mm become 0.51 mm
    assert corner_distance_mm(AXIAL, AXIAL, (9, 9, 9)) == 0
    assert corner_distance_mm(AXIAL, moved, (9, 9, 9)) == pytest.approx(5)
    assert corner_distance_mm(AXIAL, stretched, (2, 2, 101)) == pytest.approx(100 * 0.01)


def test_the_range_of_values_is_that_of_numbers_in_channel_0() -> None:
    array = np.zeros((2, 2, 2, 2), np.float32)
    array[0, 0, 0] = np.nan, -7
    array[0, 1, 1, 1], array[1, 1, 1, 1] = 9, 99
    assert Volume(array, AXIAL).intensity_range == (-7.0, 9.0)


def test_nan_is_counted_in_a_warning_beside_the_reader_s_own() -> None:
    array = np.ones((1, 2, 3, 4), np.float32)
    array[0, 1, 2, :3] = np.nan
    volume = Volume(array, AXIAL, warnings=("odd header",))
    assert volume.warnings == ("odd header", "3 of 24 voxels are NaN and are taken as 0")


def test_only_zeros_and_nan_is_nothing_to_segment_but_one_number_is_enough() -> None:
    array = np.zeros((1, 2, 2, 2), np.float32)
    array[0, 1, 1, 1] = -1e-20
    assert Volume(array, AXIAL).warnings == ()


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((2, 2, 2, 2), np.float32), r"every voxel( of channel 1)? is 0, .* an empty label file\?"),
        (np.full((1, 2, 2, 2), np.nan, np.float32), r"every voxel is NaN, .* Export the image again"),
        (np.array([1, np.inf, 2, -np.inf, 3, 4, 5, 6], np.float32).reshape(1, 2, 2, 2), r"2 of 8 voxels are infinite"),
    ],
)
def test_values_without_anything_to_segment_are_refused(array: np.ndarray, match: str) -> None:
    with pytest.raises(IntensityError, match=match):
        Volume(array, AXIAL)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((3, 4, 5), r"four axes \(channel, z, y, x\), the array has 3"),
        ((1, 1, 3, 4, 5), "four axes .* the array has 5"),
        ((1, 1, 4, 5), r"at least 2 voxels along each axis, the image has 1 x 4 x 5 \(z, y, x\)\. A single slice"),
        ((1, 4, 5, 1), "the image has 4 x 5 x 1"),
    ],
)
def test_what_is_not_a_stack_is_refused(shape: tuple[int, ...], match: str) -> None:
    with pytest.raises(GeometryError, match=match):
        ones(shape=shape)


@pytest.mark.parametrize(
    ("affine", "match"),
    [
        (np.eye(3), r"must be 4 x 4 finite numbers .*, it is \(3, 3\)"),
        (np.diag([1, np.nan, 1, 1]), "must be 4 x 4 finite numbers"),
        (np.diag([1, np.inf, 1, 1]), "must be 4 x 4 finite numbers"),
        (np.diag([1.0, 0, 1, 1]), r"singular \(1 0 0 0; 0 0 0 0; 0 0 1 0\): .* Repair the header"),
        (np.array([[1, 1, 0, 0], [1, 1 + 1e-9, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
    ],
)
def test_a_grid_without_a_place_is_refused(affine: np.ndarray, match: str) -> None:
    with pytest.raises(GeometryError, match=match):
        ones(affine)
    with pytest.raises(GeometryError, match=match):
        voxel_lengths(affine)


def test_tiny_voxels_are_not_singular() -> None:
    assert voxel_lengths(AXIAL * 1e-3) == pytest.approx((3e-3, 0.75e-3, 0.5e-3))


def test_a_spacing_that_contradicts_the_affine_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"spacing \(3\.0, 0\.75, 0\.6\) mm contradicts .* \(3\.0, 0\.75, 0\.5\) mm long"):
        ones(spacing_mm=(3.0, 0.75, 0.6))


def test_a_replaced_field_does_not_repeat_the_warning_of_nan() -> None:
    array = np.ones((1, 2, 2, 2), np.float32)
    array[0, 0, 0, 0] = np.nan
    volume = replace(Volume(array, AXIAL), source=Source(modality="CT"))
    assert volume.warnings == ("1 of 8 voxels are NaN and are taken as 0",)
