"""What somebody dropped into the page -> what ``uniseg_model.io.read_volume`` takes.

Everything that is read later lies in one private folder, under names that were made here; Gradio may clear its own copies at
any time. What cannot be an image is refused by name or, beside images, passed over and told.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from uniseg_app.web_demo.kinds import ACCEPTED, START, Kind, kind_of, refusal, safe_name
from uniseg_app.web_demo.unzip import STANDARD, Limits, unzip
from uniseg_app.web_demo.words import shown
from uniseg_model.errors import FileFormatError, ImageError, OutputError
from uniseg_model.files import WRITE_HINT
from uniseg_model.io import read_size, read_volume
from uniseg_model.io.dicom import SeriesInfo, list_series
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.volume import Volume

MOST_VOXELS = 600_000_000  # 2.4 GB as float32: 2000 slices of 512 x 512 are 524 millions

_Pieces = Iterator[tuple[Kind, str, Path | None]]


@dataclass(frozen=True)
class Uploaded:
    """A file as it was sent. name: what its owner calls it, may hold folders; left out, the name on the disk."""

    path: Path
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.path.name)


@dataclass(frozen=True)
class Received:
    """Images that can be read.

    paths: for ``read_volume``, channels in their order. names: what their owner calls them, in the same order; empty
    for DICOM. series: those in the DICOM folder, to choose from; empty for NIfTI. passed_over: files that are no images.
    folder: what to remove when nothing of this is needed any more.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    series: tuple[SeriesInfo, ...]
    passed_over: tuple[str, ...]
    folder: Path


def receive(
    uploads: Sequence[Uploaded], folder: Path, *, limits: Limits = STANDARD, progress: ProgressHook = ignore_progress
) -> Received:
    """Take in one NIfTI file, several as channels, DICOM slices, or one .zip of either.

    folder: private; a new folder in it takes everything, and is gone again when this raises, ``Cancelled`` included.
    Channels named ``_0000``, ``_0001`` ... stand in this order; others follow as they were given, in an archive by name.

    Raises:
        FileFormatError: what is given is no image that can be read here, or is unsafe to unpack; or a damaged header.
        MissingPackageError: DICOM, and pydicom is not installed.
        OutputError: there is no space.
    """
    if not uploads:
        raise FileFormatError(f"no file was given; {ACCEPTED}", hint="Drop a scan into the page.")
    home = folder / secrets.token_hex(8)
    home.mkdir(mode=0o700)
    try:
        return _received(home, _pieces(uploads, _Shelf(home), limits, progress))
    except BaseException:  # a cancel, too, must leave nothing
        shutil.rmtree(home, ignore_errors=True)
        raise


def read(received: Received, *, series: str | None = None) -> Volume:
    """What was received as a volume; records name its NIfTI files as their owner does.

    series: which of those in the DICOM folder, where there are several.

    Raises:
        UniSegError: as :func:`check_size` and ``read_volume``.
    """
    check_size(received.paths, series=series)
    volume = read_volume(received.paths, series=series)
    if received.names:
        volume = replace(volume, source=replace(volume.source, paths=received.names))
    return volume


def check_size(paths: Sequence[Path], most_voxels: int = MOST_VOXELS, *, series: str | None = None) -> None:
    """Refuse images whose headers claim more voxels than this machine shall take, before anything is allocated.

    series: as in ``read_volume``.

    Raises:
        ImageError: more than ``most_voxels`` in all channels together.
        FileFormatError, GeometryError: as ``read_size`` says.
    """
    sizes = [read_size(path, series=series) for path in paths]
    n_voxels = sum(size.n_voxels for size in sizes)
    if n_voxels > most_voxels:
        shapes = " and ".join(" x ".join(map(str, size.shape)) for size in sizes)
        raise ImageError(
            f"the scan has {shapes} voxels (channels, z, y, x), that is {n_voxels / 1e6:.4g} millions, at most {most_voxels / 1e6:.4g} millions are taken here",
            hint="Crop it or write it on a coarser grid; the command line has no such limit.",
        )


