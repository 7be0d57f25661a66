"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from uniseg_model.errors import OutputError

TEMPORARY = ".unfinished."  # in the names of files that are being written; who finds one later may delete it
WRITE_HINT = "Choose a folder with space and write permission."


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: it cannot be made, or is there although it should not be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be made: {exc}", hint=WRITE_HINT) from exc


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; when the block ends well it is renamed, otherwise it is gone.

    Raises:
        OutputError: the file cannot be written.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}{TEMPORARY}{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name with nothing in it
        os.replace(temporary, path)
    except OSError as exc:
        raise OutputError(f"{path} cannot be written: {exc}", hint=WRITE_HINT) from exc
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, facts: Mapping[str, Any] | list[Any]) -> None:
    """Write a JSON document, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as temporary:
        text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file name may be no valid text


def write_sealed_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON document with a seal over its content, so that :func:`is_sealed` can tell a later edit.

    Raises:
        OutputError: it cannot be written.
    """
    plain = json.loads(json.dumps(facts).encode("ascii"))
    write_json(path, {**plain, "seal": _seal(plain)})


def is_sealed(path: Path) -> bool:
    """Whether the JSON document is as this program wrote it."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return bool(facts.pop("seal") == _seal(facts))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _seal(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii")).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def try_lock(file: IO[str]) -> bool:
    """Whether the file is ours now, until it is closed or our process ends; always, on systems without such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(file: IO[str]) -> None:
    """Give a locked file back at once: a process that was forked meanwhile would hold it, too, after it is closed here."""
    with suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
