"""NIfTI files: read with suspicion, written on the input's own grid.

Decisions:

- Where sform and qform disagree, the sform counts (as in nibabel and most viewers) and a warning is kept.
- A zero or non-finite ``pixdim`` is refused even beside a good sform: nibabel would silently read it as 1 mm.
- Units of metres and micrometres are converted, unknown units are taken as mm (which is what such files hold).
- A gzip file is read to its end, so that its checksum counts: a flipped bit is refused.
- A header is compared with the size of its file before anything is allocated: deflate packs at most 1032 to 1.
- A file with much before its first voxel, or gzip with much after its last, is refused: reading that could take hours.
- Labels carry the input's sform, qform and codes bit for bit.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError

from uniseg_model.errors import FileFormatError, GeometryError, OutputError
from uniseg_model.files import whole_file
from uniseg_model.grids import corner_distance_mm
from uniseg_model.volume import Shape, Source, Triple, Volume, trusted_spacing, voxel_lengths

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_DEFLATE_LIMIT = 1032  # the most that one byte of a gzip file can unpack to
_DAMAGED = (OSError, EOFError, ValueError, KeyError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # NIfTI's codes for metre and micrometre
_LABEL_INTENT = 1002
_LARGEST_LABEL = 2**31 - 1
_MOST_ASIDE = 1 << 26  # bytes before the first voxel or after the last: notes and padding are far smaller
_SPACE_UNIT = 7  # the bits of xyzt_units that speak of space
_ZYX = [2, 1, 0, 3]  # columns of an affine for (x, y, z, 1) in the order of ours


def read_nifti(path: Path) -> Volume:
    """The image of a ``.nii`` or ``.nii.gz`` file; a fourth axis becomes the channels.

    Raises:
        FileFormatError: not NIfTI, truncated, or a header that claims more than the file can hold.
        GeometryError: fewer than three axes, voxel size unknown, affine singular.
        IntensityError: all zero, all NaN, or infinite values.
    """
    image = _open(path)
    affine, warnings = _affine(image.header, path)
    scale = _mm_per_unit(image.header)
    x, y, z = (abs(float(zoom)) * scale for zoom in image.header.get_zooms()[:3])
    source = Source(paths=(str(path),), format="nifti", header=image.header.copy())
    return Volume(_voxels(image, path), affine, source, trusted_spacing((z, y, x), affine), warnings)


def nifti_size(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape (C, Z, Y, X) and stored voxel type as the header gives them; no voxel is read.

    Raises:
        FileFormatError: not NIfTI, or a header that claims more than the file can hold.
        GeometryError: fewer than three axes, or voxel size unknown.
    """
    raw = _raw_header(path)
    _check_claims(raw, path)
    shape = [int(n) for n in raw["dim"][1 : 1 + int(raw["dim"][0])]]
    return (math.prod(shape[3:]), *shape[2::-1]), raw.get_data_dtype()


def nifti_grid(path: Path) -> tuple[Shape, Triple]:
    """Shape and voxel size in mm along Z, Y, X as the header gives them; no voxel is read.

    Raises:
        FileFormatError: not NIfTI, or a header that claims more than the file can hold.
        GeometryError: fewer than three axes, or voxel size unknown.
    """
    raw = _raw_header(path)
    _check_claims(raw, path)
    x, y, z = (int(n) for n in raw["dim"][1:4])
    dx, dy, dz = (abs(float(step)) * _mm_per_unit(raw) for step in raw["pixdim"][1:4])
    return (z, y, x), (dz, dy, dx)


