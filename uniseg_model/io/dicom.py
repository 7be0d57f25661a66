"""DICOM slices to one volume: read with suspicion, placed by their headers alone.

Decisions:

- Slices are ordered and spaced by where they lie along their common normal, never by file name, instance number or
  slice thickness. No voxel may end up further than a tenth of a voxel from where its own header puts it: a missing
  slice, a tilted gantry or two phases in one series are refused and named, because a guess would shift the anatomy.
- Z runs along the normal (row direction x column direction), which is upwards in an ordinary axial scan.
- A folder with several series is never guessed at: the error lists them.
- One file with many frames (enhanced CT or MR) is read as if each frame were a file.
- What pydicom grumbles about slightly wrong files is silenced, since every value that is used is checked here.
- Nothing here reads a patient's name or number.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.errors import FileFormatError, GeometryError, MissingPackageError
from uniseg_model.io.stack import plain, stack_affine, stack_order
from uniseg_model.volume import Source, Volume

_SAME_HEADER = 1e-4  # in a direction cosine or in mm a pixel: 0.05 voxels at the far end of 512
_WIDE_GAP = 1.9  # times the slice thickness: as if every second slice were missing

_NOT_SCANS = ("SEG", "RTDOSE")  # modalities that are grids of pixels, but not images of a patient
_MACROS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence")
_SERIES_TAGS = ("SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber", "SeriesDescription", "Modality")
_GRID_TAGS = ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_PIXEL_TAGS = ("SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
_TYPE_TAGS = ("BitsAllocated", "PixelRepresentation")
_FRAME_TAGS = ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [*_SERIES_TAGS, *_GRID_TAGS, *_PIXEL_TAGS, *_TYPE_TAGS, *_FRAME_TAGS]

Header = Any  # a pydicom Dataset; pydicom is imported only when a DICOM folder is read
_Found = dict["SeriesInfo", list[tuple[Path, Header]]]


@dataclass(frozen=True)
class SeriesInfo:
    """One series in a folder, as a person chooses it. ``number`` is None and ``uid`` empty where the files have none."""

    uid: str
    number: int | None
    description: str
    modality: str
    n_slices: int

    def __str__(self) -> str:
        number = "no number" if self.number is None else f"number {self.number}"
        slices = "1 slice" if self.n_slices == 1 else f"{self.n_slices} slices"
        uid = f"UID ...{self.uid[-12:]}" if self.uid else "no UID"
        return f"{number} {self.description!r} ({self.modality or 'no modality'}, {slices}, {uid})"


@dataclass(frozen=True)
class DicomSeries:
    """What ``Source.header`` holds of a DICOM volume: where results that refer to it belong."""

    series_uid: str
    study_uid: str
    description: str


@dataclass(frozen=True)
class Slice:
    """One plane of pixels: where it lies in its file and in the patient, and how its numbers become units."""

    path: Path
    frame: int
    shape: tuple[int, int]  # rows, columns
    position: tuple[float, ...]  # of the first pixel's centre; LPS mm
    orientation: tuple[float, ...]  # of a row, then of a column; LPS direction cosines
    pixel_mm: tuple[float, ...]  # between rows (along Y), between columns (along X)
    thickness_mm: float | None
    slope: float
    intercept: float


def list_series(folder: Path) -> list[SeriesInfo]:
    """The image series in a folder and the folders below it, by number; damaged geometry is not looked at yet.

    Raises:
        FileFormatError: no such folder, no DICOM image in it, or a damaged header.
        MissingPackageError: pydicom is not installed.
    """
    with quiet():
        return list(_scan(Path(folder)))


def dicom_size(folder: Path, series: str | None = None) -> tuple[tuple[int, ...], np.dtype]:
    """Shape (C, Z, Y, X) and stored voxel type as the headers of one series give them; no voxel is read.

    Where its slices differ, which :func:`read_dicom` refuses, the largest counts.

    Raises:
        FileFormatError: no such folder, no DICOM image in it, several series and none chosen, or a damaged header.
        MissingPackageError: pydicom is not installed.
    """
    with quiet():
        chosen, files = _choose(_scan(Path(folder)), series, Path(folder))
        planes = [_plane(header, path) for path, header in files]
    rows, columns, n_bytes, is_signed = (max(values) for values in zip(*planes, strict=True))
    return (1, chosen.n_slices, rows, columns), np.dtype(f"{'i' if is_signed else 'u'}{n_bytes}")


def read_dicom(folder: Path, series: str | None = None) -> Volume:
    """The volume of one series in a folder and the folders below it, in the units of its rescale (HU for CT).

    folder: may also be one multi-frame file. Hidden files, DICOMDIR and whatever is not a DICOM image are passed over.
    series: a series number, a UID, or a beginning or end of a UID that only one series has; may be left out where
        there is only one series. Padding outside the scan circle keeps the value it has in the file.

    Raises:
        FileFormatError: no such folder, no DICOM image in it, several series and none chosen, damaged files, colour
            images, or a compression without an installed decoder.
        GeometryError: position, orientation or voxel size unknown; slices that differ in grid, share a place, have
            uneven gaps or are sheared (gantry tilt); fewer than 2 slices.
        IntensityError: all zero, all NaN, or infinite values.
        MissingPackageError: pydicom is not installed.
    """
    with quiet():
        chosen, files = _choose(_scan(Path(folder)), series, Path(folder))
        record = DicomSeries(chosen.uid, _text(files[0][1], "StudyInstanceUID"), chosen.description)
        slices, gap_mm = _stacked(files)
    pixel_mm = slices[0].pixel_mm
    paths = tuple(dict.fromkeys(str(s.path) for s in slices))
    source = Source(paths=paths, format="dicom", modality=chosen.modality, header=record)
    spacing_mm = (round(gap_mm, 5), pixel_mm[0], pixel_mm[1])  # 5: sums of decimal positions leave float noise
    return Volume(_voxels(slices), _affine(slices, gap_mm), source, spacing_mm, _wide_gap(gap_mm, slices[0].thickness_mm))


def read_again(source: Source) -> tuple[list[Slice], dict[Path, Header], np.ndarray]:
    """What lies behind a DICOM volume now, without pixels: slices along Z, the whole header of each file, the affine.

    Of a volume of several channels it is the first's, on whose grid the volume lies.

    Raises:
        FileFormatError: a file is gone or damaged, or none is of the series any more.
        GeometryError: as in :func:`read_dicom`.
        MissingPackageError: pydicom is not installed.
    """
    with quiet():
        read = ((path, _header(path, None)) for path in map(Path, dict.fromkeys(source.paths)))
        series_uid = source.header.series_uid
        files = [(path, header) for path, header in read if header is not None and _uid(header) == series_uid]
        if not files:
            raise FileFormatError(f"no file is of the series {series_uid or 'without UID'} any more")
        slices, gap_mm = _stacked(files)
    return slices, dict(files), _affine(slices, gap_mm)


def _stacked(files: Sequence[tuple[Path, Header]]) -> tuple[list[Slice], float]:
    """The slices along Z, and the gap in mm between them."""
    slices = [one for path, header in files for one in _slices(header, path)]
    _check_alike(slices)
    order, gap_mm = stack_order([s.position for s in slices], slices[0].orientation, min(slices[0].pixel_mm))
    return [slices[i] for i in order], gap_mm


def _affine(slices: Sequence[Slice], gap_mm: float) -> np.ndarray:
    return stack_affine(slices[0].position, slices[0].orientation, slices[0].pixel_mm, gap_mm)


# Checks across slices


def _check_alike(slices: Sequence[Slice]) -> None:
    columns: dict[str, list[tuple[float, ...]]] = {
        "numbers of rows and columns": [s.shape for s in slices],
        "orientations": [s.orientation for s in slices],
        "pixel spacings in mm": [s.pixel_mm for s in slices],
    }
    for what, values in columns.items():
        table = np.array(values)
        differs = np.abs(table - table[0]).max(axis=1) > _SAME_HEADER
        if differs.any():
            raise GeometryError(
                f"the slices have different {what}: {plain(values[0])} and, in {differs.sum()} of {len(slices)}, "
                f"{plain(values[int(differs.argmax())])}; one volume has one grid",
                hint="A localiser or a second stack may be among them: keep the files of one stack in the folder.",
            )


def _wide_gap(gap_mm: float, thickness_mm: float | None) -> tuple[str, ...]:
    if not thickness_mm or gap_mm < _WIDE_GAP * thickness_mm:
        return ()
    return (
        f"the slices are {gap_mm:.4g} mm apart and {thickness_mm:.4g} mm thick: unless it was planned so, slices are missing",
    )


# Files and headers


def _scan(folder: Path) -> _Found:
    """The headers of all images, by series."""
    by_uid: dict[str, list[tuple[Path, Header]]] = {}
    for path in _files(folder):
        if (header := _header(path)) is not None:
            by_uid.setdefault(_uid(header), []).append((path, header))
    if not by_uid:
        nifti = sorted(path.name for path in folder.glob("*.nii*")) if folder.is_dir() else []
        hint = f"It holds {nifti[0]}: give that file." if nifti else "Give the folder that holds the DICOM slices of the scan."
        raise FileFormatError(f"{folder} holds no DICOM image", hint=hint)
    found = {_info(uid, files): files for uid, files in by_uid.items()}
    return dict(sorted(found.items(), key=lambda item: (item[0].number is None, item[0].number or 0, item[0].uid)))


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileFormatError(f"there is no folder {folder}")
    visible = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(p for p in visible if p.is_file() and p.name.upper() != "DICOMDIR")


def _header(path: Path, tags: list[str] | None = _TAGS) -> Header | None:
    """What the reader needs of a header (``tags`` None: all of it), or None where the file is no image of a patient."""
    pydicom = _pydicom()
    try:
        with _damage_named(path):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            kind = pydicom.uid.UID(_text(header.file_meta, "MediaStorageSOPClassUID")).name
    except pydicom.errors.InvalidDicomError:
        return None
    if "Rows" in header and "Columns" in header:
        return None if _text(header, "Modality") in _NOT_SCANS else header
    if not kind or "Image Storage" in kind:  # passing over it in silence could cut the end off a stack
        raise FileFormatError(f"{path.name} begins like a DICOM image and is cut off", hint="Copy or export the file again.")
    return None


def _plane(header: Header, path: Path) -> tuple[int, int, int, int]:
    """Rows, columns, bytes a pixel, and 1 where pixels have a sign."""
    with _damage_named(path):
        n_bytes = max(1, int(header.get("BitsAllocated") or 16) // 8)
        if n_bytes not in (1, 2, 4, 8):
            raise ValueError(f"{n_bytes} bytes a pixel")
        return int(header.Rows), int(header.Columns), n_bytes, int(header.get("PixelRepresentation") or 0)


def _info(uid: str, files: list[tuple[Path, Header]]) -> SeriesInfo:
    first = files[0][1]
    return SeriesInfo(
        uid=uid,
        number=series_number(first),
        description=_text(first, "SeriesDescription"),
        modality=_text(first, "Modality"),
        n_slices=sum(_n_frames(header) for _, header in files),
    )


def series_number(header: Header) -> int | None:
    """The number of the series, or None where there is none that can be read."""
    number = _text(header, "SeriesNumber")
    return int(number) if number.lstrip("+-").isdecimal() else None


def _choose(found: _Found, series: str | None, folder: Path) -> tuple[SeriesInfo, list[tuple[Path, Header]]]:
    exact = [s for s in found if series is None or series in (s.uid, str(s.number))]
    fitting = exact or [s for s in found if series and (s.uid.startswith(series) or s.uid.endswith(series))]
    if len(fitting) == 1:
        return fitting[0], found[fitting[0]]
    if series is None:
        met = f"{folder.name} holds {len(found)} DICOM series and none was chosen"
    elif fitting:
        met = f"{series!r} fits {len(fitting)} of the DICOM series in {folder.name}"
    else:
        met = f"no DICOM series in {folder.name} has the number or UID {series!r}"
    listed = "; ".join(str(s) for s in fitting or found)
    raise FileFormatError(f"{met}: {listed}", hint="Choose one with --series and its number, or an end of its UID.")


def _check_pixels(header: Header, path: Path) -> None:
    """Refuse pixels that are not one stored number a voxel, or that nothing installed can decode."""
    samples, kind = header.get("SamplesPerPixel", 1), _text(header, "PhotometricInterpretation")
    if samples != 1 or not kind.startswith("MONOCHROME"):
        raise FileFormatError(
            f"{path.name} is a colour image ({kind or 'kind unknown'}, {samples} samples a pixel), a scan has one number a voxel",
            hint="Choose the original series instead of a screenshot or a fused image.",
        )
    if "ModalityLUTSequence" in header:
        raise FileFormatError(
            f"{path.name} translates its voxel values by a table (ModalityLUTSequence), only slope and intercept can be read",
            hint="Convert the scan to NIfTI, for example with dcm2niix, and give that file.",
        )
    if (syntax := _missing_decoder(header)) is not None:
        raise FileFormatError(
            f"{path.name} is compressed as {syntax!r}, and no decoder for it is installed",
            hint="Install one, for example the package python-gdcm, or decompress the files first.",
        )


def _missing_decoder(header: Header) -> str | None:
    """Name of the transfer syntax if nothing installed decodes it."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    syntax = UID(_text(header.file_meta, "TransferSyntaxUID"))
    try:
        return None if not syntax or get_decoder(syntax).is_available else str(syntax.name)
    except NotImplementedError:
        return str(syntax.name)


