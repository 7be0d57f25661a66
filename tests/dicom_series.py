"""Small made-up DICOM series whose numbers one can check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)  # rows run to the back, columns downwards: the normal points to the right (-x in LPS)
SLANTED = (1, 0, 0, 0, 0.8, 0.6)  # a 3-4-5 triangle: the normal is (0, -0.6, 0.8)
ORIGINS = [(-10.0, -20.0, -30.0 + 2.5 * k) for k in range(4)]  # LPS mm
UID = "1.2.826.0.1.3680043.8.498."


def stored(k: int) -> np.ndarray:
    """Slice k before rescaling: 100 k + 10 y + x, 3 rows of 5."""
    y, x = np.indices((3, 5))
    return (100 * k + 10 * y + x).astype(np.uint16)


def dataset(pixels: np.ndarray, origin: Any, orientation: Any = AXIAL, **tags: Any) -> Any:
    """A CT slice; a tag given as None is left out."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = pydicom.uid.CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = pydicom.uid.generate_uid()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.PatientName, ds.PatientID = "Doe^Jane", "4711"
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber = "CT", "Body", 3
    ds.SeriesInstanceUID, ds.StudyInstanceUID = UID + "1.33", UID + "9"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(origin), list(orientation)
    ds.PixelSpacing, ds.SliceThickness = [0.5, 0.75], 2.5  # between rows, between columns
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(pixels.dtype == np.int16)
    ds.RescaleSlope, ds.RescaleIntercept = 2, -1024
    ds.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def write(path: Path, ds: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, origins: Any = ORIGINS, orientation: Any = AXIAL, **tags: Any) -> list[Path]:
    return [write(folder / f"{k}.dcm", dataset(stored(k), origin, orientation, **tags)) for k, origin in enumerate(origins)]


def change(path: Path, **tags: Any) -> None:
    """Other tags for one slice; None takes a tag away."""
    ds = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.save_as(path)


def enhanced(origins: Any, **tags: Any) -> Any:
    """One file of many frames; frame k has the slope k + 1."""
    pixels = np.stack([stored(k) for k in range(len(origins))])
    absent = dict.fromkeys([
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ])
    ds = dataset(pixels, origins[0], NumberOfFrames=len(origins), **absent)
    shared_groups, ds.PerFrameFunctionalGroupsSequence = pydicom.Dataset(), []
    shared_groups.PlaneOrientationSequence = [of(ImageOrientationPatient=list(AXIAL))]
    shared_groups.PixelMeasuresSequence = [of(PixelSpacing=[0.5, 0.75], SliceThickness=2.5)]
    ds.SharedFunctionalGroupsSequence = [shared_groups]
    for k, origin in enumerate(origins):
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = [of(ImagePositionPatient=list(origin))]
        frame.PixelValueTransformationSequence = [of(RescaleSlope=k + 1, RescaleIntercept=0)]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def of(**tags: Any) -> Any:
    item = pydicom.Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item
