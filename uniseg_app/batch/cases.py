"""Which cases a folder holds. Only names are looked at, and of files without ``.dcm`` the mark of a DICOM file; no image is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniseg_model.errors import FileFormatError, OptionError
from uniseg_model.io import NIFTI_SUFFIXES
from uniseg_model.io.dicom_seg import DICOM_SUFFIX

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_UNFIT = re.compile(r'[\x00-\x1f/\\:*?"<>|]')
_TAKEN = ("summary.csv", "summary.json")
_MOST_LETTERS = 200  # in the name of a folder, with room for ours


@dataclass(frozen=True)
class Case:
    """One image to segment.

    name: of its folder among the answers. images: a file per channel, or one DICOM folder. tasks: in place of those of the batch,
        where not empty. series: which one of a DICOM folder.
    """

    name: str
    images: tuple[Path, ...]
    tasks: tuple[str, ...] = ()
    series: str | None = None


def find_cases(folder: Path, out: Path) -> list[Case]:
    """The cases in a folder by name: its NIfTI files, and all folders in it that hold DICOM files. What lies in ``out`` does not count.

    A file is a case. Where one is named CASE_0000 the folder is in nnU-Net's form, and CASE_0000, CASE_0001, ... are one case. A
    DICOM folder is named by its path, A/B as A_B.

    Raises:
        FileFormatError: there is no case, or a channel is missing. OptionError: two cases of one name.
    """
    cases = [*_nifti_cases(folder), *_dicom_cases(folder, out)]
    if not cases:
        raise FileFormatError(
            f"{folder} holds no NIfTI file (.nii, .nii.gz) and no folder with DICOM files",
            hint="Name the folder with the images, or a list of them: a .csv or .jsonl file with case and images.",
        )
    check_names([case.name for case in cases], str(folder))
    return sorted(cases, key=lambda case: case.name)


def check_names(names: Sequence[str], where: str) -> None:
    """Names that are folders' names on any system, each once.

    Raises:
        OptionError: one is not.
    """
    seen = dict[str, str]()
    for name in names:
        if not name or name.startswith(".") or _UNFIT.search(name) or name in _TAKEN or len(name.encode()) > _MOST_LETTERS:
            raise OptionError(
                f"{where}: {name!r} cannot be the name of a case, which becomes a folder",
                hint=f'1 to {_MOST_LETTERS} letters, no dot in front, none of / \\ : * ? " < > |, and not {" or ".join(_TAKEN)}.',
            )
        if (other := seen.get(name.casefold())) is not None:
            also = "" if other == name else f" and {other!r}, which some systems take for one folder"
            raise OptionError(
                f"{where}: two cases are named {name!r}{also}",
                hint="Rename one, or list the cases in a .csv with names of your own.",
            )
        seen[name.casefold()] = name


def _nifti_cases(folder: Path) -> Iterator[Case]:
    files = [path for path in sorted(_children(folder)) if path.name.lower().endswith(NIFTI_SUFFIXES) and path.is_file()]
    stems = {path: _stem(path) for path in files}
    if not any(match and match[2] == "0000" for match in map(_CHANNEL.fullmatch, stems.values())):
        yield from (Case(stem, (path,)) for path, stem in stems.items())
        return
    grouped: dict[str, dict[int, Path]] = {}
    for path, stem in stems.items():
        if match := _CHANNEL.fullmatch(stem):
            channels = grouped.setdefault(match[1], {})
            if int(match[2]) in channels:
                raise OptionError(
                    f"{channels[int(match[2])].name} and {path.name} are the same channel of one case", hint="Remove one."
                )
            channels[int(match[2])] = path
        else:
            yield Case(stem, (path,))
    for name, channels in grouped.items():
        if missing := sorted({*range(max(channels) + 1)} - {*channels}):
            raise FileFormatError(
                f"the case {name!r} has {channels[max(channels)].name} and no {name}_{missing[0]:04d}",
                hint="Add the channel, or list the cases in a .csv.",
            )
        yield Case(name, tuple(channels[number] for number in sorted(channels)))


def _stem(path: Path) -> str:
    return next(
        path.name[: -len(end)] for end in sorted(NIFTI_SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(end)
    )


def _dicom_cases(folder: Path, out: Path) -> Iterator[Case]:
    for here, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith(".") and (Path(here) / name).resolve() != out.resolve())
        if any(_is_dicom(Path(here) / name) for name in sorted(files) if not name.startswith(".")):
            below.clear()  # the reader looks into the folders below, too
            yield Case("_".join(Path(here).relative_to(folder).parts) or folder.resolve().name, (Path(here),))


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() == DICOM_SUFFIX:
        return True
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _children(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as exc:
        raise FileFormatError(f"{folder} cannot be read: {exc.strerror}", hint="Check the path.") from exc