def _slices(header: Header, path: Path) -> list[Slice]:
    with _damage_named(path):
        _check_pixels(header, path)
        n_frames, n_placed = _n_frames(header), len(header.get("PerFrameFunctionalGroupsSequence") or [])
        if n_frames > 1 and n_frames != n_placed:
            raise GeometryError(
                f"{path.name} has {n_frames} frames and says of {n_placed} where they lie, so the place of its voxels in mm is unknown",
                hint="Choose a series with one file a slice, or an enhanced CT or MR.",
            )
        return [_slice(header, frame, path) for frame in range(n_frames)]


def _slice(header: Header, frame: int, path: Path) -> Slice:
    layers = _layers(header, frame)
    thickness = _numbers(layers, "SliceThickness", 1, path)
    slope, intercept = (_numbers(layers, keyword, 1, path) for keyword in ("RescaleSlope", "RescaleIntercept"))
    pixel_mm = _placed(layers, "PixelSpacing", 2, path)
    if min(pixel_mm) <= 0:
        raise GeometryError(
            f"{path.name} gives its PixelSpacing as {plain(pixel_mm)} mm: the true voxel size is unknown",
            hint="Export the original series again.",
        )
    return Slice(
        path=path,
        frame=frame,
        shape=(int(header.Rows), int(header.Columns)),
        position=_placed(layers, "ImagePositionPatient", 3, path),
        orientation=_placed(layers, "ImageOrientationPatient", 6, path),
        pixel_mm=pixel_mm,
        thickness_mm=thickness[0] if thickness else None,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
    )