class _Shelf:
    """Where images are put: NIfTI files each into a folder of its own, so that the name stays; DICOM files together."""

    def __init__(self, home: Path) -> None:
        self.dicom, self._home, self._count = home / "dicom", home, 0

    def place(self, kind: Kind, name: str) -> Path:
        self._count += 1
        number = f"{self._count:05}"
        path = self.dicom / f"{number}_{safe_name(name)}" if kind is Kind.DICOM else self._home / number / safe_name(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return path


def _pieces(uploads: Sequence[Uploaded], shelf: _Shelf, limits: Limits, progress: ProgressHook) -> _Pieces:
    """Kind, name and path of everything that was given, unpacked; no path for what is no image."""
    kinds = [kind_of(upload.name, _start(upload)) for upload in uploads]
    given = [(kind, upload) for kind, upload in zip(kinds, uploads, strict=True) if kind is not Kind.LITTER]
    if [kind for kind, _ in given] == [Kind.ARCHIVE]:
        yield from _unzipped(given[0][1], shelf, limits, progress)
    else:
        yield from ((kind, upload.name, _taken(kind, upload, shelf, len(given))) for kind, upload in given)


def _unzipped(upload: Uploaded, shelf: _Shelf, limits: Limits, progress: ProgressHook) -> _Pieces:
    if not _start(upload).startswith(b"PK"):
        raise refusal(upload.name, Kind.ARCHIVE)
    pieces = [piece for piece in unzip(upload.path, shelf.place, limits, progress) if piece[0] is not Kind.LITTER]
    yield from sorted(pieces, key=lambda piece: _natural(piece[1]))


def _start(upload: Uploaded) -> bytes:
    if upload.path.is_symlink() or not upload.path.is_file():
        raise FileFormatError(f"{shown(upload.name)} is not there any more", hint="Drop the files again.")
    with upload.path.open("rb") as file:
        return file.read(START)


def _taken(kind: Kind, upload: Uploaded, shelf: _Shelf, n_given: int) -> Path | None:
    """A second name for the file, on our shelf."""
    if kind is Kind.ARCHIVE and n_given > 1 and upload.name.lower().endswith(".zip"):
        raise FileFormatError(
            f"{shown(upload.name)} is one of {n_given} files that were given, an archive must come alone",
            hint="Give one .zip of the scan, or the files without it.",
        )
    if kind in (Kind.ARCHIVE, Kind.VOLUME, Kind.BROKEN_DICOM):
        raise refusal(upload.name, kind)
    if kind is Kind.OTHER:
        return None
    path = shelf.place(kind, upload.name)
    try:
        os.link(upload.path, path)
    except OSError:  # another disk, or a file system without links
        _copy(upload.path, path)
    return path


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        raise OutputError(f"the upload cannot be kept: {exc.strerror}", hint=WRITE_HINT) from exc


def _received(home: Path, pieces: _Pieces) -> Received:
    found = list(pieces)
    images = [(kind, name, path) for kind, name, path in found if path is not None]
    passed_over = tuple(shown(name) for _, name, path in found if path is None)
    kinds = {kind for kind, _, _ in images}
    if not images:
        raise _no_image(found)
    if len(kinds) > 1:
        raise FileFormatError("NIfTI and DICOM files were given together, one scan has one format", hint="Give one of them.")
    if kinds == {Kind.DICOM}:
        with _private(home):
            return Received((home / "dicom",), (), tuple(list_series(home / "dicom")), passed_over, home)
    ordered = _in_channel_order([(name, path) for _, name, path in images])
    names, paths = zip(*ordered, strict=True)
    return Received(paths, tuple(map(shown, names)), (), passed_over, home)


def _no_image(found: list[tuple[Kind, str, Path | None]]) -> FileFormatError:
    if not found:
        return FileFormatError(f"there is no image in what was given; {ACCEPTED}", hint="Give the folder with all slices.")
    kind, name, _ = found[0]
    return refusal(name, kind)


def _in_channel_order(images: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Those whose names end in a channel number first, by it; the others as they stand."""
    numbered = sorted((number, image) for image in images if (number := _channel(image[0])) is not None)
    for (first, one), (second, other) in pairwise(numbered):
        if first == second:
            raise FileFormatError(
                f"{shown(one[0])} and {shown(other[0])} are both channel {first:04}, a case has each channel once",
                hint="Give the channels of one case only.",
            )
    return [image for _, image in numbered] + [image for image in images if _channel(image[0]) is None]


def _channel(name: str) -> int | None:
    found = re.search(r"_([0-9]{4})\.nii(\.gz)?$", name, re.IGNORECASE)
    return int(found[1]) if found else None


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts slice 2 before slice 10: of two numbers the longer one is larger."""
    pairs = re.findall(r"0*([0-9]+)|([^0-9]+)", name.lower())
    return [(len(number), number) if number else (-1, text) for number, text in pairs]


@contextmanager
def _private(home: Path) -> Iterator[None]:
    """Keep the place of the private folder out of what a visitor reads."""
    try:
        yield
    except ImageError as exc:
        told = exc.message.replace(str(home / "dicom"), "what was given")
        raise type(exc)(told, hint=exc.hint) from exc
