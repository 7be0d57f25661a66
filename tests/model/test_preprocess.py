"""Preparing a volume and the way back: every orientation, the original's numbers, and labels that land where they were."""

from __future__ import annotations

import tracemalloc
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine
from scipy import ndimage
from skimage.transform import resize

from uniseg_model.axes import Axes, axes_for
from uniseg_model.errors import GeometryError, ModalityError, OptionError
from uniseg_model.preprocess import Prepared, Recipe, new_shape, nonzero_box, prepare
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Shape, Triple, Volume

TASKS = builtin_tasks()
ZYX_MM = (3.0, 1.5, 2.0)
EYE = np.diag([1.0, 1, 1, 1])


def oriented(code: str, zyx_mm: Triple = ZYX_MM) -> np.ndarray:
    return oriented_affine(code, zyx_mm)


def diagonal(zyx_mm: Triple) -> np.ndarray:
    """A usual axial file, x to the right."""
    return oriented("RAS", zyx_mm)


def volume_of(channel: Any, affine: np.ndarray = EYE) -> Volume:
    return Volume(np.asarray(channel, np.float32)[None], affine)


def recipe(zyx_mm: Triple = (1.0, 1.0, 1.0), *intensity: str, axes: str = "stored") -> Recipe:
    return Recipe(zyx_mm, intensity or ("hu",), axes)


def one_hot(labels: np.ndarray, n_classes: int) -> np.ndarray:
    return np.stack([labels == value for value in range(n_classes)]).astype(np.float32)


def numbered_in_a_box(rng: np.random.Generator) -> np.ndarray:
    """Zeros, and in a random box 1, 2, 3, ...: fewer than 325, so that each number survives as its own grey value."""
    sides = rng.integers(1, 6, 3)
    before, after = rng.integers(0, 4, 3), rng.integers(1, 4, 3)
    image = np.zeros(tuple(before + sides + after), np.float32)
    box = tuple(slice(b, b + n) for b, n in zip(before, sides, strict=True))
    image[box] = np.arange(1, 1 + sides.prod()).reshape(sides)
    return image


def numbers_in(prepared: Prepared) -> np.ndarray:
    """The voxel numbers behind HU scaled to [0, 1]."""
    return np.rint(prepared.array[0].astype(np.float64) * 650 - 325).astype(int)


# Axes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_axial_axes_run_head_foot_front_back_left_right_without_flips(code: str, rng: np.random.Generator) -> None:
    axes = axes_for(oriented(code), "axial")
    array = rng.random((2, 3, 4, 5))
    letters = code[::-1]  # of Z, Y, X
    assert ["SI", "AP", "LR"] == ["".join(sorted({letters[i], *opposite(letters[i])}, key="SIAPLR".index)) for i in axes.order]
    assert axes.flips == ()
    z, y, x = axes.order
    assert np.array_equal(axes.apply(array), array.transpose(0, 1 + z, 1 + y, 1 + x))


def opposite(letter: str) -> str:
    return dict(zip("RLAPSI", "LRPAIS", strict=True))[letter]


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_ras_equals_nibabel_s_closest_canonical(code: str, rng: np.random.Generator) -> None:
    affine = oriented(code)
    array = rng.random((4, 5, 6))
    canonical = nib.as_closest_canonical(nib.Nifti1Image(array.T, affine[:, [2, 1, 0, 3]]))
    assert np.array_equal(axes_for(affine, "RAS").apply(array), canonical.get_fdata().T)


@pytest.mark.parametrize("rule", ORIENTATIONS)
def test_three_letters_turn_every_file_as_nibabel_does(rule: str, rng: np.random.Generator) -> None:
    array = rng.random((2, 3, 4))
    for code in ORIENTATIONS:
        turn = nib.orientations.ornt_transform(*(nib.orientations.axcodes2ornt(letters) for letters in (code, rule)))
        expected = nib.orientations.apply_orientation(array.T, turn).T
        axes = axes_for(oriented(code), rule)
        assert np.array_equal(axes.apply(array), expected), code
        assert np.array_equal(axes.undo(expected), array), code


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_stored_axes_are_left_alone(code: str, rng: np.random.Generator) -> None:
    array = rng.random((2, 3, 4, 5))
    assert axes_for(oriented(code), "stored") == Axes((0, 1, 2))
    assert np.array_equal(axes_for(oriented(code), "stored").apply(array), array)


