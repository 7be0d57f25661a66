"""Where volumes stand in the viewer: the same for all orders of a file's axes, and back to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine

from uniseg_app.napari_plugin.world import Placed, affine_of, display_of, is_oblique, turn_matrix
from uniseg_model.axes import axes_for
from uniseg_model.volume import Volume

SHAPE, SPACING_MM = (4, 5, 6), (3.0, 2.0, 1.0)


@pytest.fixture(scope="module")
def patient() -> Volume:
    """An image stored in RAS, with other numbers in every voxel."""
    array = np.arange(1, 121, dtype=np.float32).reshape(1, *SHAPE)
    return Volume(array, oriented_affine("RAS", SPACING_MM))


def stored_as(volume: Volume, code: str) -> Volume:
    """The same patient in a file whose axes x, y, z point to the letters of ``code``."""
    axes = axes_for(volume.affine, code)
    turned = np.ascontiguousarray(axes.apply(volume.array))
    affine = volume.affine @ turn_matrix(axes, volume.shape)
    return Volume(turned, affine)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_all_48_orders_look_the_same_and_come_back(patient: Volume, code: str) -> None:
    usual, other = Placed.of(patient), Placed.of(stored_as(patient, code))
    np.testing.assert_array_equal(other.to_layer(other.volume.array[0]), usual.to_layer(patient.array[0]))
    for name in ("scale", "translate"):
        np.testing.assert_allclose(display_of(other)[name], display_of(usual)[name])
    labels = np.arange(other.volume.array[0].size).reshape(other.volume.shape)
    np.testing.assert_array_equal(other.to_volume(other.to_layer(labels)), labels)


def test_slices_run_from_the_head_rows_from_the_front_columns_from_the_right(patient: Volume) -> None:
    shown = Placed.of(patient).to_layer(patient.array[0])
    assert shown[0, 0, 0] == patient.array[0, -1, -1, -1]  # superior, anterior, right
    assert shown[-1, -1, -1] == patient.array[0, 0, 0, 0]


def test_the_world_is_minus_s_a_r_in_mm(patient: Volume) -> None:
    display = display_of(Placed.of(patient))
    assert display["scale"] == SPACING_MM
    right, anterior, superior = (patient.affine @ [3, 4, 5, 1])[:3]  # of the voxel that the layer begins with
    np.testing.assert_allclose(display["translate"], [-superior, -anterior, -right])
    assert display["units"] == ("mm", "mm", "mm")


def test_volumes_of_one_patient_lie_over_each_other(patient: Volume) -> None:
    cropped = Volume(patient.array[:, 1:3], patient.affine @ np.array(np.eye(4) + np.eye(4, k=3) * 1.0))
    whole, part = display_of(Placed.of(patient)), display_of(Placed.of(cropped))
    # the crop ends one slice of 3 mm below the top, so it begins 3 mm further down
    np.testing.assert_allclose(np.array(part["translate"]) - whole["translate"], [3.0, 0, 0])


def test_an_oblique_volume_is_shown_upright_around_its_centre_and_keeps_its_affine(patient: Volume) -> None:
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilted = Placed.of(Volume(patient.array, turn @ patient.affine))
    assert is_oblique(tilted)
    assert not is_oblique(Placed.of(patient))
    display, middle = display_of(tilted), np.array([1.5, 2.0, 2.5])
    world = np.array(display["translate"]) + np.array(display["scale"]) * middle
    right, anterior, superior = (tilted.volume.affine @ [1.5, 2.0, 2.5, 1])[:3]
    np.testing.assert_allclose(world, [-superior, -anterior, -right])
    np.testing.assert_allclose(tilted.volume.affine, turn @ patient.affine)


@pytest.mark.parametrize("code", ["RAS", "LPI", "SRP"])
def test_a_place_of_the_layer_is_a_voxel_of_the_volume(patient: Volume, code: str) -> None:
    placed = Placed.of(stored_as(patient, code))
    shown = placed.to_layer(placed.volume.array[0])
    z, y, x = (round(at) for at in placed.voxel_of((1.0, 2.0, 3.0)))
    assert placed.volume.array[0, z, y, x] == shown[1, 2, 3]


def test_the_affine_of_what_is_shown_is_the_affine_of_the_file(patient: Volume) -> None:
    placed = Placed.of(patient)
    display = display_of(placed)
    world = np.diag([*display["scale"], 1.0])
    world[:3, 3] = display["translate"]
    np.testing.assert_allclose(affine_of(world), placed.affine)
    np.testing.assert_allclose(affine_of(world, "RAS")[:, 3], [*reversed(display["translate"]), 1])
