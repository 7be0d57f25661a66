"""Labels as one DICOM-SEG object, which viewers lay over the series they came from.

Decisions:

- The source files are read again when labels are written: a DICOM-SEG names every slice it refers to, and belongs to its
  patient and study. So, unlike a NIfTI file, it carries the name and number of the patient where the series does.
- One binary segment a structure, in the task's order, also for a structure that was not found: such a segment has no
  frames. Where nothing was found at all there are empty frames, because the standard wants at least one.
- A series without the UIDs that an object could refer to (often lost when anonymised) is refused: invented ones would
  lead a viewer nowhere.
- Structures are coded in SNOMED CT where :mod:`uniseg_model.io._seg_codes` knows them, otherwise as tissue.
- Text is UTF-8, whatever the series uses, since names of structures may hold any letter.
"""

from __future__ import annotations

import logging
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model import DISCLAIMER, __version__
from uniseg_model.errors import ImageError, MissingPackageError, OutputError
from uniseg_model.files import whole_file
from uniseg_model.io._seg_codes import coded
from uniseg_model.io.dicom import Header, Slice, damaged, quiet, read_again, series_number
from uniseg_model.tasks import Label, Task
from uniseg_model.volume import Volume

DICOM_SUFFIX = ".dcm"

_NAME = "UniSeg App"
_LONGEST = 64  # characters of a short text in DICOM
_SERIES_NUMBER = 1000  # is added to the source's: far from those of the scanner, and in their order
_NEEDED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_HINT = "Save the labels as .nii.gz instead."


def check_dicom_seg(volume: Volume, task: Task) -> None:
    """Refuse, before any work, an image whose labels could not be written as DICOM-SEG.

    Raises:
        OutputError, MissingPackageError: as :func:`write_dicom_seg` would.
    """
    labels = np.zeros(volume.shape, np.uint8)
    labels[0, 0, 0] = 1  # one frame is enough to find out
    _encoded(volume, labels, task, "")


def write_dicom_seg(path: Path, labels: np.ndarray, volume: Volume, task: Task, weights: str = "") -> None:
    """Write one task's labels on the grid of the DICOM series they came from, as one object that refers to its slices.

    labels: (Z, Y, X) uint8 on the grid of ``volume``; value i + 1 is ``task.labels[i]``. weights: the name of those that found them.

    The file appears whole or not at all, with UIDs of its own; it is a series of its own in the same study.

    Raises:
        OutputError: the image was no DICOM series, its files are gone or have changed since, its header lacks what an
            object could refer to, or the file cannot be written.
        MissingPackageError: pydicom or highdicom is not installed.
    """
    encoded = _encoded(volume, labels, task, weights)
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded)


def _encoded(volume: Volume, labels: np.ndarray, task: Task, weights: str) -> bytes:
    """The file's content."""
    _highdicom()
    slices, headers = _source(volume)
    in_frame_order = labels[np.argsort([s.frame for s in slices], kind="stable")]  # single frames, all 0, stay as they are
    segments = [_segment(number, label, weights) for number, label in enumerate(task.labels, start=1)]
    try:
        with quiet():
            return _seg(_mended(headers, slices, volume), in_frame_order, segments, task)
    except damaged() as exc:  # its words are left out: they may quote the patient's name or birthday
        raise OutputError(
            f"the header of {slices[0].path.name} breaks a rule that a DICOM-SEG has to follow", hint=_HINT
        ) from exc


def _seg(images: list[Header], labels: np.ndarray, segments: list[Any], task: Task) -> bytes:
    seg = _highdicom().seg.Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        omit_empty_frames=bool(labels.any()),
        specific_character_set="ISO_IR 192",
        **_identity(task, images[0]),
    )
    seg.ContentCreatorName = None  # has to be there, and no person made it
    file = BytesIO()
    seg.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _identity(task: Task, first: Header) -> dict[str, Any]:
    """Who made the object, and under which names and numbers it is found."""
    uid = _highdicom().UID
    return {
        "series_instance_uid": uid(),
        "sop_instance_uid": uid(),
        "series_number": max(1, _SERIES_NUMBER + (series_number(first) or 0)),
        "instance_number": 1,
        "series_description": _short(f"{_NAME}: {task.title}"),
        "content_label": task.key.upper()[:16].rstrip("_"),  # as long as DICOM allows
        "content_description": DISCLAIMER,
        "manufacturer": _NAME,
        "manufacturer_model_name": _NAME,
        "software_versions": __version__,
        "device_serial_number": "0",  # has to be there
    }


