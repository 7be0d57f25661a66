"""A data set that somebody dropped as one .zip: images, labels and descriptions, put where they belong."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

from uniseg_app.web_demo.kinds import Kind, safe_name
from uniseg_app.web_demo.unzip import STANDARD, Limits, unzip
from uniseg_app.web_demo.words import shown, size_text
from uniseg_model.dataset import TASK_FILE
from uniseg_model.errors import FileFormatError
from uniseg_model.progress import ProgressHook, ignore_progress

DESCRIPTIONS = ("dataset.json", TASK_FILE, "splits_final.json")
_PARTS = {name.lower(): name for name in ("imagesTr", "labelsTr", "images", "image", "img", "labels", "label", "seg", "segs", "mask", "masks")}  # fmt: skip
_UNUSED = ("imagests", "labelsts")  # for tests of others
_MOST_DESCRIPTION = 4 << 20  # bytes
_HINT = "Make a .zip of one folder with imagesTr and labelsTr."


def receive_data_set(
    archive: Path, name: str, folder: Path, *, limits: Limits = STANDARD, progress: ProgressHook = ignore_progress
) -> Path:
    """Unpack a data set into a new folder in a private one; nothing of it is left when this raises, ``Cancelled`` included.

    name: of the archive, as its owner calls it.

    Raises:
        FileFormatError: as ``unzip``; or it holds no NIfTI file, DICOM, two data sets, or a description that is too long.
        OutputError: as ``unzip``.
    """
    if not name.lower().endswith(".zip"):
        raise FileFormatError(f"{shown(name)} is no .zip, a data set is dropped as one", hint=_HINT)
    home = folder / secrets.token_hex(8) / (safe_name(name[:-4]) or "data")
    home.mkdir(mode=0o700, parents=True)
    try:
        kinds = [kind for kind, _, path in unzip(archive, _Shelf(home).place, limits, progress, DESCRIPTIONS) if path]
        if Kind.NIFTI not in kinds:
            raise FileFormatError(f"{shown(name)} holds no NIfTI file", hint=_HINT)
        _check_descriptions(home)
    except BaseException:  # a cancel, too, must leave nothing
        shutil.rmtree(home.parent, ignore_errors=True)
        raise
    return home


class _Shelf:
    """Where members are put: in the part of a data set that their own folder is, whatever lies around it."""

    def __init__(self, home: Path) -> None:
        self._home, self._around = home, dict[tuple[str, ...], str]()

    def place(self, kind: Kind, name: str) -> Path | None:
        """Raises FileFormatError for what is of no data set, or of a second one."""
        if kind is Kind.DICOM:
            raise FileFormatError(f"{shown(name)} is DICOM, a data set has NIfTI files", hint="Convert the images to .nii.gz.")
        *folders, last = [part for part in re.split(r"[/\\]", name) if part]
        part = _PARTS.get(folders[-1].lower(), "") if folders else ""
        if folders and folders[-1].lower() in _UNUSED:
            return None
        self._check_one(tuple(folders[:-1] if part else folders), name)
        path = self._home / part / safe_name(last)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return path

    def _check_one(self, around: tuple[str, ...], name: str) -> None:
        self._around.setdefault(around, name)
        if len(self._around) > 1:
            first, second = self._around.values()
            raise FileFormatError(
                f"{shown(first)} and {shown(second)} are of two data sets, one is taken at a time", hint=_HINT
            )


def _check_descriptions(home: Path) -> None:
    for name in DESCRIPTIONS:
        n_bytes = path.stat().st_size if (path := home / name).exists() else 0
        if n_bytes > _MOST_DESCRIPTION:
            raise FileFormatError(f"{name} has {size_text(n_bytes)}, at most {size_text(_MOST_DESCRIPTION)} are taken", hint="Leave it out.")  # fmt: skip