def _layers(header: Header, frame: int) -> list[Header]:
    """Where to look for a frame's values, the most particular first: its own groups, the shared ones, the header."""
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    groups = [*own[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or [])]
    macros = [group.get(macro) for group in groups for macro in _MACROS]
    return [*(macro[0] for macro in macros if macro), header]


def _placed(layers: list[Header], keyword: str, count: int, path: Path) -> tuple[float, ...]:
    numbers = _numbers(layers, keyword, count, path)
    if numbers is None:
        raise GeometryError(
            f"{path.name} has no {keyword}, so the place and size of its voxels in mm are unknown",
            hint="Choose the original series: screenshots and derived pictures have no geometry.",
        )
    return numbers


def _numbers(layers: list[Header], keyword: str, count: int, path: Path) -> tuple[float, ...] | None:
    """The finite numbers of an element, or None where it is absent or empty."""
    try:
        value = next((layer[keyword].value for layer in layers if keyword in layer), None)
        if value is None or value == "":
            return None
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except damaged() as exc:
        raise FileFormatError(f"{path.name} has an unreadable {keyword}", hint="Copy or export the file again.") from exc
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise FileFormatError(
            f"{path.name} gives its {keyword} as {plain(numbers.ravel().tolist())}, it must be {count} finite number{'s' * (count > 1)}"
        )
    return tuple(float(number) for number in numbers)