def _segment(number: int, label: Label, weights: str) -> Any:
    from pydicom.sr.codedict import codes

    highdicom = _highdicom()
    category, kind, region = coded(label.name)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        _NAME, codes.DCM.ArtificialIntelligence, __version__, parameters={"weights": weights} if weights else None
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=_short(label.name),
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        anatomic_regions=[region] if region else None,
        display_color=highdicom.color.CIELabColor.from_string(label.color),
    )


def _short(text: str) -> str:
    """What a short text of DICOM may hold."""
    return re.sub(r"[\\\x00-\x1f\x7f]", " ", text)[:_LONGEST].strip()


# The series behind a volume


def _source(volume: Volume) -> tuple[list[Slice], list[Header]]:
    """The slices of the volume along Z, and the header of each file in their order."""
    if volume.source.format != "dicom":
        raise OutputError(
            f"labels of an image read as {volume.source.format} cannot be DICOM-SEG, which refers to the slices of a DICOM series",
            hint="Save them as .nii.gz, or give the DICOM folder as the (first) image.",
        )
    try:
        slices, headers, affine = read_again(volume.source)
    except ImageError as exc:
        raise _changed(exc.message) from exc
    if len(slices) != volume.shape[0] or slices[0].shape != volume.shape[1:]:
        raise _changed(f"{len(slices)} slices of {slices[0].shape} instead of {volume.shape[0]} of {volume.shape[1:]} pixels")
    if not np.allclose(affine, volume.affine, rtol=0, atol=1e-4):
        raise _changed("they lie elsewhere")
    return slices, [headers[path] for path in dict.fromkeys(s.path for s in slices)]


def _changed(how: str) -> OutputError:
    return OutputError(
        f"the DICOM files that the labels refer to have changed since they were read: {how}",
        hint=f"Put the series back as it was, or segment it again. {_HINT}",
    )


def _mended(headers: list[Header], slices: list[Slice], volume: Volume) -> list[Header]:
    """The headers with what is empty, left out or rounded differently filled in, so that highdicom takes them.

    Raises:
        OutputError: a UID is missing, or two files have the same; or a series of several multi-frame files.
    """
    if len(headers) not in (1, len(slices)):
        raise OutputError(
            f"the series is {len(headers)} files of several frames, a DICOM-SEG refers to single slices or to one such file",
            hint=_HINT,
        )
    _mend_first(headers[0], slices[0].thickness_mm or volume.spacing_mm[0], volume.spacing_mm[0])
    for header in headers:
        _mend_slice(header, headers[0])
    _check_uids(headers, slices[0].path.name)
    return headers


def _mend_slice(header: Header, first: Header) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID"):  # stand twice in a file; anonymisers may empty one
        setattr(header, keyword, header.get(keyword) or header.file_meta.get(f"MediaStorage{keyword}"))
    if "ImageOrientationPatient" in header:
        header.ImageOrientationPatient = first.ImageOrientationPatient  # highdicom does not forgive another last digit


def _mend_first(first: Header, thickness_mm: float, gap_mm: float) -> None:
    """Fill in what highdicom takes from the first header alone."""
    for keyword in _MAY_BE_EMPTY:
        first.setdefault(keyword, None)
    if "PixelSpacing" in first:  # one of many frames has its measures elsewhere
        first.SliceThickness, first.SpacingBetweenSlices = thickness_mm, gap_mm
    first.decode()  # while its own character set is known, also inside of sequences


def _check_uids(headers: list[Header], name: str) -> None:
    for keyword in _NEEDED_UIDS:
        if not all(header.get(keyword) for header in headers):
            raise OutputError(
                f"{name} or another slice has no {keyword}, so a DICOM-SEG has nothing to refer to",
                hint=f"It may have been lost when the series was anonymised: export the series again. {_HINT}",
            )
    if (n_distinct := len({header.SOPInstanceUID for header in headers})) < len(headers):
        raise OutputError(
            f"{len(headers)} slices share {n_distinct} SOPInstanceUIDs, so a DICOM-SEG cannot tell which one it means",
            hint=_HINT,
        )


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as exc:
        raise MissingPackageError(
            "writing DICOM-SEG needs the packages pydicom and highdicom, which are not both installed",
            hint='Run: pip install "uniseg-app[formats]".',
        ) from exc
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # its warnings are for programmers, and may quote a patient's name
    return highdicom
