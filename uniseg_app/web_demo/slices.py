"""Plain slices, drawn by the server for browsers that cannot show the viewer.

However the file is stored, the pictures are as radiologists look at them: the patient's right on the left of an axial or coronal
picture, the front on the left of a sagittal one, and the head up where it can be.

Letters: Z, Y, X the volume's axes; h, w rows and columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from uniseg_app.grey import Window
from uniseg_app.web_demo.display import color_rows
from uniseg_model.volume import Volume, closest_world_axes

LONGER_SIDE = 512  # pixels
_LETTER_COLOR = 230
_TINTED = 0.15  # of an outlined structure's inside

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Plane:
    """World axes (0 right, 1 anterior, 2 superior) across, down and to the right, each with the sign it runs in, and the letters
    at the picture's left, right, top and bottom."""

    across: int
    down: tuple[int, int]
    right: tuple[int, int]
    letters: str


PLANES = {
    "axial": _Plane(2, (1, -1), (0, -1), "RLAP"),
    "coronal": _Plane(1, (2, -1), (0, -1), "RLSI"),
    "sagittal": _Plane(0, (2, -1), (1, -1), "APSI"),
}


@dataclass(frozen=True)
class Overlay:
    """How labels are laid over a slice.

    colors: a table as of :func:`~uniseg_app.web_demo.display.color_table`; a structure whose A is 0 is left out.
    outline: draw a line around each structure and only tint its inside, whatever the opacity.
    """

    colors: Mapping[str, Sequence[Any]]
    opacity: float = 0.5
    outline: bool = False


def n_slices(volume: Volume, plane: str) -> int:
    """How many slices a plane of :data:`PLANES` has."""
    return volume.shape[_axis_along(volume, PLANES[plane].across)[0]]


def slice_through(volume: Volume, plane: str, place_mm: Sequence[float]) -> int:
    """The number of the slice nearest to a place (right, anterior, superior), as :func:`draw_slice` counts."""
    axis, sign = _axis_along(volume, PLANES[plane].across)
    index = (np.linalg.inv(volume.affine) @ [*place_mm, 1.0])[axis]
    number = int(np.clip(np.rint(index), 0, volume.shape[axis] - 1))
    return number if sign > 0 else volume.shape[axis] - 1 - number


def draw_slice(
    volume: Volume,
    plane: str,
    number: int,
    window: Window,
    labels: np.ndarray | None = None,
    overlay: Overlay | None = None,
    longer_side: int = LONGER_SIDE,
) -> Rgb:
    """A slice of channel 0 as (h, w, 3), in its true proportions, with the letters of its four sides.

    number: counted from the feet, the back or the left of the patient, from 0; beyond the ends it is the last one.
    window: the values that become black and white. labels: (Z, Y, X) on the volume's grid, drawn as ``overlay`` says.
    """
    grey = _to_grey(_cut(volume, volume.array[0], plane, number), window)
    shape = _picture_shape(volume, plane, longer_side)
    picture = np.repeat(_stretched(grey, shape)[..., None], 3, axis=2) * 255
    if labels is not None and overlay is not None:
        _lay_over(picture, _nearest(_cut(volume, labels, plane, number), shape), overlay)
    _write_letters(picture, PLANES[plane].letters)
    return np.asarray(np.rint(picture), np.uint8)


def _axis_along(volume: Volume, world: int) -> tuple[int, int]:
    """The array axis that runs along a world axis, and 1 or -1 for its direction."""
    axes = closest_world_axes(volume.affine)
    axis = [along for along, _ in axes].index(world)
    return axis, axes[axis][1]


def _cut(volume: Volume, array: np.ndarray, plane: str, number: int) -> np.ndarray:
    """A view (h, w) of one slice of an array (Z, Y, X)."""
    facts = PLANES[plane]
    (across, sign), (down, down_sign), (right, right_sign) = (
        _axis_along(volume, world) for world in (facts.across, facts.down[0], facts.right[0])
    )
    turned = array.transpose(across, down, right)[::sign, :: down_sign * facts.down[1], :: right_sign * facts.right[1]]
    return np.asarray(turned[min(max(number, 0), len(turned) - 1)])