def test_undo_gives_a_copy_in_c_order(rng: np.random.Generator) -> None:
    array = rng.random((2, 3, 4))
    axes = Axes((2, 0, 1), (0, 2))
    back = axes.undo(axes.apply(array))
    assert np.array_equal(back, array)
    assert back.flags.c_contiguous


def test_a_recipe_is_the_task_s_own_or_as_asked() -> None:
    assert Recipe.of(TASKS["vertebrae"]) == Recipe((4.0, 2.0, 2.0), ("hu",), "RAS")
    assert Recipe.of(TASKS["brain"], (2.0, 1.0, 1.0), "LPS") == Recipe((2.0, 1.0, 1.0), ("zscore",) * 4, "LPS")
    assert Recipe.of(TASKS["liver"]) == Recipe.of(TASKS["kidney"])  # one prepared array for both
    with pytest.raises(OptionError, match="not 'sideways'"):
        Recipe.of(TASKS["liver"], axes="sideways")


# Crop ------------------------------------------------------------------------------------------------------------------


def test_the_box_holds_every_channel_s_voxels_and_nan() -> None:
    array = np.zeros((2, 6, 7, 8), np.float32)
    array[0, 2, 3, 4] = 1
    assert nonzero_box(array) == (slice(2, 3), slice(3, 4), slice(4, 5))
    array[0, 3, 3, 6] = np.nan  # NaN is not 0
    assert nonzero_box(array) == (slice(2, 4), slice(3, 4), slice(4, 7))
    array[1, 5, 0, 0] = -1e-30  # one stray voxel in another channel
    assert nonzero_box(array) == (slice(2, 6), slice(0, 4), slice(0, 7))


def test_a_hole_changes_nothing_and_no_border_leaves_the_whole_image() -> None:
    array = np.ones((1, 4, 5, 6), np.float32)
    array[0, 1:3, 1:4, 1:5] = 0
    assert nonzero_box(array) == (slice(0, 4), slice(0, 5), slice(0, 6))


def test_nan_is_cropped_as_a_value_and_then_becomes_0() -> None:
    image = np.zeros((4, 4, 4), np.float32)
    image[1, 1, 1], image[2, 2, 2] = 325, np.nan
    prepared = prepare(volume_of(image), recipe())
    assert prepared.box == (slice(1, 3),) * 3
    assert prepared.array[0, 0, 0, 0] == 1  # 325 HU
    assert prepared.array[0, 1, 1, 1] == 0.5  # 0 HU
    assert np.isnan(image[2, 2, 2])  # the caller's image is left alone


# Shape -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "old_mm", "new_mm", "expected"),
    [
        ((5, 7, 9), (1, 1, 1), (2, 2, 2), (2, 4, 4)),  # 2.5, 3.5, 4.5 go to the even number
        ((1, 3, 5), (1, 1, 1), (2, 2, 2), (1, 2, 2)),  # 0.5 would be 0: one voxel is left
        ((10, 10, 10), (3, 1.5, 1.5), (3, 1.5, 1.5), (10, 10, 10)),
        ((100, 512, 512), (5, 0.75, 0.75), (3, 1.5, 1.5), (167, 256, 256)),  # 166.67
        ((2, 2, 2), (0.1, 0.1, 0.1), (8, 4, 4), (1, 1, 1)),
    ],
)
def test_the_new_shape_is_rounded_half_to_even(shape: Shape, old_mm: Triple, new_mm: Triple, expected: Shape) -> None:
    assert new_shape(shape, old_mm, new_mm) == expected