def read_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (Z, Y, X) float64 of what should be a label map, whatever they are, and the affine ``(z, y, x, 1)`` to RAS+ mm.

    For those who look for what is wrong; :func:`read_labels` refuses it.

    Raises:
        FileFormatError: not NIfTI, truncated, or several channels. GeometryError: voxel size unknown or affine singular.
    """
    image = _open(path)
    affine, _ = _affine(image.header, path)
    values = _voxels(image, path, np.float64)
    if len(values) != 1:
        raise FileFormatError(f"{path.name} has {len(values)} channels, a label map has one")
    return values[0], affine


def read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Label values (Z, Y, X) as stored, and the affine ``(z, y, x, 1)`` to RAS+ mm. An empty map is a valid answer.

    Raises:
        FileFormatError: not NIfTI, truncated, values that are not whole numbers, or several channels.
        GeometryError: voxel size unknown or affine singular.
    """
    image = _open(path)
    affine, _ = _affine(image.header, path)
    stored = image.dataobj
    is_small = stored.dtype.kind in "iu" and stored.dtype.itemsize < 4 and (stored.slope, stored.inter) == (1, 0)
    values = _voxels(image, path, np.float32 if is_small else np.float64)  # float32 holds small whole numbers exactly
    if len(values) != 1:
        raise FileFormatError(f"{path.name} has {len(values)} channels, a label map has one")
    if not np.array_equal(values, np.rint(values)) or abs(values).max() > _LARGEST_LABEL:  # NaN is not equal to itself
        raise FileFormatError(f"{path.name} holds values that are not whole numbers up to {_LARGEST_LABEL}, as labels must be")
    return values[0].astype(np.int32), affine


def is_marked_as_labels(path: Path) -> bool:
    """Whether a file says that it holds labels (intent 1002).

    Raises:
        FileFormatError: not NIfTI.
    """
    return int(_raw_header(path)["intent_code"]) == _LABEL_INTENT


def write_labels(path: Path, labels: np.ndarray, volume: Volume) -> None:
    """Write labels (Z, Y, X) of an unsigned type on the grid of ``volume``: its affine and, if it was NIfTI, its sform and qform codes.

    The file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    _save(_label_image(labels, volume), path)


def write_image(path: Path, channel: np.ndarray, volume: Volume) -> None:
    """Write one channel (Z, Y, X) with the affine of ``volume``: whole numbers as int16, others as float32.

    Raises:
        OutputError: the file cannot be written.
    """
    dtype = np.int16 if np.array_equal(channel, np.rint(channel)) and abs(channel).max() < 2**15 else np.float32
    _save(_new_image(channel.astype(dtype), volume.affine), path)


def write_compact(path: Path, channel: np.ndarray, volume: Volume) -> None:
    """Write one channel (Z, Y, X) as int16 with the affine of ``volume``: whole numbers as they are, others to a 65000th of their range.

    Raises:
        OutputError: the file cannot be written.
    """
    image = _new_image(channel, volume.affine)
    image.header.set_data_dtype(np.int16)  # the slope and intercept are found when it is saved
    if np.array_equal(channel, np.rint(channel)) and abs(channel).max() < 2**15:
        image = _new_image(channel.astype(np.int16), volume.affine)
    _save(image, path)


def write_map(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write values (Z, Y, X) of any kind as float32, on the grid of an affine ``(z, y, x, 1)`` to RAS+ mm.

    Raises:
        OutputError: the file cannot be written.
    """
    _save(_new_image(np.asarray(values, np.float32), affine), path)


def _save(image: Any, path: Path) -> None:
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise OutputError(f"images and labels are written as .nii or .nii.gz, not as {path.name}")
    with whole_file(path) as temporary:
        nib.save(image, temporary)


def _new_image(array: np.ndarray, affine: np.ndarray) -> Any:
    """An image (Z, Y, X) under a header of our own."""
    image = nib.Nifti1Image(array.T, affine[:, _ZYX])  # the permutation is its own inverse
    image.header.set_xyzt_units("mm")
    image.header.set_sform(image.affine, code="scanner")
    steps = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.allclose(steps.T @ steps, np.eye(3), atol=1e-4):  # a qform cannot hold a shear: better none than a wrong one
        image.header.set_qform(image.affine, code="scanner")
    else:
        image.header.set_qform(None, code="unknown")
    return image