def _n_frames(header: Header) -> int:
    text = _text(header, "NumberOfFrames")
    return max(int(text), 1) if text.isdecimal() else 1


def _uid(header: Header) -> str:
    return _text(header, "SeriesInstanceUID")


def _text(header: Header, keyword: str) -> str:
    try:
        value = header.get(keyword)
    except damaged():  # pydicom converts when asked; such a value is of no use to anyone
        return ""
    return "" if value is None else "".join(c for c in str(value)[:64] if c.isprintable()).strip()  # DICOM allows 64, too


# Pixels


def _voxels(slices: Sequence[Slice]) -> np.ndarray:
    """All voxels (1, Z, Y, X) float32, one slice decoded at a time so that memory stays low."""
    try:
        array = np.empty((1, len(slices), *slices[0].shape), np.float32)
    except MemoryError as exc:
        n_bytes = 4 * len(slices) * slices[0].shape[0] * slices[0].shape[1]
        raise FileFormatError(f"the series needs {n_bytes / 1e9:.3g} GB of memory, which is not free") from exc
    with quiet():
        for plane, one in zip(array[0], slices, strict=True):
            plane[:] = _rescaled(one)
    return array


def _rescaled(one: Slice) -> np.ndarray:
    """Voxels (Y, X) float64 in the units of the slice's own slope and intercept, which differ from slice to slice in PET."""
    from pydicom.pixels import pixel_array

    try:
        stored = pixel_array(one.path, index=one.frame)  # iter_pixels of pydicom 3.0.2 fails where JPEG 2000 changes the sign
        if stored.shape != one.shape:
            raise ValueError(f"{stored.shape} pixels instead of {one.shape}")
    except damaged() as exc:
        reason = " ".join(str(exc).split())
        raise FileFormatError(
            f"the pixel data of {one.path.name} are truncated or cannot be decoded: {reason}",
            hint="Copy or export the file again, or decompress the series first.",
        ) from exc
    return np.asarray(np.multiply(stored, one.slope, dtype=np.float64) + one.intercept)


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as exc:
        raise MissingPackageError(
            "reading DICOM needs the package pydicom, which is not installed",
            hint='Run: pip install "uniseg-app[formats]".',
        ) from exc
    return pydicom


def damaged() -> tuple[type[Exception], ...]:
    """What pydicom and the decoders behind it are seen to raise on damaged files, when reading or when asked for a value."""
    common = (OSError, EOFError, ValueError, RuntimeError, AttributeError, TypeError, LookupError, AssertionError)
    return (*common, struct.error, _pydicom().errors.BytesLengthException)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what pydicom raises on a damaged header into a message that names the file."""
    try:
        yield
    except damaged() as exc:
        # What pydicom says is left out: in a damaged header its quotations may hold the patient's name.
        raise FileFormatError(
            f"{path.name} cannot be read as DICOM: it may not be opened, or its header is damaged",
            hint="Copy or export the file again.",
        ) from exc


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the DICOM libraries grumble about in the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