def test_a_spacing_that_makes_an_array_beyond_any_machine_is_refused() -> None:
    assert new_shape((2048, 1024, 1024), (1, 1, 1), (1, 1, 1)) == (2048, 1024, 1024)  # 2**31 voxels are the limit
    with pytest.raises(GeometryError, match=r"become 2049 x 1024 x 1024 at \(1, 1, 1\) mm, more than 2147483648 voxels"):
        new_shape((2049, 1024, 1024), (1, 1, 1), (1, 1, 1))
    with pytest.raises(GeometryError, match="Is the voxel size in the header right"):
        prepare(volume_of(np.ones((4, 4, 4)), diagonal((1000, 1000, 1000))), recipe())


# Intensities -----------------------------------------------------------------------------------------------------------


def test_hounsfield_units_by_hand() -> None:
    image = np.array([-400, -325, 0, 325, 1000, 162.5, -162.5, 3000]).reshape(2, 2, 2)
    assert prepare(volume_of(image), recipe()).array.ravel().tolist() == [0, 0, 0.5, 1, 1, 0.75, 0.25, 1]


def test_zscore_counts_the_zeros_and_the_population() -> None:
    image = np.array([2, 0, 0, 0, 0, 2, 2, 2]).reshape(2, 2, 2)  # mean 1; standard deviation 1 (of the sample 1.07)
    got = prepare(volume_of(image), recipe((1, 1, 1), "zscore")).array
    np.testing.assert_allclose(got.ravel(), [1, -1, -1, -1, -1, 1, 1, 1], atol=1e-7)


def test_zscore_sees_only_the_crop() -> None:
    image = np.zeros((6, 6, 6))
    image[2:4, 2:4, 2:4] = np.array([2, 0, 0, 0, 0, 2, 2, 2]).reshape(2, 2, 2)
    got = prepare(volume_of(image), recipe((1, 1, 1), "zscore")).array
    assert got.shape == (1, 2, 2, 2)
    np.testing.assert_allclose(np.abs(got), 1, atol=1e-7)


def test_zscore_adds_1e_8_to_the_deviation() -> None:
    constant = prepare(volume_of(np.full((2, 2, 2), 7)), recipe((1, 1, 1), "zscore")).array
    assert np.array_equal(constant, np.zeros((1, 2, 2, 2)))
    faint = (
        np.array([2, 0, 0, 0, 0, 2, 2, 2]).reshape(2, 2, 2) * 1e-8
    )  # mean and deviation are 1e-8: (2e-8 - 1e-8) / (1e-8 + 1e-8)
    got = prepare(volume_of(faint), recipe((1, 1, 1), "zscore")).array
    np.testing.assert_allclose(got.ravel(), [0.5, -0.5, -0.5, -0.5, -0.5, 0.5, 0.5, 0.5], atol=1e-5)


def test_each_channel_has_its_own_rule() -> None:
    channel = np.array([-325, 325] * 4, np.float32).reshape(2, 2, 2)
    prepared = prepare(Volume(np.stack([channel, channel]), EYE), recipe((1, 1, 1), "hu", "zscore"))
    np.testing.assert_allclose(prepared.array[0].ravel(), [0, 1] * 4)
    np.testing.assert_allclose(prepared.array[1].ravel(), [-1, 1] * 4, atol=1e-7)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ModalityError, match="the recipe needs 4 channels, the image has 1"):
        prepare(volume_of(np.ones((2, 2, 2))), Recipe.of(TASKS["brain"]))


# The whole way in ------------------------------------------------------------------------------------------------------

SPACINGS = {  # old, new along z, y, x; which axis stands apart
    "together": ((2.0, 1.0, 1.25), (3.0, 1.5, 1.5), None),
    "apart by the image": ((5.0, 1.0, 1.0), (3.0, 1.5, 1.5), 0),
    "apart by the image, sagittal": ((1.0, 1.0, 3.5), (1.0, 1.5, 1.5), 2),
    "apart by the recipe": ((2.0, 1.0, 1.0), (8.0, 1.5, 1.5), 0),
    "two equally coarse": ((4.0, 1.0, 4.0), (3.0, 1.5, 1.5), None),
}