def _label_image(labels: np.ndarray, volume: Volume) -> Any:
    header = volume.source.header
    if not isinstance(header, nib.Nifti1Header):  # Nifti2Header is one, too
        image = _new_image(labels, volume.affine)
    else:
        header = header.copy()
        header.set_data_dtype(labels.dtype)
        header.set_data_shape(labels.T.shape)
        header["pixdim"][4:] = 0
        header.extensions.clear()
        header["scl_slope"], header["scl_inter"], header["cal_min"], header["cal_max"] = 1, 0, 0, 0
        image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = image_class(labels.T, None, header)  # no affine given: the header's own codes and numbers stay
    image.header.set_intent("label", name="UniSeg labels")
    image.header["descrip"] = b"UniSeg App: research use only"
    return image


def _open(path: Path) -> Any:
    """The image behind a header that has been looked at, without its voxels."""
    raw = _raw_header(path)
    _check_claims(raw, path)
    try:
        with LoggingOutputSuppressor():
            return nib.load(path, mmap=False)
    except _DAMAGED as exc:
        raise FileFormatError(f"{path.name} has a damaged header or orientation: {_one_line(exc)}", hint=_hint(path)) from exc


def _raw_header(path: Path) -> Any:
    """The header as it stands in the file, before nibabel mends it."""
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            start = file.read(540)
    except IsADirectoryError as exc:
        raise FileFormatError(f"{path.name} is a folder, not a NIfTI file") from exc
    except FileNotFoundError as exc:
        raise FileFormatError(f"there is no file {path}") from exc
    except gzip.BadGzipFile as exc:
        raise FileFormatError(
            f"{path.name} cannot be read as gzip: it does not begin as one",
            hint="The file may be cut off or renamed: if it is plain NIfTI, call it .nii.",
        ) from exc
    except _DAMAGED as exc:
        what = "gzip" if zipped else "a file"
        raise FileFormatError(f"{path.name} cannot be read as {what}: {_one_line(exc)}", hint=_hint(path)) from exc
    if start[:2] == b"\x1f\x8b":
        raise FileFormatError(f"{path.name} is gzip but not named so", hint="Rename it to .nii.gz.")
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        if size in _HEADERS and len(start) >= size:
            return _HEADERS[size](start[:size], endianness="<" if order == "little" else ">", check=False)
    raise FileFormatError(f"{path.name} is not NIfTI: it does not begin with a NIfTI header", hint=_hint(path))


def _hint(path: Path) -> str:
    return "The file may be cut off or renamed: copy or export it again." if path.stat().st_size else "The file is empty."


def _one_line(exc: BaseException) -> str:
    """The library's words, without its line breaks and guesses."""
    return " ".join(str(exc).split(" - could the file")[0].split()).rstrip("?. ")


def _check_claims(header: Any, path: Path) -> None:
    """Refuse what the header says of axes, type, size or voxel size, before anything is allocated."""
    n_axes = int(header["dim"][0])
    shape = [int(n) for n in header["dim"][1 : 1 + max(n_axes, 0)]]
    if not 1 <= n_axes <= 7 or min(shape) < 1:
        raise FileFormatError(f"{path.name} has a damaged header: its dimensions are {header['dim'].tolist()}")
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise GeometryError(
            f"{path.name} is a 2-D image of {' x '.join(map(str, shape))} voxels, a volume needs at least 2 along each of three axes",
            hint="Give the whole stack of slices as one file.",
        )
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as exc:
        code = int(header["datatype"])
        raise FileFormatError(f"{path.name} has a damaged header: there is no voxel type {code}", hint=_hint(path)) from exc
    if dtype.names or dtype.kind not in "iuf" or not dtype.itemsize:
        kind = "RGB colour" if dtype.names else str(dtype) if dtype.itemsize else "nameless"
        raise FileFormatError(
            f"{path.name} stores {kind} voxels, an image must store whole or real numbers",
            hint="Export the grey values, or of complex data the magnitude.",
        )
    claimed = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    held = path.stat().st_size * (_DEFLATE_LIMIT if path.name.lower().endswith(".gz") else 1)
    if claimed > held:
        raise FileFormatError(
            f"{path.name} claims {' x '.join(map(str, shape))} voxels ({_size(claimed)}), its {path.stat().st_size} bytes cannot hold that",
            hint="The file is cut off or its header is damaged: copy or export it again.",
        )
    if (offset := float(header["vox_offset"])) > _MOST_ASIDE:  # what lies before is read, too
        raise FileFormatError(
            f"{path.name} is truncated or damaged: its voxels begin after {offset:.6g} bytes, at most {_MOST_ASIDE} are believed",
            hint="Copy or export it again.",
        )
    zooms = header["pixdim"][1:4]
    if not np.isfinite(zooms).all() or (zooms == 0).any():
        raise GeometryError(
            f"{path.name} gives its voxel size as {' x '.join(f'{z:g}' for z in zooms)} mm (x, y, z): the true size is unknown",
            hint="Write the right voxel size into the header (pixdim), or convert the scan again from its DICOM files.",
        )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e3:.3g} kB"


