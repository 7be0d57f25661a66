"""Which cases of a data set lie below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniseg_model.errors import FileFormatError
from uniseg_model.upstream.layouts import DataSet, Layout, names_of


@dataclass(frozen=True)
class Case:
    """A case as it lies on the disk. label: where it is or, if it is nowhere, where it was looked for first.

    origin: the first channel's path from where its layout begins, so that a moved download is known again.
    """

    name: str
    images: tuple[Path, ...]
    label: Path
    origin: str


def find_cases(data_set: DataSet, source: Path, besides: Path) -> list[Case]:
    """The cases below ``source`` in the order of their paths; hidden files and the folder ``besides`` are not looked at.

    Raises:
        FileFormatError: no such folder, no case in it, or a case twice.
    """
    if not source.is_dir():
        raise FileFormatError(f"there is no folder {source}", hint="Give the folder into which the download was unpacked.")
    top = source.resolve()
    paths = sorted(path.relative_to(top.parent).as_posix() for path in _files(top, besides.resolve()))
    found = [(layout, match) for path in paths for layout in data_set.layouts if (match := layout.match(path))]
    found.sort(key=lambda pair: _origin(pair[1]))
    if not found:
        forms = " or ".join(layout.example for layout in data_set.layouts)
        raise FileFormatError(
            f"no case of {data_set.source} lies below {source}",
            hint=f"Expected are files such as {forms}; unpack archives first.",
        )
    names = names_of(data_set, found)
    cases = [_case(name, layout, match, top.parent) for name, (layout, match) in zip(names, found, strict=True)]
    _check_unique(cases)
    return cases


def _files(top: Path, besides: Path) -> Iterator[Path]:
    """All NIfTI files; links to folders are followed, each folder once."""
    seen = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or Path(real) == besides:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.endswith((".nii", ".nii.gz")) and not name.startswith("."))


def _origin(match: re.Match[str]) -> str:
    return match[0][len(match["above"]) :]


def _case(name: str, layout: Layout, match: re.Match[str], top: Path) -> Case:
    labels = [top / match.expand(template) for template in layout.label]
    label = next((path for path in labels if path.is_file()), labels[0])
    others = (top / match.expand(template) for template in layout.others)
    return Case(name, (top / match[0], *others), label, _origin(match))


def _check_unique(cases: Sequence[Case]) -> None:
    first: dict[str, Case] = {}
    for case in cases:
        if case.name in first:
            raise FileFormatError(
                f"the case {case.name} was found twice: {first[case.name].images[0]} and {case.images[0]}",
                hint="Give the folder that holds only one of them.",
            )
        first[case.name] = case
