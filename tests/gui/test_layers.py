"""Layers of any reader as one volume: ours, napari-nifti's, a plain array; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels, Layer, Points
from orientations import oriented_affine

from uniseg_app.napari_plugin.layers import Given, look_at, placed
from uniseg_app.napari_plugin.reader import image_layers
from uniseg_model.errors import GeometryError, ImageError
from uniseg_model.volume import Volume

RADIOLOGICAL_MM = (5.0, 3.0, 2.0)


@pytest.fixture
def array(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(4, 5, 6)).astype(np.float32)


def test_a_volume_of_our_reader_comes_back_as_it_was_read(ct: Volume) -> None:
    [layer] = [Layer.create(*data) for data in image_layers(ct, "ct")]
    assert placed([look_at(layer)], Given()).volume is ct


def test_channels_of_one_file_are_one_volume_and_one_of_them_is_a_volume_of_its_own(array: np.ndarray) -> None:
    both = Volume(np.stack([array, array + 1]), oriented_affine("LPS", RADIOLOGICAL_MM))
    layers = [look_at(Layer.create(*data)) for data in image_layers(both, "both")]
    assert placed(layers, Given()).volume is both
    second = placed(layers[1:], Given()).volume
    np.testing.assert_array_equal(second.array, both.array[1:])
    np.testing.assert_allclose(second.affine, both.affine)
    swapped = placed(layers[::-1], Given()).volume
    np.testing.assert_array_equal(swapped.array, both.array[::-1])


def test_changed_voxels_count_and_not_those_of_the_file(ct: Volume) -> None:
    [layer] = [Layer.create(*data) for data in image_layers(ct, "ct")]
    layer.data = np.asarray(layer.data) * 2
    found = placed([look_at(layer)], Given()).volume
    np.testing.assert_array_equal(found.array, ct.array * 2)
    np.testing.assert_array_equal(found.affine, ct.affine)


def test_a_plain_array_is_radiological_unless_somebody_says_otherwise(array: np.ndarray) -> None:
    layer = Image(array, scale=RADIOLOGICAL_MM, units="mm")
    usual = placed([look_at(layer)], Given()).volume
    assert usual.spacing_mm == RADIOLOGICAL_MM
    assert usual.orientation == "LPI"
    assert placed([look_at(layer)], Given(letters="RPS")).volume.orientation == "RPS"
    assert "as a person said: radiological, first slice at the head" in usual.warnings[0]


def test_units_become_mm(array: np.ndarray) -> None:
    layer = Image(array, scale=(0.5, 0.3, 0.2), units="cm")
    assert placed([look_at(layer)], Given()).volume.spacing_mm == pytest.approx(RADIOLOGICAL_MM)


def test_a_voxel_size_that_nobody_knows_is_asked_for(array: np.ndarray) -> None:
    seen = look_at(Image(array, name="plain"))
    assert not seen.knows_size
    with pytest.raises(GeometryError, match=r"plain does not say how large its voxels are. Give the voxel size in mm"):
        placed([seen], Given())
    assert placed([seen], Given(RADIOLOGICAL_MM)).volume.spacing_mm == pytest.approx(RADIOLOGICAL_MM)


def test_a_flipped_layer_points_the_other_way(array: np.ndarray) -> None:
    layer = Image(array, scale=(-5.0, 3.0, -2.0), units="mm")
    assert placed([look_at(layer)], Given()).volume.orientation == "RPS"


def test_what_napari_nifti_shows_has_the_affine_of_its_file(array: np.ndarray) -> None:
    """It shows (z, y, x) of a RAS array with negative scales, and leaves the true affine for (x, y, z) in the metadata."""
    angle = np.deg2rad(10)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([2.0, 3.0, 5.0, 1.0])
    facts = {"affine": affine, "coordinate_system": "RAS+"}
    layer = Image(array, scale=(-5.0, -3.0, -2.0), translate=(15.0, 12.0, 10.0), metadata=facts)
    seen = look_at(layer)
    assert seen.knows_place
    found = placed([seen], Given()).volume
    np.testing.assert_array_equal(found.array[0], array)
    np.testing.assert_allclose(found.affine, affine[:, [2, 1, 0, 3]])


def test_channels_on_different_grids_are_refused_with_their_names(array: np.ndarray) -> None:
    first = look_at(Image(array, scale=RADIOLOGICAL_MM, units="mm", name="T1"))
    apart = look_at(Image(array, scale=RADIOLOGICAL_MM, translate=(40, 0, 0), units="mm", name="T2"))
    with pytest.raises(GeometryError, match=r"channel 2 \(T2\) lies 40 mm away from channel 1 \(T1\)"):
        placed([first, apart], Given())
    smaller = look_at(Image(array[1:], scale=RADIOLOGICAL_MM, units="mm", name="FLAIR"))
    with pytest.raises(GeometryError, match=r"channel 2 \(FLAIR\) has \(3, 5, 6\) voxels"):
        placed([first, smaller], Given())


def test_a_channel_of_a_file_and_a_plain_one_on_its_grid_go_together(ct: Volume) -> None:
    [layer] = [Layer.create(*data) for data in image_layers(ct, "ct")]
    other = Image(np.asarray(layer.data) + 1, scale=layer.scale, translate=layer.translate, units=layer.units, name="other")
    both = placed([look_at(layer), look_at(other)], Given()).volume
    np.testing.assert_array_equal(both.array, np.concatenate([ct.array, ct.array + 1]))
    np.testing.assert_array_equal(both.affine, ct.affine)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: Labels(np.ones((3, 4, 5), int), name="liver"), r"liver is a Labels layer: it holds answers, not an image"),
        (lambda: Points(np.ones((3, 3)), name="dots"), r"dots is no image but a Points layer"),
        (lambda: Image(np.ones((4, 5, 3)), rgb=True, name="photo"), r"photo is a colour image, a scan has one grey value"),
        (lambda: Image(np.ones((4, 5)), name="slice"), r"slice has 2 axes, a volume has 3: a single slice"),
        (lambda: Image(np.ones((2, 3, 4, 5)), name="film"), r"film has 4 axes, a volume has 3: a time series"),
    ],
    ids=["labels", "points", "colour", "2-D", "4-D"],
)
def test_what_is_no_volume_is_refused_with_the_way_out(layer: object, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        look_at(layer())  # type: ignore[operator]
    assert caught.value.hint


def test_the_layers_are_never_altered(array: np.ndarray) -> None:
    layer = Image(array, scale=(1.0, 1.0, 1.0))
    before = (array.copy(), tuple(layer.scale), dict(layer.metadata))
    placed([look_at(layer)], Given(RADIOLOGICAL_MM))
    np.testing.assert_array_equal(layer.data, before[0])
    assert (tuple(layer.scale), dict(layer.metadata)) == before[1:]
