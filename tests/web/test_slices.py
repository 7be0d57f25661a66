"""Slices that the server draws: orientation, proportions, window, overlay."""

from __future__ import annotations

import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine

from uniseg_app.web_demo.display import Structure, color_table
from uniseg_app.web_demo.slices import PLANES, Overlay, draw_slice, n_slices, slice_through
from uniseg_model.volume import Volume, closest_world_axes

WINDOW = (0.0, 100.0)
BLUE = [Structure(1, "liver", "#0000FF")]


def stored_as(code: str, patient: np.ndarray, zyx_mm: tuple[float, float, float] = (1, 1, 1)) -> Volume:
    """An array by (superior, anterior, right), stored in a file whose axes point to the letters of ``code``."""
    affine = oriented_affine(code, zyx_mm)
    axes = closest_world_axes(affine)
    stored = patient.transpose([2 - world for world, _ in axes])[tuple(slice(None, None, sign) for _, sign in axes)]
    return Volume(np.ascontiguousarray(stored, np.float32)[None], affine)


def patient() -> np.ndarray:
    """By (superior, anterior, right), 8 voxels each: one bright voxel at superior 6, anterior 5, right 7."""
    array = np.zeros((8, 8, 8))
    array[6, 5, 7] = 100
    return array


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_however_it_is_stored_the_patient_looks_the_same(code: str) -> None:
    """Bright are the rows and columns counted from the top and the left."""
    volume = stored_as(code, patient())
    seen = {plane: np.argwhere(draw_slice(volume, plane, number, WINDOW, longer_side=8)[..., 0] > 128).tolist()
            for plane, number in (("axial", 6), ("coronal", 5), ("sagittal", 7))}  # fmt: skip
    assert seen == {
        "axial": [[2, 0]],  # third row from the front, first column from the right
        "coronal": [[1, 0]],  # second row from the head, first column from the right
        "sagittal": [[1, 2]],  # second row from the head, third column from the front
    }


@pytest.mark.parametrize("code", ORIENTATIONS[::5])
def test_the_slice_through_a_place_shows_it(code: str) -> None:
    volume = stored_as(code, patient(), (3, 2, 1))
    place_mm = (volume.affine @ [*np.argwhere(volume.array[0] == 100)[0], 1])[:3]
    assert {plane: slice_through(volume, plane, place_mm) for plane in PLANES} == {"axial": 6, "coronal": 5, "sagittal": 7}


def test_a_place_outside_is_met_at_the_last_slice() -> None:
    volume = stored_as("RAS", patient())
    assert slice_through(volume, "axial", (0, 0, 1e6)) == 7
    assert slice_through(volume, "axial", (0, 0, -1e6)) == 0
    np.testing.assert_array_equal(draw_slice(volume, "axial", 99, WINDOW), draw_slice(volume, "axial", 7, WINDOW))


@pytest.mark.parametrize("code", ["RAS", "PIR", "ASL"])
def test_pictures_have_the_patients_proportions(code: str) -> None:
    volume = stored_as(code, np.pad(patient(), ((0, 4), (0, 2), (0, 0))))  # 12 x 10 x 8 voxels of 1 mm
    shapes = {plane: draw_slice(volume, plane, 0, WINDOW, longer_side=120).shape for plane in PLANES}
    assert shapes == {"axial": (120, 96, 3), "coronal": (120, 80, 3), "sagittal": (120, 100, 3)}
    assert {plane: n_slices(volume, plane) for plane in PLANES} == {"axial": 12, "coronal": 10, "sagittal": 8}


def test_thick_slices_are_stretched_to_their_true_height() -> None:
    volume = stored_as("RAS", patient(), (5.0, 1.0, 1.0))
    assert draw_slice(volume, "coronal", 5, WINDOW, longer_side=400).shape == (400, 80, 3)


def test_the_window_becomes_black_and_white() -> None:
    values = np.broadcast_to(np.array([-50.0, 0, 25, 50, 100, 200, np.nan, 1]), (8, 8, 8))
    row = draw_slice(stored_as("LAS", values[..., ::-1]), "axial", 0, WINDOW, longer_side=8)[0, :, 0]
    assert row.tolist() == [0, 0, 64, 128, 255, 255, 0, 3]


def test_labels_are_mixed_in_with_their_opacity() -> None:
    volume = stored_as("RAS", np.full((8, 8, 8), 50.0))
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[:, :4] = 1  # the back half, so the lower half of an axial picture
    picture = draw_slice(volume, "axial", 3, WINDOW, labels, Overlay(color_table(BLUE), opacity=0.25), longer_side=8)
    assert picture[0, 0].tolist() == [128, 128, 128]
    assert picture[7, 0].tolist() == [96, 96, 159]  # 127.5 * 0.75, and 255 * 0.25 more blue


def test_a_hidden_structure_leaves_no_trace() -> None:
    volume = stored_as("RAS", np.full((8, 8, 8), 50.0))
    labels = np.ones((8, 8, 8), np.uint8)
    labels[2:5, 2:5, 2:5] = 0
    hidden = color_table(BLUE, hidden={1})
    for outline in (False, True):
        picture = draw_slice(volume, "coronal", 3, WINDOW, labels, Overlay(hidden, outline=outline))
        np.testing.assert_array_equal(picture, draw_slice(volume, "coronal", 3, WINDOW))


def test_an_outline_is_opaque_and_two_pixels_wide() -> None:
    volume = stored_as("RAS", np.full((20, 20, 20), 50.0))
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:, 5:15, 5:15] = 1
    overlay = Overlay(color_table(BLUE), outline=True)
    blue = draw_slice(volume, "axial", 9, WINDOW, labels, overlay, longer_side=20)[10, :, 2]
    assert np.flatnonzero(blue == 255).tolist() == [5, 6, 13, 14]
    assert blue[9] == round(127.5 + 0.15 * 127.5)


def test_a_large_picture_names_its_sides_and_a_thumbnail_does_not() -> None:
    volume = stored_as("LPI", np.pad(patient(), 40))
    assert draw_slice(volume, "axial", 0, WINDOW, longer_side=160).max() == 230
    assert draw_slice(volume, "axial", 0, WINDOW, longer_side=79).max() == 0
