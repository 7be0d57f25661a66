"""Parts of an image: which windows they take, and for which voxels the answer holds."""

from __future__ import annotations

import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine

from uniseg_model.errors import OptionError
from uniseg_model.preprocess import Prepared, Recipe, prepare
from uniseg_model.regions import WHOLE, Box, OneWindow
from uniseg_model.volume import Volume
from uniseg_model.windows import Layout, overlap, seen_from

WINDOW = (8, 8, 8)


def prepared_of(volume: Volume, spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0), axes: str = "RAS") -> Prepared:
    return prepare(volume, Recipe(spacing_mm, ("hu",), axes))


def cube(side: int = 24, affine: np.ndarray | None = None) -> Volume:
    """Voxels of 2 mm, none of them 0."""
    array = np.full((1, side, side, side), -300, np.float32)
    return Volume(array, oriented_affine("RAS", (2.0, 2.0, 2.0)) if affine is None else affine)


def test_boxes_by_hand() -> None:
    a, b = (slice(0, 5), slice(2, 4), slice(0, 9)), (slice(3, 8), slice(6, 9), slice(1, 2))
    assert overlap(a, b) == (slice(3, 5), slice(6, 6), slice(1, 2))
    assert seen_from(a, b) == (slice(3, 8), slice(4, 7), slice(1, 2))


def test_one_window_is_the_nearest_and_holds_for_its_own_voxels() -> None:
    """24 voxels, windows of 8 every 4: the middle of the second window along each axis lies at voxel 8."""
    volume, prepared = cube(), prepared_of(cube())
    scope = OneWindow((8, 0, 23)).scope(prepared, Layout.over(prepared.shape, WINDOW), volume.shape)
    assert scope.layout.starts == ((4, 0, 16),)
    assert scope.valid == (slice(4, 12), slice(0, 8), slice(16, 24))


def test_a_box_takes_all_windows_that_touch_it() -> None:
    """Voxel 9 lies in the windows that start at 4 and at 8; voxels 0 to 3 only in the first."""
    volume, prepared = cube(), prepared_of(cube())
    scope = Box((9, 0, 0), (10, 4, 24)).scope(prepared, Layout.over(prepared.shape, WINDOW), volume.shape)
    assert {z for z, _, _ in scope.layout.starts} == {4, 8}
    assert {y for _, y, _ in scope.layout.starts} == {0}
    assert {x for _, _, x in scope.layout.starts} == {0, 4, 8, 12, 16}
    assert scope.valid == (slice(9, 10), slice(0, 4), slice(0, 24))


def test_the_whole_image_takes_everything() -> None:
    volume, prepared = cube(), prepared_of(cube())
    layout = Layout.over(prepared.shape, WINDOW)
    scope = WHOLE.scope(prepared, layout, volume.shape)
    assert scope.layout is layout
    assert scope.valid == (slice(0, 24),) * 3


@pytest.mark.parametrize("code", ORIENTATIONS[::6])
@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (3.0, 1.3, 1.3), (1.1, 2.7, 5.0), (9.0, 2.0, 2.0)])
def test_what_a_box_needs_is_all_that_its_answer_depends_on(
    code: str, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Probabilities outside of what is needed may be anything: the labels in the box stay the same."""
    array = np.zeros((1, 14, 18, 16), np.float32)
    array[0, 2:13, 1:17, 3:15] = -300
    prepared = prepared_of(Volume(array, oriented_affine(code, (3.0, 2.0, 2.5))), spacing_mm)
    box = (slice(4, 7), slice(5, 12), slice(2, 9))
    needed = prepared.needed_for(box)
    assert needed is not None
    right = rng.random((3, *prepared.shape)).astype(np.float32)
    spoiled = rng.random((3, *prepared.shape)).astype(np.float32)
    spoiled[(slice(None), *needed)] = right[(slice(None), *needed)]
    assert np.array_equal(prepared.restore(right).labels[box], prepared.restore(spoiled).labels[box])
    held = prepared.answered_by(needed)
    assert np.array_equal(prepared.restore(right).labels[held], prepared.restore(spoiled).labels[held])


def test_answered_by_is_as_large_as_it_can_be() -> None:
    """2 mm voxels prepared at 4 mm: prepared voxels 2 to 4 lie at 4.5 to 8.5, and the image's voxels 5 to 8 between them."""
    prepared = prepared_of(cube(), (4.0, 4.0, 4.0))
    assert prepared.answered_by((slice(2, 5),) * 3) == (slice(5, 9),) * 3
    assert prepared.answered_by((slice(0, 5),) * 3) == (slice(0, 9),) * 3  # the edge is held


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (OneWindow((0, 0, 24)), r"the voxel \(0, 0, 24\) lies outside the image of \(24, 24, 24\) voxels"),
        (OneWindow((-1, 0, 0)), "lies outside the image"),
        (Box((0, 0, 0), (1, 1, 25)), "must lie in the image"),
        (Box((3, 0, 0), (3, 1, 1)), "and hold some"),
    ],
)
def test_what_lies_outside_is_refused(region: Box | OneWindow, message: str) -> None:
    volume, prepared = cube(), prepared_of(cube())
    with pytest.raises(OptionError, match=message):
        region.scope(prepared, Layout.over(prepared.shape, WINDOW), volume.shape)


def test_a_box_of_air_that_was_cropped_is_refused() -> None:
    array = np.zeros((1, 24, 24, 24), np.float32)
    array[0, 10:20, :, :] = -300
    volume = Volume(array, oriented_affine("RAS", (2.0, 2.0, 2.0)))
    prepared = prepared_of(volume)
    with pytest.raises(OptionError, match=r"the image is 0 in the whole box from \(0, 0, 0\) to \(10, 5, 5\)"):
        Box((0, 0, 0), (10, 5, 5)).scope(prepared, Layout.over(prepared.shape, WINDOW), volume.shape)


def test_a_part_of_the_block_lies_on_the_grid_with_zeros_around() -> None:
    layout = Layout.over((10, 8, 5), WINDOW)  # windows at 0 and 2 along z; 1 voxel of padding before x, 2 after
    last = layout.nearest((9, 4, 2))
    assert last.block == (slice(2, 10), slice(0, 8), slice(0, 8))
    values = np.arange(8)[:, None, None] + np.ones((2, 8, 8, 8))
    on_grid = last.on_grid(values)
    assert on_grid.shape == (2, 10, 8, 5)
    assert on_grid[0, :, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert layout.on_grid(np.ones((10, 8, 8))).shape == (10, 8, 5)
