"""Archives made by strangers: looked at as a whole before anything is written, and counted while it is.

Decisions:

- Only what is an image is written, under a name that the caller chooses; a member's own name is never a path.
- What the directory says is checked first and not believed afterwards: bytes are counted again as they come.
- Deflate and stored only: other methods may need gigabytes to unpack.
- The directory itself is read only up to a size, since it is held in memory.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from uniseg_app.web_demo.kinds import START, Kind, kind_of, refusal
from uniseg_app.web_demo.words import shown, size_text
from uniseg_model.errors import FileFormatError, OutputError
from uniseg_model.files import WRITE_HINT
from uniseg_model.progress import Progress, ProgressHook

Place = Callable[[Kind, str], Path | None]

_CHUNK = 1 << 20
_FREE = 32 << 20  # bytes that are never a bomb, however well they were packed
_DIRECTORY_BYTES = 256  # for each member: its fixed part, its name and its stamps
_SPARE = 64 << 20  # bytes that stay free on the disk
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_ANEW = "Make the .zip anew from the folder of the scan."
_SMALLER = "Give a .zip of one scan only, or its files."
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, struct.error, ValueError)


@dataclass(frozen=True)
class Limits:
    """What one archive may hold. most_ratio: bytes unpacked for each packed one; small archives are not measured."""

    most_members: int = 20_000
    most_bytes: int = 8 << 30
    most_ratio: float = 200.0

    def bytes_of(self, archive: Path) -> int:
        """How many bytes this archive may unpack to."""
        return min(self.most_bytes, max(_FREE, int(self.most_ratio * archive.stat().st_size)))


STANDARD = Limits()


def unzip(
    archive: Path, place: Place, limits: Limits, progress: ProgressHook, also: Collection[str] = ()
) -> Iterator[tuple[Kind, str, Path | None]]:
    """Write the images among the members, one by one: their kind, name, and path; of what is not written, no path.

    place: where a member goes; None leaves it out. also: names of files that are written, too, though they are no images.
    Who stops early, or meets an error, must remove what was written.

    Raises:
        FileFormatError: no zip archive, damaged, encrypted or packed in an unusual way; a member that is an archive, a
            link, or points outside; too many members or bytes.
        OutputError: the disk is full.
    """
    with _damage_named(), _opened(archive, limits) as zipped:
        members = [m for m in zipped.infolist() if not m.is_dir()]
        most, total = limits.bytes_of(archive), sum(m.file_size for m in members)
        _check_directory(zipped.infolist(), limits.most_members, most)
        done = 0
        for member in members:
            with _stream(zipped, member) as stream:
                start = stream.read(START)
                kind = _kind(member, start)
                path = _placed(place, kind, member, also)
                if path is not None:
                    for n_bytes in _write(path, start, stream, min(most - done, member.file_size), member):
                        done += n_bytes
                        progress(Progress("unpack", done, total))
            yield kind, member.filename, path


def _placed(place: Place, kind: Kind, member: zipfile.ZipInfo, also: Collection[str]) -> Path | None:
    is_asked_for = kind is Kind.OTHER and re.split(r"[/\\]", member.filename)[-1] in also
    if kind not in (Kind.NIFTI, Kind.DICOM) and not is_asked_for:
        return None
    with _disk_named():
        return place(kind, member.filename)


class _Frugal(io.BufferedReader):
    """A file of which no single read may be longer than ``most``: the directory is read at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.most:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(size)


@contextmanager
def _opened(archive: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    with _Frugal(io.FileIO(archive)) as file:
        file.most = max(_CHUNK, _DIRECTORY_BYTES * limits.most_members)
        with zipfile.ZipFile(file) as zipped:
            yield zipped


def _stream(zipped: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    if kind_of(member.filename, b"") is Kind.LITTER:
        return io.BytesIO()
    return zipped.open(member)


def _kind(member: zipfile.ZipInfo, start: bytes) -> Kind:
    kind = kind_of(member.filename, start)
    if kind is Kind.ARCHIVE:
        raise FileFormatError(
            f"{shown(member.filename)} is an archive within the archive, only one may be around the scan",
            hint="Unpack it, and give the files or one .zip of them.",
        )
    if kind in (Kind.VOLUME, Kind.BROKEN_DICOM):
        raise refusal(member.filename, kind)
    return kind


def _check_directory(members: list[zipfile.ZipInfo], most_members: int, most_bytes: int) -> None:
    """Refuse what the directory says of number, size, names and kinds of members, before anything is written."""
    if len(members) > most_members:
        raise FileFormatError(f"the archive has {len(members)} members, at most {most_members} are taken", hint=_SMALLER)
    for member in members:
        _check_name(member.orig_filename)
        _check_type(member)
    total = sum(m.file_size for m in members)
    if total > most_bytes:
        raise _too_large(f"says that it unpacks to {size_text(total)}", most_bytes)


def _check_name(name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise FileFormatError(f"the archive has a member {shown(name)!r}, whose name points outside of it", hint=_ANEW)


def _check_type(member: zipfile.ZipInfo) -> None:
    name = shown(member.filename)
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise FileFormatError(f"the member {name!r} is a link or a device, only plain files are taken", hint=_ANEW)
    if member.flag_bits & _ENCRYPTED:
        raise FileFormatError(f"the member {name!r} is encrypted", hint="Make the .zip anew without a password.")
    if member.compress_type not in _METHODS:
        raise FileFormatError(
            f"the member {name!r} is packed by method {member.compress_type}, only 0 and 8 (deflate) can be unpacked",
            hint=_ANEW,
        )


def _write(path: Path, start: bytes, stream: IO[bytes], most: int, member: zipfile.ZipInfo) -> Iterator[int]:
    """Write a member's bytes and yield their numbers. most: the bytes it claims, or those that are left to all."""
    written, chunk = 0, start
    _check_disk(path.parent, member.file_size)
    with _disk_named():
        file = path.open("xb")
    with file:
        while chunk:
            written += len(chunk)
            if written > most:
                raise _too_large("holds more than it says", most)
            with _disk_named():
                file.write(chunk)
            yield len(chunk)
            chunk = stream.read(_CHUNK)
    if written != member.file_size:
        raise FileFormatError(
            f"the member {shown(member.filename)!r} says that it has {member.file_size} bytes, it holds {written}", hint=_ANEW
        )


@contextmanager
def _disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise OutputError(f"the archive cannot be unpacked: {exc.strerror}", hint=WRITE_HINT) from exc


def _check_disk(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes + _SPARE:
        raise OutputError(
            f"the archive needs {size_text(n_bytes)} of disk, {size_text(free)} are free",
            hint="Free some, or ask who runs this.",
        )


def _too_large(what: str, most: int) -> FileFormatError:
    return FileFormatError(f"the archive {what}, at most {size_text(most)} are taken", hint=_SMALLER)


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except _DAMAGED as exc:
        raise FileFormatError(
            f"the archive cannot be read: {' '.join(str(exc).split()) or 'it is cut off'}",
            hint="It may be cut off or no .zip: make it anew.",
        ) from exc