def _mm_per_unit(header: Any) -> float:
    return _MM_PER_UNIT.get(int(header["xyzt_units"]) & _SPACE_UNIT, 1.0)


def _affine(header: Any, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine ``(z, y, x, 1)`` to RAS+ mm, and what is odd about it."""
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except _DAMAGED as exc:
        raise GeometryError(f"{path.name} has a damaged orientation (quaternion): {_one_line(exc)}", hint=_hint(path)) from exc
    voxel_lengths(affine)  # refuses a singular one
    warnings = []
    try:
        qform = header.get_qform(coded=True)[0]
    except _DAMAGED:
        qform, warnings = None, [f"{path.name} has a damaged qform; its sform counts"]
    if header["sform_code"] > 0 and qform is not None:
        apart = corner_distance_mm(affine, qform, header.get_data_shape()[:3])
        if apart > 0.5 * min(voxel_lengths(affine)):
            warnings.append(
                f"{path.name}: sform and qform disagree by up to {apart * _mm_per_unit(header):.3g} mm; the sform counts"
            )
    elif header["sform_code"] <= 0 and qform is None:
        warnings.append(
            f"{path.name} does not say how the patient lies (no sform, no qform): the file's axes are taken as L, A, S"
        )
    return np.diag([_mm_per_unit(header)] * 3 + [1.0]) @ affine[:, _ZYX], tuple(warnings)


def _stored_planes(image: Any, path: Path) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each slice (Y, X) of stored numbers with its place (..., Z), in the file's order; a gzip file is read to its end, where its checksum stands."""
    proxy = image.dataobj
    *lead, n_y, n_x = proxy.shape[::-1]
    n_bytes, read = n_y * n_x * proxy.dtype.itemsize, 0
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        file.seek(proxy.offset)
        for place in np.ndindex(*lead):
            stored = file.read(n_bytes)
            read += len(stored)
            if len(stored) < n_bytes:
                raise EOFError(f"Expected {math.prod(lead) * n_bytes} bytes of voxels, there are {read}")
            yield place, np.frombuffer(stored, proxy.dtype).reshape(n_y, n_x)
        behind = 0
        while n_bytes := len(file.read(1 << 20)):
            if (behind := behind + n_bytes) > _MOST_ASIDE:
                raise ValueError(f"more than {_size(_MOST_ASIDE)} follow its last voxel")


def _voxels(image: Any, path: Path, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """All voxels as (C, Z, Y, X), read and scaled, in float64, one slice at a time so that nothing but the result is large."""
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    try:
        array = np.empty(image.dataobj.shape[::-1], dtype)
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which Volume refuses by name
            for place, stored in _stored_planes(image, path):
                array[place] = stored if (slope, inter) == (1.0, 0.0) else stored.astype(np.float64) * slope + inter
    except MemoryError as exc:
        raise FileFormatError(f"{path.name} needs {np.prod(image.shape) * 4e-9:.3g} GB of memory, which is not free") from exc
    except _DAMAGED as exc:
        raise FileFormatError(f"{path.name} is truncated or damaged: {_one_line(exc)}", hint=_hint(path)) from exc
    return array.reshape(-1, *array.shape[-3:])