def slowly(array: np.ndarray, shape: Shape, apart: int | None, order: int) -> np.ndarray:
    """One channel as the original resamples it, by scikit-image."""
    options: dict[str, Any] = {"order": order, "mode": "edge", "clip": True, "anti_aliasing": False}
    if apart is None:
        return np.asarray(resize(array.astype(np.float64), shape, **options)).astype(np.float32)
    plane = tuple(side for axis, side in enumerate(shape) if axis != apart)
    slices = [resize(one.astype(np.float64), plane, **options) for one in np.moveaxis(array, apart, 0)]
    stack = np.stack(slices, axis=apart).astype(np.float32)
    places = np.indices(shape).astype(float)
    places[apart] = (places[apart] + 0.5) * stack.shape[apart] / shape[apart] - 0.5
    return np.asarray(ndimage.map_coordinates(stack, places, order=0, mode="nearest"))


@pytest.mark.parametrize("rule", ["hu", "zscore"])
@pytest.mark.parametrize("name", SPACINGS)
def test_prepared_equals_the_original_step_by_step(name: str, rule: str, rng: np.random.Generator) -> None:
    old_mm, new_mm, apart = SPACINGS[name]
    image = np.zeros((14, 20, 18), np.float32)
    image[1:12, 2:17, 3:15] = rng.normal(0, 300, (11, 15, 12))
    prepared = prepare(volume_of(image, diagonal(old_mm)), recipe(new_mm, rule))
    crop = image[1:12, 2:17, 3:15]
    shape = tuple(round(n * old / new) for n, old, new in zip(crop.shape, old_mm, new_mm, strict=True))
    expected = slowly(crop, shape, apart, 3)
    if rule == "hu":
        expected = (np.clip(expected, -325, 325) + 325) / 650
    else:
        expected = (expected - expected.mean()) / (expected.std() + 1e-8)
    assert prepared.shape == shape
    assert prepared.cropped_shape == (11, 15, 12)
    assert prepared.full_shape == (14, 20, 18)
    assert prepared.array.dtype == np.float32
    np.testing.assert_allclose(prepared.array[0], expected, rtol=0, atol=2e-6)


def test_the_spacing_follows_the_axes() -> None:
    sagittal = oriented("PSR", (3.0, 1.5, 2.0))  # slices of 3 mm run to the right, y up in 1.5 mm, x to the back in 2 mm
    prepared = prepare(volume_of(np.ones((4, 6, 5)), sagittal), recipe((1.5, 2.0, 3.0), axes="axial"))
    assert prepared.spacing_mm == (1.5, 2.0, 3.0)
    assert prepared.shape == (6, 5, 4)


# The way back ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["axial", "RAS", "stored", "IPL"])
@pytest.mark.parametrize("code", ORIENTATIONS)
def test_labels_land_where_they_were(code: str, rule: str) -> None:
    rng = np.random.default_rng(ORIENTATIONS.index(code))
    image = numbered_in_a_box(rng)
    labels = np.where(image > 0, rng.integers(0, 4, image.shape), 0)
    affine = oriented(code)
    order = axes_for(affine, rule).order
    unchanged_mm: Triple = tuple(ZYX_MM[axis] for axis in order)  # type: ignore[assignment]
    prepared = prepare(volume_of(image, affine), recipe(unchanged_mm, axes=rule))

    label_of = np.zeros(int(image.max()) + 1, int)  # by voxel number, whichever way the array was turned
    label_of[image[image > 0].astype(int)] = labels[image > 0]
    answer = prepared.restore(one_hot(label_of[numbers_in(prepared)], 4))

    assert answer.labels.dtype == np.uint8
    assert answer.labels.flags.c_contiguous
    assert np.array_equal(answer.labels, labels)
    assert answer.margin is None


