"""Which files belong together, in the layouts that people have:

imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz     nnU-Net, both versions
imagesTr/CASE.nii.gz, labelsTr/CASE.nii.gz          the Decathlon: one file, all channels
images/CASE.nii.gz, labels/CASE.nii.gz              two folders of the same names (also image, img; label, seg, mask, masks)
CASE_image.nii.gz, CASE_label.nii.gz                one folder (also img, ct, mr; labels, seg, mask)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uniseg_model.errors import FileFormatError
from uniseg_model.io import NIFTI_SUFFIXES

_IMAGE_FOLDERS, _LABEL_FOLDERS = ("images", "image", "img"), ("labels", "label", "seg", "segs", "mask", "masks")
_IMAGE_NAME = re.compile(r"(.+?)[_-](?:images?|img|ct|mr)", re.IGNORECASE)
_LABEL_NAME = re.compile(r"(.+?)[_-](?:labels?|seg|segmentation|masks?|gt)", re.IGNORECASE)
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Pair:
    """A case as it was found. images: by channel number; labels: None where there are none."""

    name: str
    images: tuple[Path, ...]
    labels: Path | None


def find_pairs(folder: Path) -> tuple[str, list[Pair]]:
    """The layout in words, and the cases by name, those too that lack a part.

    Raises:
        FileFormatError: there is no such folder, or nothing in it that could be a case.
    """
    if not folder.is_dir():
        raise FileFormatError(f"there is no folder {folder}")
    for name, images, labels in _readings(folder):
        if images or labels:
            return name, [_pair(case, images.get(case, {}), labels.get(case)) for case in sorted({*images, *labels})]
    raise FileFormatError(f"{folder} holds no case: no image with a label map is in it",
                          hint="A data set is a folder with imagesTr/CASE_0000.nii.gz and labelsTr/CASE.nii.gz.")  # fmt: skip


def _readings(folder: Path) -> Iterator[tuple[str, dict[str, dict[int, Path]], dict[str, Path]]]:
    labels = _by_name(folder / "labelsTr")
    yield "nnU-Net", _channels(folder / "imagesTr", set(labels)), labels
    for images_in, labels_in in ((a, b) for a in _IMAGE_FOLDERS for b in _LABEL_FOLDERS):
        if (folder / images_in).is_dir() and (folder / labels_in).is_dir():
            labels = _by_name(folder / labels_in)
            yield f"folders {images_in} and {labels_in}", _channels(folder / images_in, set(labels)), labels
    every = _by_name(folder)
    images = {m[1]: {0: path} for name, path in every.items() if (m := _IMAGE_NAME.fullmatch(name))}
    named = {m[1]: path for name, path in every.items() if (m := _LABEL_NAME.fullmatch(name))}
    yield "paired names", images, named


def _by_name(folder: Path) -> dict[str, Path]:
    """NIfTI files without their ending; hidden ones, which may be half-written, do not count."""
    files = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
    return {stem: path for path in files if (stem := stem_of(path)) is not None}


def stem_of(path: Path) -> str | None:
    """The name of a NIfTI file without its ending; None of another file."""
    suffix = next((s for s in reversed(NIFTI_SUFFIXES) if path.name.lower().endswith(s)), None)
    return path.name[: -len(suffix)] if suffix and path.is_file() else None


def _channels(folder: Path, cases: set[str]) -> dict[str, dict[int, Path]]:
    """Files by case and channel; a name that is a case's own is one file with all its channels."""
    found: dict[str, dict[int, Path]] = {}
    for name, path in _by_name(folder).items():
        numbered = None if name in cases else _CHANNEL.fullmatch(name)
        case, number = (numbered[1], int(numbered[2])) if numbered else (name, 0)
        found.setdefault(case, {})[number] = path
    return found


def _pair(case: str, channels: dict[int, Path], labels: Path | None) -> Pair:
    return Pair(case, tuple(channels[number] for number in sorted(channels)), labels)
