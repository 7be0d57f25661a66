"""Files to volumes and labels to files: the only place that knows another axis order than (Z, Y, X).

``read_volume`` takes what a person has: a NIfTI file, several of them as channels, or a folder of DICOM slices.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from uniseg_model.errors import FileFormatError, ImageError
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import nifti
from uniseg_model.io.nifti import (
    NIFTI_SUFFIXES,
    is_marked_as_labels,
    read_labels,
    read_values,
    write_compact,
    write_image,
    write_labels,
    write_map,
)
from uniseg_model.volume import Shape, Source, Triple, Volume

__all__ = [
    "NIFTI_SUFFIXES", "ImageSize", "is_marked_as_labels", "read_grid", "read_labels", "read_size", "read_values", "read_volume", "write_compact", "write_image",
    "write_labels", "write_map",
]  # fmt: skip


def read_volume(paths: str | PathLike[str] | Sequence[str | PathLike[str]], *, series: str | None = None) -> Volume:
    """The image in a file, in a DICOM folder, or in several of them with one channel each, in that order.

    series: which DICOM series to take where a folder holds several: its number, its UID or an end of the UID.

    Raises:
        FileFormatError: something is missing, truncated or of another format; or several series and none chosen.
        GeometryError: voxel size unknown, affine singular, slices uneven, or channels on different grids.
        IntensityError: all zero, all NaN, or infinite values.
    """
    if isinstance(paths, str | PathLike):
        paths = [paths]
    if not paths:
        raise FileFormatError("no image was given")
    volumes = [_read_one(Path(path), series) for path in paths]
    return volumes[0] if len(volumes) == 1 else _stack_channels(volumes)


@dataclass(frozen=True)
class ImageSize:
    """How large an image says it is. shape: (C, Z, Y, X); dtype: of the numbers in the file."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def n_voxels(self) -> int:
        """Voxels of all channels."""
        return math.prod(self.shape)


def read_size(path: str | PathLike[str], *, series: str | None = None) -> ImageSize:
    """What the header of a file or DICOM folder says of its size, before anything is allocated for its voxels.

    series: as in :func:`read_volume`.

    Raises:
        FileFormatError: missing, of another format, or a header that claims more than the file can hold; or several
            series and none chosen.
        GeometryError: fewer than three axes, or the voxel size of a NIfTI file unknown.
    """
    path = Path(path)
    if _is_dicom(path):
        from uniseg_model.io.dicom import dicom_size

        return ImageSize(*dicom_size(path, series))
    return ImageSize(*nifti.nifti_size(path))


def read_grid(path: str | PathLike[str]) -> tuple[Shape, Triple]:
    """Voxels and their size in mm along Z, Y, X, as the header of a NIfTI file says; no voxel is read.

    Raises:
        FileFormatError: missing or of another format. GeometryError: fewer than three axes, or the voxel size unknown.
    """
    return nifti.nifti_grid(Path(path))


def _read_one(path: Path, series: str | None) -> Volume:
    """One file or folder; an error that does not say which file gets its name."""
    try:
        return _read(path, series)
    except ImageError as exc:
        if path.name in exc.message:
            raise
        raise type(exc)(f"{path.name}: {exc.message}", hint=exc.hint) from exc


def _read(path: Path, series: str | None) -> Volume:
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        raise FileFormatError(
            f"there is no file or folder {path}", hint=f"Did you mean {near[0]}?" if near else "Check the path."
        )
    if _is_dicom(path):
        from uniseg_model.io.dicom import read_dicom

        return read_dicom(path, series)
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return nifti.read_nifti(path)
    if path.suffix.lower() in (".hdr", ".img"):
        raise FileFormatError(f"{path.name} is one half of a header/image pair", hint="Convert the pair to one .nii.gz file.")
    raise FileFormatError(
        f"{path.name} is neither a NIfTI file (.nii, .nii.gz) nor a folder",
        hint="Give a NIfTI file, or the folder with all slices of a DICOM series.",
    )


def _is_dicom(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".dcm"  # one file may hold many frames


def _stack_channels(volumes: list[Volume]) -> Volume:
    """One volume of all channels, on the first one's grid; the others must lie on it."""
    first = volumes[0]
    for number, other in enumerate(volumes[1:], start=2):
        check_same_grid(f"image {number}", Grid(other.shape, other.affine), "image 1", Grid(first.shape, first.affine),
                        hint="Resample the images onto one grid first.")  # fmt: skip
    source = Source(
        paths=tuple(path for v in volumes for path in v.source.paths),
        format=first.source.format,
        modality=first.source.modality,
        header=first.source.header,
    )
    array = np.concatenate([v.array for v in volumes])
    warnings = tuple(dict.fromkeys(w for v in volumes for w in v.warnings if "NaN" not in w))  # NaN is counted anew
    return Volume(array, first.affine, source, first.spacing_mm, warnings)
