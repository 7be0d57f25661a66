"""Pictures of differences: the right slice, the right way round, the right colours; and a PNG that others can read."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from uniseg_model.evaluation.pictures import BOTH, MISSED, PICTURE_SIDE, SURPLUS, Picture, draw_difference, encode_png

AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]  # (z, y, x, 1) to RAS+ mm: x right, y anterior, z superior
AFFINE[:3, :3] = [[0, 0, 1], [0, 1, 0], [2, 0, 0]]


def cubes() -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) prediction and reference: alike in slices 2 to 7, and in slice 5 the prediction lacks its right half."""
    reference = np.zeros((12, 60, 60), dtype=bool)
    reference[2:8, 20:40, 20:40] = True
    prediction = reference.copy()
    prediction[5, :, 30:] = False  # x grows towards the patient's right
    return prediction, reference


def colored(picture: Picture, color: tuple[int, int, int]) -> np.ndarray:
    """(S, S) bool: where the pixels have exactly this colour, which only lines have."""
    return np.asarray((picture.pixels == color).all(axis=2))


def test_the_slice_with_the_largest_difference_is_shown() -> None:
    picture = draw_difference(*cubes(), AFFINE)
    assert (picture.slice_number, picture.n_slices) == (6, 12)  # counted from 1
    assert (picture.n_both, picture.n_missed, picture.n_surplus) == (200, 200, 0)
    assert picture.pixels.shape == (PICTURE_SIDE, PICTURE_SIDE, 3)
    assert picture.side_mm == 50.0  # 20 mm and a margin is less than the least


def test_the_patients_right_is_on_the_left() -> None:
    picture = draw_difference(*cubes(), AFFINE)
    columns = np.flatnonzero(colored(picture, MISSED).any(axis=0))  # the missed half is the right one
    assert columns.max() <= PICTURE_SIDE / 2 + 2
    assert not colored(picture, SURPLUS)[:, : PICTURE_SIDE // 2 - 2].any()


def test_the_front_is_up() -> None:
    _, reference = cubes()
    prediction = reference.copy()
    prediction[5, 30:, :] = False  # y grows towards the front
    rows = np.flatnonzero(colored(draw_difference(prediction, reference, AFFINE), MISSED).any(axis=1))
    assert rows.max() <= PICTURE_SIDE / 2 + 2


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_any_order_of_axes_gives_the_same_picture(axes: tuple[int, int, int]) -> None:
    prediction, reference = cubes()
    image = np.random.default_rng(0).normal(size=reference.shape).astype(np.float32)
    turned = [array.transpose(axes) for array in (prediction, reference)]
    expected = draw_difference(prediction, reference, AFFINE, image)
    picture = draw_difference(*turned, AFFINE[:, [*axes, 3]], image.transpose(axes))
    assert np.array_equal(picture.pixels, expected.pixels)
    assert picture.slice_number == expected.slice_number


def test_a_flipped_file_gives_the_same_picture() -> None:
    prediction, reference = cubes()
    mirrored = AFFINE.copy()
    mirrored[:, 2] *= -1  # x grows to the left now
    picture = draw_difference(prediction[..., ::-1], reference[..., ::-1], mirrored)
    assert np.array_equal(picture.pixels, draw_difference(prediction, reference, AFFINE).pixels)


def test_surplus_and_agreement_have_their_colours() -> None:
    prediction, reference = cubes()
    picture = draw_difference(reference, prediction, AFFINE)  # the other way round
    assert colored(picture, SURPLUS).any()
    assert colored(picture, BOTH).any()
    assert (picture.n_missed, picture.n_surplus) == (0, 200)


def test_missed_places_are_striped_and_surplus_ones_are_plain() -> None:
    def shades(prediction: np.ndarray, reference: np.ndarray) -> int:
        middle = draw_difference(prediction, reference, AFFINE).pixels[150:210, 120:160]
        return len(np.unique(middle.reshape(-1, 3), axis=0))

    prediction, reference = cubes()
    assert shades(prediction, reference) == 2
    assert shades(reference, prediction) == 1


def test_a_structure_missed_altogether_is_drawn_too() -> None:
    _, reference = cubes()
    picture = draw_difference(np.zeros_like(reference), reference, AFFINE)
    assert picture.slice_number == 3  # of equal slices the first
    assert picture.n_missed == 400


def test_a_large_structure_fits_with_a_margin() -> None:
    reference = np.zeros((3, 200, 200), dtype=bool)
    reference[1, 0:100, 90:110] = True
    picture = draw_difference(np.zeros_like(reference), reference, AFFINE)
    assert picture.side_mm == 160.0


def test_grey_values_span_the_window_and_nan_is_dark() -> None:
    prediction, reference = cubes()
    image = np.full(reference.shape, 200.0, np.float32)
    image[:, :, :30] = np.nan
    pixels = draw_difference(prediction, reference, AFFINE, image, (-100.0, 100.0)).pixels
    assert tuple(pixels[3, 3]) == (255, 255, 255)  # x above 30 is the patient's right, on the left
    assert tuple(pixels[3, -4]) == (127, 127, 127) or tuple(pixels[3, -4]) == (128, 128, 128)  # NaN is 0, half-way


def test_an_even_image_is_no_division_by_zero() -> None:
    prediction, reference = cubes()
    assert draw_difference(prediction, reference, AFFINE, np.full(reference.shape, 7.0)).n_missed == 200


def test_the_png_holds_the_very_pixels(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    png = encode_png(pixels)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        chunks[kind] = png[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(kind + chunks[kind])
        place += 12 + length
    assert struct.unpack(">2I5B", chunks[b"IHDR"]) == (7, 5, 8, 2, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 1 + 7 * 3)
    assert not rows[:, 0].any()
    assert np.array_equal(rows[:, 1:].reshape(5, 7, 3), pixels)