@pytest.mark.parametrize("name", SPACINGS)
def test_restored_equals_the_original_step_by_step(name: str, rng: np.random.Generator) -> None:
    old_mm, new_mm, apart = SPACINGS[name]
    image = np.zeros((14, 20, 18), np.float32)
    image[1:12, 2:17, 3:15] = 1
    prepared = prepare(volume_of(image, diagonal(old_mm)), recipe(new_mm))
    probabilities = rng.random((4, *prepared.shape)).astype(np.float32)
    probabilities /= probabilities.sum(axis=0)

    crop = np.stack([slowly(one, (11, 15, 12), apart, 1) for one in probabilities])
    labels, (probability, margin) = np.zeros(image.shape, np.uint8), np.full((2, *image.shape), 255.0)
    labels[1:12, 2:17, 3:15] = crop.argmax(axis=0)
    ordered = np.sort(crop, axis=0)
    margin[1:12, 2:17, 3:15] = (ordered[-1] - ordered[-2]) * 255
    probability[1:12, 2:17, 3:15] = ordered[-1] * 255

    answer = prepared.restore(probabilities, confidence=True)
    assert np.array_equal(answer.labels, labels)
    assert answer.margin is not None
    assert answer.probability is not None
    assert np.abs(answer.probability - probability).max() < 0.501
    assert np.abs(answer.margin - margin).max() < 0.501  # rounded to whole numbers


def test_axes_and_spacing_together_restore_on_the_file_s_own_grid() -> None:
    image = np.ones((8, 10, 12), np.float32)
    prepared = prepare(volume_of(image, oriented("PIR", (1.0, 1.0, 1.0))), recipe((2.0, 2.0, 2.0), axes="RAS"))
    probabilities = np.zeros((2, *prepared.shape), np.float32)
    _, y, x = np.indices(prepared.shape)
    probabilities[1] = (x < 2) & (y >= 4)  # leftmost 4 mm and the front, of 8 mm and 12 mm
    probabilities[0] = 1 - probabilities[1]
    labels = prepared.restore(probabilities).labels
    _, _, file_x = np.indices(image.shape)  # the file: Z to the right, Y down, X to the back
    file_z = np.indices(image.shape)[0]
    assert np.array_equal(labels, (file_z < 4) & (file_x < 4))


def test_ties_go_to_the_lower_class() -> None:
    prepared = prepare(volume_of(np.ones((2, 2, 2))), recipe())
    probabilities = np.zeros((3, 2, 2, 2), np.float32)
    probabilities[:, 0, 0, 0] = 0.5, 0.5, 0
    probabilities[:, 0, 0, 1] = 0.2, 0.4, 0.4
    probabilities[:, 0, 1, 0] = 0.1, 0.4, 0.5
    assert prepared.restore(probabilities).labels[0].tolist() == [[0, 1], [2, 0]]


def test_probabilities_that_do_not_sum_to_1_are_compared_as_they_are() -> None:
    prepared = prepare(volume_of(np.ones((2, 2, 2))), recipe())
    probabilities = np.full((2, 2, 2, 2), 0.1, np.float32)
    probabilities[1, 0, 0, 0] = 0.2  # the task's classes share 0.3; the rest went to a class it does not have
    answer = prepared.restore(probabilities, confidence=True)
    assert answer.labels.sum() == answer.labels[0, 0, 0] == 1
    assert answer.margin is not None
    assert answer.margin[0, 0].tolist() == [26, 0]  # 25.5 goes up in float32: 0.2 - 0.1 is just above 0.1


