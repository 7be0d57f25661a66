"""Gradio's copies of files that were shown or offered: it keeps them for hours, but nobody's scan should outlive its tab."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def forget_copies(folder: Path, cache: Path) -> None:
    """Remove the copies of all files in a folder from Gradio's cache, where they lie as CONTENT-HASH/NAME."""
    from gradio.processing_utils import hash_file

    for path in folder.rglob("*"):
        with suppress(OSError):  # gone already
            if path.is_file():
                forget(cache / hash_file(path) / path.name)


def forget(copy: Path) -> None:
    """Remove one copy, and its folder when that is empty."""
    copy.unlink(missing_ok=True)
    with suppress(OSError):
        copy.parent.rmdir()
