"""Layers of any reader as one volume.

What is known of a layer is looked at in the window's thread (:func:`look_at`); the rest may take time and touches no layer
(:func:`placed`). The layers themselves are never altered.

Letters: u, v, w a layer's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels, Layer

from uniseg_app.napari_plugin.world import AXES, Placed, affine_of, is_oblique, turn_matrix
from uniseg_model.axes import Axes
from uniseg_model.errors import GeometryError, ImageError
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.volume import Source, Triple, Volume

PLACED = "uniseg_placed"  # in a layer's metadata: where its voxels come from
CHANNEL = "uniseg_channel"  # and which channel of that they are
NUMBERS = "uniseg_numbers"  # of an Image layer: it shows numbers about a scan, and is none
ORIENTATIONS = {
    "Radiological, first slice at the head": AXES, "Radiological, first slice at the feet": "LPS",
    "Neurological, first slice at the head": "RPI", "Neurological, first slice at the feet": "RPS",
}  # fmt: skip

_STORED = Axes((0, 1, 2))
_XYZ = [2, 1, 0, 3]  # columns of an affine for (x, y, z, 1) in the order of ours


@dataclass(frozen=True)
class Given:
    """What a person says of layers that do not say it themselves.

    spacing_mm: voxel size along u, v, w. letters: where their displayed axes w, v, u point to, see ``ORIENTATIONS``.
    """

    spacing_mm: Triple | None = None
    letters: str = AXES


@dataclass(frozen=True, eq=False)
class Seen:
    """An image layer as it was when it was looked at.

    world: (u, v, w, 1) to its world, in mm where ``knows_size``. placed, channel: of our reader's layers.
    affine: (u, v, w, 1) to RAS+ mm, where another reader left it in the metadata.
    """

    name: str
    data: Any
    world: np.ndarray
    knows_size: bool
    placed: Placed | None = None
    channel: int = 0
    affine: np.ndarray | None = None
    path: str = ""

    @property
    def knows_place(self) -> bool:
        """Whether voxel size and orientation are known without anybody's help."""
        return self.placed is not None or self.affine is not None

    @property
    def is_as_read(self) -> bool:
        """Whether its voxels are still those of the file."""
        return self.placed is not None and bool(np.may_share_memory(self.data, self.placed.volume.array))


def look_at(layer: Layer) -> Seen:
    """What is known of a layer.

    Raises:
        ImageError: it is no image layer, in colour, or has not three axes.
    """
    _check(layer)
    data = layer.data[0] if layer.multiscale else layer.data
    placed, factors = layer.metadata.get(PLACED), _mm_per_unit(layer)
    if placed is not None and tuple(data.shape) != placed.to_layer(placed.volume.array[0]).shape:
        placed = None  # cropped or resampled since: its own scale counts
    knows_size = factors is not None
    if factors is None:
        factors = (1.0, 1.0, 1.0)
        knows_size = not np.allclose(layer.scale, 1.0)  # somebody set it; mm, as nearly always
    world = np.diag([*factors, 1.0]) @ world_of(layer)
    return Seen(
        layer.name, data, world, knows_size, placed, layer.metadata.get(CHANNEL, 0), _foreign_affine(layer), layer.source.path or ""
    )  # fmt: skip


def placed(seen: Sequence[Seen], given: Given) -> Placed:
    """The layers as channels of one volume, in their order.

    Raises:
        GeometryError: voxel size unknown, or channels on different grids. IntensityError: see :class:`Volume`.
    """
    first = seen[0]
    if first.placed and _is_all_of(first.placed, seen):
        return first.placed
    grids = [Grid(tuple(one.data.shape), _affine(one, given)) for one in seen]
    for number, (one, grid) in enumerate(zip(seen[1:], grids[1:], strict=True), start=2):
        check_same_grid(f"channel {number} ({one.name})", grid, f"channel 1 ({first.name})", grids[0],
                        hint="Choose images on one grid, or resample them first.")  # fmt: skip
    axes = first.placed.axes if first.placed else _STORED
    array = np.stack([axes.undo(np.asarray(one.data, np.float32)) for one in seen])
    shape = array.shape[1:]
    affine = first.placed.volume.affine if first.placed else grids[0].affine @ np.linalg.inv(turn_matrix(axes, shape))
    spacing_mm = first.placed.volume.spacing_mm if first.placed else (0.0, 0.0, 0.0)
    return Placed(Volume(array, affine, _source(seen), spacing_mm, tuple(_warnings(seen, given))), axes)


