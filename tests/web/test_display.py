"""What the browser is given: the same box, the same grid for labels, windows, colours."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine

from uniseg_app.web_demo.display import (
    Structure,
    color_rows,
    color_table,
    display_copy,
    display_labels,
    located,
    structures_of,
    write_display_image,
    write_display_labels,
)
from uniseg_model.errors import GeometryError
from uniseg_model.io import read_labels, read_volume
from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Source, Volume, closest_world_axes

IDENTITY = oriented_affine("RAS", (1, 1, 1))
TWO = [Structure(1, "liver", "#0072B2"), Structure(2, "tumour", "#F0E442")]


def volume_of(array: np.ndarray, affine: np.ndarray = IDENTITY, modality: str = "") -> Volume:
    return Volume(np.asarray(array, np.float32)[None], affine, Source(modality=modality))


def corners_mm(volume: Volume) -> np.ndarray:
    """The outer corners of the first and the last voxel."""
    return np.array([volume.affine @ [*corner, 1] for corner in (np.full(3, -0.5), np.array(volume.shape) - 0.5)])


def test_a_small_image_is_shown_as_it_is(rng: np.random.Generator) -> None:
    volume = volume_of(rng.normal(size=(5, 6, 7)))
    copy = display_copy(volume)
    np.testing.assert_array_equal(copy.array, volume.array)
    np.testing.assert_array_equal(copy.affine, volume.affine)


def test_a_large_image_is_averaged_over_what_each_voxel_covers() -> None:
    rows = np.array([0.0, 3, 6, 9, 12, 15])
    volume = volume_of(np.broadcast_to(rows[:, None, None], (6, 2, 2)) + 1)
    np.testing.assert_allclose(display_copy(volume, largest_side=3).array[0, :, 0, 0], [2.5, 8.5, 14.5])
    # 6 to 4: one and a half each, so (1 + 4/2) / 1.5 = 2 comes first
    np.testing.assert_allclose(display_copy(volume, largest_side=4).array[0, :, 0, 0], [2.0, 6.0, 11.0, 15.0], rtol=1e-6)


@pytest.mark.parametrize("code", ORIENTATIONS[::5])
def test_a_copy_covers_the_same_box(code: str, rng: np.random.Generator) -> None:
    volume = volume_of(rng.normal(size=(9, 7, 12)), oriented_affine(code, (3, 2, 1)))
    copy = display_copy(volume, largest_side=5)
    assert copy.shape == (5, 5, 5)
    np.testing.assert_allclose(corners_mm(copy), corners_mm(volume))
    assert closest_world_axes(copy.affine) == closest_world_axes(volume.affine)


def test_a_place_not_a_number_is_shown_as_zero() -> None:
    array = np.ones((4, 4, 4))
    array[0, 0, 0] = np.nan
    assert display_copy(volume_of(array)).array[0, 0, 0, 0] == 0


def test_one_channel_is_shown() -> None:
    volume = Volume(np.stack([np.full((2, 2, 2), value, np.float32) for value in (1, 2, 3)]), IDENTITY)
    assert display_copy(volume, channel=2).array.shape == (1, 2, 2, 2)
    assert display_copy(volume, channel=2).array.max() == 3


@pytest.mark.parametrize("code", ["RAS", "LPS", "IPL", "SAR"])
def test_labels_are_written_on_exactly_the_grid_of_the_image(code: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """A label map on another grid is smeared over the whole image by the viewer."""
    volume = volume_of(rng.normal(size=(9, 7, 12)), oriented_affine(code, (3, 2, 1)))
    copy = display_copy(volume, largest_side=8)
    labels = np.zeros(volume.shape, np.uint8)
    labels[2:5, 2:5, 2:5] = 2
    write_display_image(tmp_path / "image.nii.gz", copy)
    write_display_labels(tmp_path / "labels.nii.gz", display_labels(labels, copy, largest_side=8), copy)
    image, shown = nib.load(tmp_path / "image.nii.gz"), nib.load(tmp_path / "labels.nii.gz")
    assert shown.shape == image.shape
    np.testing.assert_array_equal(shown.affine, image.affine)
    assert (shown.get_data_dtype(), image.get_data_dtype()) == (np.uint8, np.int16)
    assert shown.header.get_intent()[0] == "label"


def test_labels_of_another_grid_are_refused(rng: np.random.Generator) -> None:
    copy = display_copy(volume_of(rng.normal(size=(4, 5, 6))))
    with pytest.raises(GeometryError, match=r"labels of shape \(4, 5, 7\) .* do not belong to the image shown as \(4, 5, 6\)"):
        display_labels(np.zeros((4, 5, 7), np.uint8), copy)


def test_labels_stay_where_they_are_in_a_coarser_copy() -> None:
    volume = make_phantom("liver", 100, spacing_mm=(8, 6, 6)).volume
    labels = make_phantom("liver", 100, spacing_mm=(8, 6, 6)).labels["liver"]
    copy = display_copy(volume, largest_side=48)
    small = display_labels(labels, copy, largest_side=48)
    for value in (1, 2):
        centers = [
            affine @ [*np.argwhere(array == value).mean(axis=0), 1]
            for array, affine in ((labels, volume.affine), (small, copy.affine))
        ]
        assert np.linalg.norm(centers[0] - centers[1]) < 4


def test_a_ct_is_written_in_whole_hu(tmp_path: Path) -> None:
    values = np.linspace(-1000.4, 1500.3, 64).reshape(4, 4, 4)
    write_display_image(tmp_path / "ct.nii.gz", display_copy(volume_of(values, modality="CT")))
    stored = nib.load(tmp_path / "ct.nii.gz")
    assert (stored.header["scl_slope"], stored.dataobj.slope) == (pytest.approx(np.nan, nan_ok=True), 1)
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T, np.rint(values))


def test_other_images_keep_sixteen_bits_of_their_range(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.normal(0.0, 0.01, (6, 6, 6))
    write_display_image(tmp_path / "mr.nii.gz", display_copy(volume_of(values, modality="MR")))
    back = read_volume(tmp_path / "mr.nii.gz")
    np.testing.assert_allclose(back.array[0], values, atol=np.ptp(values) / 60_000)
    assert nib.load(tmp_path / "mr.nii.gz").get_data_dtype() == np.int16


def test_written_labels_come_back(tmp_path: Path) -> None:
    labels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    copy = display_copy(volume_of(np.ones((2, 2, 2))))
    write_display_labels(tmp_path / "labels.nii.gz", labels, copy)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz")[0], labels)


def test_colors_have_a_row_for_the_background_and_each_structure() -> None:
    table = color_table(TWO, hidden={2}, opacity=0.5)
    assert table == {
        "R": [0, 0, 240], "G": [0, 114, 228], "B": [0, 178, 66], "A": [0, 128, 0], "I": [0, 1, 2], "labels": ["", "liver", "tumour"],
    }  # fmt: skip
    rows = color_rows(table)
    assert (rows.shape, rows[1].tolist(), rows[77].tolist()) == ((256, 4), [0, 114, 178, 128], [0, 0, 0, 0])


def test_structures_are_numbered_as_in_their_task() -> None:
    task = builtin_tasks()["brain"]
    assert [(s.value, s.name) for s in structures_of(task.labels)] == [
        (1, "oedema"), (2, "non-enhancing tumour"), (3, "enhancing tumour"),
    ]  # fmt: skip


@pytest.mark.parametrize("code", ORIENTATIONS[::7])
def test_a_structure_is_found_in_the_middle_of_its_largest_axial_slice(code: str) -> None:
    axial = np.zeros((9, 9, 9), np.uint8)  # superior, anterior, right
    axial[1:4, 4, 4] = 1  # thin over three slices,
    axial[5, 2:7, 2:7] = 1  # a square on the sixth, whose middle is (4, 4)
    affine = oriented_affine(code, (3, 2, 1))
    order = [world for world, _ in closest_world_axes(affine)]
    stored = axial.transpose([2 - world for world in order])
    stored = stored[tuple(slice(None, None, sign) for _, sign in closest_world_axes(affine))]
    voxel = [(4, 4, 5)[world] if sign > 0 else 8 - (4, 4, 5)[world] for world, sign in closest_world_axes(affine)]
    liver, tumour = located(TWO, stored, affine)
    assert liver.center_mm == pytest.approx(tuple((affine @ [*voxel, 1])[:3]))
    assert tumour.center_mm is None


def test_the_place_of_a_ring_lies_on_the_ring() -> None:
    ring = np.zeros((3, 11, 11), np.uint8)
    ring[1, 1:10, 1:10] = 1
    ring[1, 4:7, 4:7] = 0
    (found, _) = located(TWO, ring, IDENTITY)
    assert found.center_mm is not None
    voxel = np.linalg.inv(IDENTITY) @ [*found.center_mm, 1]
    assert ring[tuple(np.rint(voxel[:3]).astype(int))] == 1
