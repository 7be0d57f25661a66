"""What a file that somebody dropped is, by its name and its first bytes."""

from __future__ import annotations

import re
from enum import StrEnum, auto

from uniseg_app.web_demo.words import shown
from uniseg_model.errors import FileFormatError
from uniseg_model.io import NIFTI_SUFFIXES

START = 132  # bytes that :func:`kind_of` looks at: DICOM has its mark at the end of them
ACCEPTED = "accepted are NIfTI (.nii, .nii.gz), DICOM slices, and one .zip of either"

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
_ARCHIVE_MARKS = (b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x1f\x8b", b"\xfd7zXZ")
_LITTER = ("dicomdir", "thumbs.db", "desktop.ini")  # and whatever is hidden
_KEPT = 60  # characters of a name on disk

_GIVE_SCAN = "Give the scan itself, with all its slices, as DICOM or NIfTI."
_CONVERT = "Convert it to .nii.gz, for example by saving it so from 3D Slicer or ITK-SNAP."
_PICTURE, _NRRD, _META = ("a 2-D picture", _GIVE_SCAN), ("an NRRD volume", _CONVERT), ("a MetaImage volume", _CONVERT)
_FREESURFER = ("a FreeSurfer volume", "Convert it to .nii.gz with FreeSurfer's mri_convert.")
_HALF = ("one half of a header/image pair", "Convert the pair to one .nii.gz file.")
_VOLUMES = {
    **dict.fromkeys((".mgz", ".mgh"), _FREESURFER),
    **dict.fromkeys((".nrrd", ".nhdr"), _NRRD),
    **dict.fromkeys((".mha", ".mhd"), _META),
    **dict.fromkeys((".hdr", ".img"), _HALF),
}
_OTHERS = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"), _PICTURE),
    ".pdf": ("a document", _GIVE_SCAN),
}
_UNKNOWN = ("of a kind that is not known here", _GIVE_SCAN)
_ARCHIVE = ("an archive that cannot be opened here", "Unpack it and give the files, or one .zip of them.")
_NO_MARK = ("no DICOM file: the mark DICM after its first 128 bytes is missing", "Copy or export the file again.")


class Kind(StrEnum):
    """LITTER: what systems leave in folders. VOLUME: an image of a format that is not read. OTHER: no volume."""

    NIFTI = auto()
    DICOM = auto()
    ARCHIVE = auto()
    LITTER = auto()
    VOLUME = auto()
    BROKEN_DICOM = auto()
    OTHER = auto()


def kind_of(name: str, start: bytes) -> Kind:
    """What a file is. name: as its owner knows it, folders included; start: its first ``START`` bytes."""
    *folders, last = _parts(name.lower())
    if last in _LITTER or any(part.startswith((".", "__macosx")) for part in [*folders, last]):
        return Kind.LITTER
    if last.endswith(NIFTI_SUFFIXES):
        return Kind.NIFTI
    if start[128:132] == b"DICM":
        return Kind.DICOM
    if last.endswith(tuple(_VOLUMES)):  # before archives: a .mgz is gzip inside
        return Kind.VOLUME
    if last.endswith(_ARCHIVE_SUFFIXES) or start.startswith(_ARCHIVE_MARKS):
        return Kind.ARCHIVE
    return Kind.BROKEN_DICOM if last.endswith(_DICOM_SUFFIXES) else Kind.OTHER


def refusal(name: str, kind: Kind) -> FileFormatError:
    """The error that says why such a file is of no use and what to do."""
    fixed = {Kind.ARCHIVE: _ARCHIVE, Kind.BROKEN_DICOM: _NO_MARK}
    by_suffix = {**_VOLUMES, **_OTHERS}
    suffix = next((s for s in by_suffix if name.lower().endswith(s)), "")
    what, hint = fixed.get(kind) or by_suffix.get(suffix, _UNKNOWN)
    return FileFormatError(f"{shown(name)} is {what}; {ACCEPTED}", hint=hint)


def safe_name(name: str) -> str:
    """The last part of a name such that every system can have a file of it, not hidden; its suffix stays."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in _parts(name)[-1])
    plain = plain[-_KEPT:].lstrip(".") or "file"
    return f"_{plain}" if re.match(r"(con|nul|aux|prn|com\d|lpt\d)(\.|$)", plain, re.IGNORECASE) else plain


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", name) if part] or [""]