def world_of(layer: Layer) -> np.ndarray:
    """(u, v, w, 1) to the layer's world, whatever scale, rotation and affine it is made of."""
    origin = np.asarray(layer.data_to_world((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.asarray(layer.data_to_world(step)) - origin for step in np.eye(3)], axis=1)
    matrix[:3, 3] = origin
    return matrix


def _is_all_of(whole: Placed, seen: Sequence[Seen]) -> bool:
    """Whether these are the channels of a volume, as it was read, all and in their order."""
    are_its_own = all(one.placed is whole and one.is_as_read for one in seen)
    return are_its_own and [one.channel for one in seen] == list(range(whole.volume.n_channels))


def _check(layer: Layer) -> None:
    if isinstance(layer, Labels):
        raise ImageError(f"{layer.name} is a Labels layer: it holds answers, not an image", hint="Choose an Image layer.")
    if not isinstance(layer, Image):
        raise ImageError(f"{layer.name} is no image but a {type(layer).__name__} layer", hint="Choose an Image layer.")
    if layer.rgb:
        raise ImageError(f"{layer.name} is a colour image, a scan has one grey value a voxel",
                         hint="Open the scan itself, as NIfTI or DICOM.")  # fmt: skip
    if layer.ndim != 3:
        what = "a single slice cannot be segmented" if layer.ndim == 2 else "a time series has to be taken apart"
        cure = (
            "Open the whole stack of slices."
            if layer.ndim == 2
            else "Right-click the layer and split it, then choose one volume."
        )
        raise ImageError(f"{layer.name} has {layer.ndim} axes, a volume has 3: {what}", hint=cure)


def _mm_per_unit(layer: Layer) -> Triple | None:
    """None where the units are no lengths, such as pixels."""
    try:
        z, y, x = (float(pint.get_application_registry().Quantity(1.0, unit).to("mm").magnitude) for unit in layer.units)
    except pint.DimensionalityError:
        return None
    return z, y, x


def _foreign_affine(layer: Layer) -> np.ndarray | None:
    """What napari-nifti tells: the true affine (x, y, z, 1) of the array that it shows as (z, y, x)."""
    if str(layer.metadata.get("coordinate_system", "")).rstrip("+") != "RAS":
        return None
    affine = np.asarray(layer.metadata.get("affine"), dtype=np.float64)
    if affine.shape != (4, 4):
        return None
    affine = affine[:, _XYZ]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return affine if np.allclose(lengths, np.abs(layer.scale), rtol=1e-3) else None


def _affine(seen: Seen, given: Given) -> np.ndarray:
    """(u, v, w, 1) to RAS+ mm."""
    if seen.placed is not None:
        return seen.placed.affine
    if seen.affine is not None:
        return seen.affine
    world = seen.world.copy()
    if given.spacing_mm is not None:
        world[:3, :3] *= np.array(given.spacing_mm) / np.linalg.norm(world[:3, :3], axis=0)
    elif not seen.knows_size:
        raise GeometryError(f"{seen.name} does not say how large its voxels are", hint="Give the voxel size in mm.")
    return affine_of(world, given.letters)


def _source(seen: Sequence[Seen]) -> Source:
    first = seen[0]
    if first.placed is not None:
        return first.placed.volume.source
    return Source(paths=tuple(one.path for one in seen if one.path), format="napari")


def _warnings(seen: Sequence[Seen], given: Given) -> list[str]:
    said = [warning for one in seen if one.placed for warning in one.placed.volume.warnings]
    if any(not one.knows_place for one in seen):
        orientation = next((name for name, letters in ORIENTATIONS.items() if letters == given.letters), given.letters)
        said.append(f"orientation as a person said: {orientation[0].lower()}{orientation[1:]}")
    return said


def shown_askew(one: Placed) -> str:
    """What to say of a volume whose display leaves out its rotation; empty otherwise."""
    return "This scan lies askew: it is shown upright, its labels are saved with its true place." if is_oblique(one) else ""


def name_of_file(volume: Volume) -> str:
    """A short name of a volume."""
    return Path(volume.source.paths[0]).name.removesuffix(".gz").removesuffix(".nii") if volume.source.paths else "image"
