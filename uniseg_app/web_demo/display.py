"""What a browser is given to look at: a copy of the image of at most 256 voxels a side, and labels on exactly that grid.

A viewer needs about 12 bytes of graphics memory a voxel, so a whole-body CT in full would be gigabytes; and a label map on
another grid than the image is smeared over all of it. Nothing here is ever saved for the user or measured.

Letters: Z, Y, X the volume's axes; z, y, x those of its copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from uniseg_app.grey import is_ct
from uniseg_model.errors import GeometryError
from uniseg_model.io import write_compact, write_labels
from uniseg_model.resample import nearest_indices
from uniseg_model.tasks import Label
from uniseg_model.volume import Shape, Source, Triple, Volume, closest_world_axes

LARGEST_SIDE = 256

_SUPERIOR = 2


@dataclass(frozen=True)
class Structure:
    """A structure that can be shown: its value in the label map, its name, its colour ``#RRGGBB``.

    center_mm: a place inside it (right, anterior, superior) to look at; None where the map does not hold it.
    """

    value: int
    name: str
    color: str
    center_mm: Triple | None = None


def display_copy(volume: Volume, channel: int = 0, largest_side: int = LARGEST_SIDE) -> Volume:
    """One channel as a volume (1, z, y, x) that covers the same box with at most ``largest_side`` voxels along each axis.

    Each new voxel is the mean of what it covers, NaN taken as 0.
    """
    array = volume.array[channel]
    if np.isnan(array.min()):
        array = np.nan_to_num(array, nan=0.0)
    shape = display_shape(volume.shape, largest_side)
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis]):  # what shrinks most goes first
        array = _averaged(array, axis, shape[axis])
    source = Source(format=volume.source.format, modality=volume.source.modality)
    return Volume(array[None], _rescaled(volume.affine, volume.shape, shape), source)


def display_labels(labels: np.ndarray, copy: Volume, largest_side: int = LARGEST_SIDE) -> np.ndarray:
    """Labels (Z, Y, X) on the grid of a display copy of their image, the nearest voxel's: (z, y, x) uint8.

    A structure of one or two voxels may be lost in a copy that is coarser. Labels that are on the copy's grid already stay.

    Raises:
        GeometryError: the image of that copy cannot have had the grid of these labels.
    """
    if labels.shape != copy.shape and tuple(min(n, largest_side) for n in labels.shape) != copy.shape:
        raise GeometryError(f"labels of shape {labels.shape} (z, y, x) do not belong to the image shown as {copy.shape}")
    rows = [nearest_indices(n, m) for n, m in zip(labels.shape, copy.shape, strict=True)]
    return np.ascontiguousarray(labels[np.ix_(*rows)], dtype=np.uint8)


def display_shape(shape: Shape, largest_side: int = LARGEST_SIDE) -> Shape:
    """Voxels of a display copy along z, y, x."""
    z, y, x = (min(n, largest_side) for n in shape)
    return z, y, x


def write_display_image(path: Path, copy: Volume) -> None:
    """Write a display copy as int16 ``.nii.gz``; a CT in whole HU.

    Raises:
        OutputError: the file cannot be written.
    """
    write_compact(path, np.rint(copy.array[0]) if is_ct(copy) else copy.array[0], copy)


def write_display_labels(path: Path, labels: np.ndarray, copy: Volume) -> None:
    """Write labels of the image of ``copy`` as uint8 ``.nii.gz`` on the copy's grid, marked as labels (intent 1002).

    labels: (Z, Y, X), or (z, y, x) already.

    Raises:
        GeometryError: see :func:`display_labels`. OutputError: the file cannot be written.
    """
    write_labels(path, display_labels(labels, copy), copy)


def structures_of(labels: Sequence[Label]) -> list[Structure]:
    """The structures of a task or a merged map, with values from 1 in their order."""
    return [Structure(value, label.name, label.color) for value, label in enumerate(labels, start=1)]


def located(structures: Sequence[Structure], labels: np.ndarray, affine: np.ndarray) -> list[Structure]:
    """The same structures, each with a place inside it: the deepest voxel of the axial slice that holds most of it.

    labels: (z, y, x). affine: (z, y, x, 1) to RAS+ mm.
    """
    along = [world for world, _ in closest_world_axes(affine)].index(_SUPERIOR)
    slices = np.moveaxis(labels, along, 0)
    counts = np.stack([np.bincount(plane.reshape(-1), minlength=256) for plane in slices])
    found = []
    for structure in structures:
        center_mm = None
        if counts[:, structure.value].any():
            number = int(counts[:, structure.value].argmax())
            place = np.insert(_deepest(slices[number] == structure.value), along, number)
            x, y, z = (float(mm) for mm in (affine @ [*place, 1.0])[:3])
            center_mm = (x, y, z)
        found.append(Structure(structure.value, structure.name, structure.color, center_mm))
    return found


def color_table(structures: Sequence[Structure], hidden: Collection[int] = (), opacity: float = 1.0) -> dict[str, list[Any]]:
    """The colours by label value as columns R, G, B, A (0-255), I (the value), labels (the name); background is clear.

    hidden: values of structures that are left out (A is 0).
    """
    rows: list[tuple[int, int, int, int, int, str]] = [(0, 0, 0, 0, 0, "")]
    for structure in structures:
        alpha = 0 if structure.value in hidden else round(255 * opacity)
        rows.append((*rgb(structure.color), alpha, structure.value, structure.name))
    return {
        name: list(column) for name, column in zip(("R", "G", "B", "A", "I", "labels"), zip(*rows, strict=True), strict=True)
    }


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0-255, of ``#RRGGBB``."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def color_rows(table: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """A colour table as (256, 4) uint8, a row of red, green, blue and alpha for each label value; clear where it has none."""
    rows = np.zeros((256, 4), np.uint8)
    rows[list(table["I"])] = np.stack([table[name] for name in "RGBA"], axis=1)
    return rows


def _averaged(array: np.ndarray, axis: int, m: int) -> np.ndarray:
    """``m`` means along an axis, each over an equal share of its length."""
    n = array.shape[axis]
    if n == m:
        return array
    edges = np.arange(m + 1) * (n / m)
    first = edges[:-1].astype(int)
    out = np.zeros([*array.shape[:axis], m, *array.shape[axis + 1 :]], np.float32)
    for number in range(n // m + 2):  # no share touches more samples; a matrix of all weights would be mostly zeros
        sample = first + number
        covered = np.clip(np.minimum(edges[1:], sample + 1) - np.maximum(edges[:-1], sample), 0, None) * m / n
        if covered.any():
            along = [-1 if other == axis else 1 for other in range(array.ndim)]
            out += array.take(np.minimum(sample, n - 1), axis) * covered.astype(np.float32).reshape(along)
    return out


def _rescaled(affine: np.ndarray, shape: Shape, new_shape: Shape) -> np.ndarray:
    """The affine of a grid of other voxels over the same box."""
    ratio = np.array(shape) / np.array(new_shape)
    scale = np.diag([*ratio, 1.0])
    scale[:3, 3] = (ratio - 1) / 2  # the middle of the first new voxel
    return np.asarray(affine @ scale)


def _deepest(mask: np.ndarray) -> tuple[int, int]:
    """The place in (h, w) bool that is farthest from its edge."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)