def test_margin_and_probability_by_hand() -> None:
    image = np.zeros((4, 2, 2))
    image[1:3] = 1
    prepared = prepare(volume_of(image), recipe())
    probabilities = np.zeros((3, 2, 2, 2), np.float32)
    probabilities[:, 0, 0, 0] = 1, 0, 0  # 255
    probabilities[:, 0, 0, 1] = 0.5, 0.5, 0  # 0
    probabilities[:, 0, 1, 0] = 0.25, 0.125, 0.625  # 0.375 * 255 = 95.6
    probabilities[:, 0, 1, 1] = 0, 0.75, 0.25  # 0.5 * 255 = 127.5, to the even 128
    answer = prepared.restore(probabilities, confidence=True)
    probability, margin = answer.probability, answer.margin
    assert margin is not None
    assert probability is not None
    assert margin.dtype == probability.dtype == np.uint8
    assert probability[1].tolist() == [[255, 128], [159, 191]]  # of 0.5: 127.5, to the even 128
    assert margin[1].tolist() == [[255, 0], [96, 128]]
    assert margin[2].tolist() == [[0, 0], [0, 0]]
    assert (margin[[0, 3]] == 255).all()  # outside the crop box nothing is in doubt


@pytest.mark.parametrize("rule", ["axial", "RAS", "LPI"])
def test_the_margin_turns_with_the_labels(rule: str) -> None:
    image = numbered_in_a_box(np.random.default_rng(3))
    affine = oriented("PSL", (1.0, 1.0, 1.0))
    prepared = prepare(volume_of(image, affine), recipe(axes=rule))
    numbers = numbers_in(prepared)
    share = numbers / 255  # the voxel's number comes back as its margin
    probabilities = np.stack([(1 + share) / 2, (1 - share) / 2]).astype(np.float32)
    margin = prepared.restore(probabilities, confidence=True).margin
    assert np.array_equal(margin, np.where(image > 0, image, 255))


def test_probabilities_of_another_grid_are_refused() -> None:
    prepared = prepare(volume_of(np.ones((2, 3, 4))), recipe())
    with pytest.raises(GeometryError, match=r"shape \(4, 3, 2\) do not fit the prepared grid \(2, 3, 4\)"):
        prepared.restore(np.zeros((2, 4, 3, 2), np.float32))


@pytest.mark.parametrize("target_mm", [(4.0, 2.0, 2.0), (4.0, 1.0, 1.0)])  # together; z apart
def test_classes_never_stand_at_full_resolution(target_mm: Triple) -> None:
    n_classes, side = 4, 160
    image = np.ones((side, side, side), np.float32)
    prepared = prepare(volume_of(image), recipe(target_mm))
    probabilities = np.full((n_classes, *prepared.shape), 0.25, np.float32)
    tracemalloc.start()
    try:
        prepared.restore(probabilities)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < n_classes * side**3 * 4


def testbest_class_is_argmax_with_ties_to_the_lower_class(rng: np.random.Generator) -> None:
    from uniseg_model.preprocess import best_class

    values = rng.integers(0, 3, (5, 7, 8, 9)).astype(np.float32)  # full of ties
    assert np.array_equal(best_class(values), values.argmax(axis=0))


# Looking before it is finished -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_each_voxel_is_found_in_the_prepared_array_and_roughly_brought_back(code: str, rng: np.random.Generator) -> None:
    image = numbered_in_a_box(rng)
    prepared = prepare(volume_of(image, oriented(code, (1.0, 1.0, 1.0))), recipe(axes="RAS"))
    numbers = numbers_in(prepared)
    for voxel in np.argwhere(image)[:: max(1, int(image.max()) // 7)]:
        z, y, x = prepared.place_of(tuple(voxel))
        assert numbers[int(z), int(y), int(x)] == image[tuple(voxel)]
    np.testing.assert_array_equal(prepared.roughly_restored((numbers % 200).astype(np.uint8)), image % 200)


def test_the_rough_way_back_takes_the_nearest_voxel() -> None:
    """8 slices of 1 mm at 2 mm: prepared slice 0 stands for slices 0 and 1; the middle of slice 0 lies at -0.25."""
    prepared = prepare(volume_of(np.ones((8, 3, 3))), recipe((2.0, 1.0, 1.0)))
    assert prepared.place_of((0, 0, 0)) == (-0.25, 0, 0)
    assert prepared.place_of((5, 1, 2)) == (2.25, 1, 2)
    labels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    assert prepared.roughly_restored(labels)[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
