"""Pictures of where a prediction and its reference differ: one axial slice, cut to the structure.

What both hold is green, what only the reference holds is blue with stripes, what only the prediction holds is plain orange
(colours of Okabe and Ito, 2008; the stripes are for those who see none). Rows run from front to back and columns from the
patient's right to the left, as radiologists look at it, whatever order the file is stored in.

Letters: h, w rows and columns of a slice; S the side of a picture in pixels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, map_coordinates

from uniseg_model.evaluation.metrics import Mask
from uniseg_model.volume import closest_world_axes, voxel_lengths

BOTH, MISSED, SURPLUS = (0, 158, 115), (86, 180, 233), (230, 159, 0)
PICTURE_SIDE = 360  # S
_LEAST_SIDE_MM = 50.0  # enough around a small structure to see where one is
_MARGIN = 1.6  # a picture's side over the structure's longer one
_STRIPE = 6  # pixels from one stripe to the next
_OPACITY_BOTH, _OPACITY_ONE = 0.3, 0.65

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """One slice of one structure.

    pixels: (S, S, 3) uint8. side_mm: the length that S stands for. slice_number: counted from 1 as stored, of ``n_slices``.
    n_both, n_missed, n_surplus: voxels of this slice in both masks, only in the reference, only in the prediction.
    """

    pixels: Rgb = field(repr=False)
    side_mm: float
    slice_number: int
    n_slices: int
    n_both: int
    n_missed: int
    n_surplus: int


def draw_difference(
    prediction: Mask,
    reference: Mask,
    affine: np.ndarray,
    image: np.ndarray | None = None,
    grey_window: tuple[float, float] | None = None,
) -> Picture:
    """The axial slice with the most voxels in one mask only; of equal ones the first.

    prediction, reference: (Z, Y, X) bool on one grid, not both empty. image: (Z, Y, X) on that grid; without one the
    background is dark. grey_window: the values that become black and white, left out those of nearly all of the slice.
    """
    found, wanted = axial(prediction, affine), axial(reference, affine)  # (slices, h, w)
    number = int(np.count_nonzero(found ^ wanted, axis=(1, 2)).argmax())
    a, b = found[number], wanted[number]
    rows, columns, side_mm = section(a | b, affine)
    grey = np.full((PICTURE_SIDE, PICTURE_SIDE), 0.15)
    if image is not None:
        grey = sample(to_grey(axial(image, affine)[number], grey_window), rows, columns, order=1)
    pixels = _paint(grey, *(sample(mask.astype(float), rows, columns, order=0) > 0.5 for mask in (a, b)))
    n_both, n_missed, n_surplus = (int(np.count_nonzero(mask)) for mask in (a & b, b & ~a, a & ~b))
    return Picture(pixels, side_mm, number + 1, len(found), n_both, n_missed, n_surplus)


def encode_png(pixels: Rgb) -> bytes:
    """A PNG file of (h, w, 3) uint8, without any library: three chunks and a filter byte of 0 before each row."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def axial_axes(affine: np.ndarray) -> list[tuple[int, int]]:
    """For slices, rows and columns: the array axis that runs along them, and 1 or -1 for its direction."""
    runs = {world: (axis, sign) for axis, (world, sign) in enumerate(closest_world_axes(affine))}
    (slices, _), (rows, forward), (columns, rightward) = runs[2], runs[1], runs[0]
    return [(slices, 1), (rows, -forward), (columns, -rightward)]  # front to back, right to left


def axial(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A view (slices, h, w) of an array (Z, Y, X): slices as stored, the front up and the patient's right on the left."""
    axes = axial_axes(affine)
    return array.transpose([axis for axis, _ in axes])[tuple(slice(None, None, step) for _, step in axes)]


def section(shown: Mask, affine: np.ndarray, margin: float = _MARGIN) -> tuple[np.ndarray, np.ndarray, float]:
    """Where a picture's rows and columns lie in the slice (fractional indices), and its side in mm: a square around ``shown``.

    margin: the picture's side over the longer one of what is shown.
    """
    lengths = voxel_lengths(affine)
    steps_mm = [lengths[axis] for axis, _ in axial_axes(affine)[1:]]
    hits = [np.flatnonzero(shown.any(axis=other)) for other in (1, 0)]
    extents_mm = [float(hit[-1] - hit[0] + 1) * step for hit, step in zip(hits, steps_mm, strict=True)]
    side_mm = max(_LEAST_SIDE_MM, margin * max(extents_mm))
    offsets_mm = (np.arange(PICTURE_SIDE) + 0.5) / PICTURE_SIDE * side_mm - side_mm / 2
    rows, columns = ((hit[0] + hit[-1]) / 2 + offsets_mm / step for hit, step in zip(hits, steps_mm, strict=True))
    return rows, columns, side_mm


def sample(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray, order: int) -> np.ndarray:
    """(S, S): a slice (h, w) at these places; 0 beyond it."""
    places = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(map_coordinates(plane, places, order=order, mode="grid-constant", prefilter=False))


def to_grey(plane: np.ndarray, grey_window: tuple[float, float] | None) -> np.ndarray:
    """Values to [0, 1], NaN to 0."""
    plane = np.nan_to_num(plane.astype(np.float64))
    low, high = grey_window or (float(value) for value in np.percentile(plane, [0.5, 99.5]))
    return np.clip((plane - low) / max(high - low, 1e-6), 0.0, 1.0)


def _paint(grey: np.ndarray, found: Mask, wanted: Mask) -> Rgb:
    """(S, S, 3): the three kinds of places in their colours, with a line around each mask."""
    rgb = np.repeat(grey[..., None] * 255.0, 3, axis=2)
    row, column = np.indices(grey.shape)
    stripes = (row + column) % _STRIPE < _STRIPE / 2
    lines = outline(wanted), outline(found)
    for place, color, opacity in (
        (found & wanted, BOTH, _OPACITY_BOTH),
        (wanted & ~found, MISSED, _OPACITY_ONE / 3),
        (wanted & ~found & stripes, MISSED, _OPACITY_ONE),
        (found & ~wanted, SURPLUS, _OPACITY_ONE),
        (lines[0], MISSED, 1.0),
        (lines[1], SURPLUS, 1.0),
        (lines[0] & lines[1], BOTH, 1.0),
    ):
        rgb[place] += opacity * (np.array(color) - rgb[place])
    return np.rint(rgb).astype(np.uint8)


def outline(mask: Mask) -> Mask:
    """The outermost two pixels of a mask."""
    return np.asarray(mask & ~binary_erosion(mask, iterations=2, border_value=1))
