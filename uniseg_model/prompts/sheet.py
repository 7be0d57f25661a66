"""A contact sheet: one image under several prompts, a picture each, to look at side by side or to print.

With a voxel every picture shows the same axial slice; without one, each structure is shown where it is largest.
Radiological: the front is up, the patient's right on the left.

Letters: S the side of a picture in pixels; h, w rows and columns.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uniseg_model import DISCLAIMER
from uniseg_model.errors import OptionError, OutputError
from uniseg_model.evaluation.pictures import PICTURE_SIDE, Rgb, axial, axial_axes, outline, sample, section, to_grey
from uniseg_model.files import whole_file
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import Label
from uniseg_model.volume import Triple

FORMATS = {".png": "PNG", ".pdf": "PDF"}

_OPACITY = 0.3  # of a structure inside its outline
_MOST_COLUMNS = 4
_GAP, _LINE = 16, 22  # pixels
_MARGIN = 1.02  # a picture's side over the slice's longer one
_DOTS_PER_INCH = 150  # of the PDF


@dataclass(frozen=True, eq=False)
class Sheet:
    """The sheet as pixels (h, w, 3) uint8."""

    pixels: Rgb = field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.png`` or ``.pdf``, whole or not at all.

        Raises:
            OutputError: another ending, or it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in FORMATS:
            raise OutputError(f"a contact sheet is written as {' or '.join(FORMATS)}, not as {path.name}")
        with whole_file(path) as temporary:
            Image.fromarray(self.pixels).save(temporary, FORMATS[path.suffix.lower()], resolution=_DOTS_PER_INCH)


@dataclass(frozen=True)
class _Tile:
    """A picture to be: which structures of an answer in which slice, counted along the image's own slice axis."""

    answer: Segmentation
    labels: tuple[Label, ...]
    slice_index: int


def draw_sheet(answers: Sequence[Segmentation], voxel: Triple | None = None) -> Sheet:
    """The image of these answers under each of their prompts.

    voxel: Z, Y, X of the image; a picture for each task, of the axial slice through it. None: one for each structure, of
        the slice that holds most of it; of a structure that was not found, the middle one.

    Raises:
        OptionError: no answer, or a voxel outside the image.
    """
    if not answers:
        raise OptionError("a contact sheet needs at least one segmentation")
    tiles = [_tile_at(answer, voxel) for answer in answers] if voxel else [t for a in answers for t in _best_tiles(a)]
    n_lines = 1 + max(len(tile.labels) for tile in tiles)  # in every tile, so that all are of one size
    pictures = [_captioned(tile, n_lines) for tile in tiles]
    n_columns = min(_MOST_COLUMNS, math.ceil(math.sqrt(len(pictures))))
    n_rows = math.ceil(len(pictures) / n_columns)
    width, height = pictures[0].width + _GAP, pictures[0].height + _GAP
    sheet = Image.new("RGB", (max(n_columns * width + _GAP, 3 * PICTURE_SIDE // 2), n_rows * height + _GAP + _LINE), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (_GAP + i % n_columns * width, _GAP + i // n_columns * height))
    said = f"{answers[0].record.weights.get('name', '')}. {DISCLAIMER}"
    ImageDraw.Draw(sheet).text((_GAP, sheet.height - _LINE - 4), said, "black", ImageFont.load_default(14))
    return Sheet(np.asarray(sheet))


def _tile_at(answer: Segmentation, voxel: Triple) -> _Tile:
    shape = answer.volume.shape
    if not all(0 <= at < n for at, n in zip(voxel, shape, strict=True)):
        raise OptionError(f"the voxel {voxel} lies outside the image of {shape} voxels (z, y, x)")
    axis, _ = axial_axes(answer.volume.affine)[0]
    return _Tile(answer, answer.task.labels, min(round(voxel[axis]), shape[axis] - 1))


def _best_tiles(answer: Segmentation) -> list[_Tile]:
    slices = axial(answer.labels, answer.volume.affine)  # (slices, h, w)
    tiles = []
    for value, label in enumerate(answer.task.labels, start=1):
        counts = np.count_nonzero(slices == value, axis=(1, 2))
        tiles.append(_Tile(answer, (label,), int(counts.argmax()) if counts.any() else len(slices) // 2))
    return tiles


def _picture(tile: _Tile) -> Rgb:
    """(S, S, 3): the slice in grey and the structures over it."""
    volume, task = tile.answer.volume, tile.answer.task
    image, labels = (axial(array, volume.affine)[tile.slice_index] for array in (volume.array[0], tile.answer.labels))
    rows, columns, _ = section(np.ones_like(labels, dtype=bool), volume.affine, _MARGIN)
    rgb = np.repeat(sample(to_grey(image, task.window_hu), rows, columns, order=1)[..., None] * 255, 3, axis=2)
    for label in tile.labels:
        mask = sample((labels == task.value_of(label.name)).astype(float), rows, columns, order=0) > 0.5
        color = np.array([int(label.color[i : i + 2], 16) for i in (1, 3, 5)])
        rgb[mask] += _OPACITY * (color - rgb[mask])
        rgb[outline(mask)] = color
    return np.asarray(np.rint(rgb), np.uint8)


def _captioned(tile: _Tile, n_lines: int) -> Image.Image:
    """The picture, and below it the task's title and its structures' names in their colours."""
    out = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE + _LINE * n_lines + 4), "white")
    out.paste(Image.fromarray(_picture(tile)))
    draw, font, top = ImageDraw.Draw(out), ImageFont.load_default(15), PICTURE_SIDE + 4
    draw.text((0, top), f"{tile.answer.task.title}, slice {tile.slice_index + 1}", "black", font)
    shown = axial(tile.answer.labels, tile.answer.volume.affine)[tile.slice_index]
    for label in tile.labels:
        top += _LINE
        is_here = bool((shown == tile.answer.task.value_of(label.name)).any())
        draw.rectangle((0, top + 3, 12, top + 15), label.color, "black")
        draw.text((20, top), label.name if is_here else f"{label.name}: none here", "black", font)
    return out