def _picture_shape(volume: Volume, plane: str, longer_side: int) -> tuple[int, int]:
    """Rows and columns of a picture whose pixels are square."""
    axes = [_axis_along(volume, world)[0] for world, _ in (PLANES[plane].down, PLANES[plane].right)]
    sides_mm = [volume.shape[axis] * volume.spacing_mm[axis] for axis in axes]
    h, w = (max(1, round(longer_side * side / max(sides_mm))) for side in sides_mm)
    return h, w


def _to_grey(plane: np.ndarray, window: Window) -> np.ndarray:
    """Values to [0, 1], NaN to 0."""
    low, high = window
    return np.asarray(np.clip((np.nan_to_num(plane) - low) / max(high - low, 1e-6), 0.0, 1.0), np.float32)


def _stretched(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) linearly interpolated, row by row and column by column."""
    for axis, m in enumerate(shape):
        n = plane.shape[axis]
        at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        below = np.minimum(at.astype(int), n - 2) if n > 1 else np.zeros(m, int)
        share = np.expand_dims((at - below).astype(np.float32), 1 - axis)
        plane = plane.take(below, axis) * (1 - share) + plane.take(np.minimum(below + 1, n - 1), axis) * share
    return plane


def _nearest(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = ((np.arange(m) * 2 + 1) * n // (2 * m) for n, m in zip(plane.shape, shape, strict=True))
    return np.asarray(plane[np.ix_(rows, columns)])


def _lay_over(picture: np.ndarray, labels: np.ndarray, overlay: Overlay) -> None:
    """Mix the colours of labels (h, w) into a picture (h, w, 3)."""
    colors = color_rows(overlay.colors)[labels.astype(np.uint8)]
    shown = np.where(colors[..., 3] > 0, labels, 0)
    alpha = np.where(shown > 0, overlay.opacity * colors[..., 3] / 255, 0.0)
    if overlay.outline:
        alpha = np.where(shown == 0, 0.0, np.where(_edge(shown), 1.0, _TINTED))
    picture += alpha[..., None] * (colors[..., :3] - picture)


def _edge(labels: np.ndarray) -> np.ndarray:
    """Where a label (h, w) differs from one within two pixels up, down, left or right."""
    padded = np.pad(labels, 2, mode="edge")
    h, w = labels.shape
    return np.asarray(np.any([padded[2 + dy : 2 + dy + h, 2 + dx : 2 + dx + w] != labels for dy, dx in _CROSS], axis=0))


_CROSS = [(dy, dx) for step in (-2, -1, 1, 2) for dy, dx in ((step, 0), (0, step))]

_GLYPHS = {  # 5 x 7
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "A": (".111.", "1...1", "1...1", "11111", "1...1", "1...1", "1...1"),
    "P": ("1111.", "1...1", "1...1", "1111.", "1....", "1....", "1...."),
    "S": (".1111", "1....", "1....", ".111.", "....1", "....1", "1111."),
    "I": (".111.", "..1..", "..1..", "..1..", "..1..", "..1..", ".111."),
}


def _write_letters(picture: np.ndarray, letters: str) -> None:
    """Write the letters of left, right, top and bottom into a picture (h, w, 3), two pixels a dot; none where there is no room."""
    h, w, _ = picture.shape
    if min(h, w) < 80:
        return
    for letter, row, column in zip(
        letters, (h // 2 - 7, h // 2 - 7, 4, h - 18), (4, w - 14, w // 2 - 5, w // 2 - 5), strict=True
    ):
        dots = np.array([[dot == "1" for dot in line] for line in _GLYPHS[letter]]).repeat(2, 0).repeat(2, 1)
        halo = np.pad(dots, 2)
        around = picture[row - 2 : row + 16, column - 2 : column + 12]
        around[_edge(halo)] = 0  # so that it can be read on white, too
        around[halo] = _LETTER_COLOR
