"""Where answers go: checked before the work, written all together after it, never half."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uniseg_model.errors import OutputError
from uniseg_model.segmentation import is_unedited

_HINT = "Choose a folder with space and write permission."


def is_label_file(path: Path) -> bool:
    """Whether the name asks for one NIfTI file rather than a folder."""
    return path.name.endswith((".nii", ".nii.gz"))


def check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse, before any work, an output that cannot be written or is one of the inputs.

    Raises:
        OutputError: it is an input, a file where a folder is needed or the other way round, or not writable.
    """
    if any(out.resolve() == path.resolve() for path in inputs):
        raise OutputError(f"the output {out} is the input", hint="Choose another name.")
    if is_label_file(out) and out.is_dir():
        raise OutputError(f"the output {out} is a folder", hint="Name a file inside it.")
    if not is_label_file(out) and out.exists() and not out.is_dir():
        raise OutputError(f"the output {out} is a file", hint="Name a folder, or a file that ends in .nii.gz.")
    _check_writable(out.parent if is_label_file(out) else out)


def check_replaceable(files: Sequence[Path]) -> None:
    """Refuse to replace label files that hold somebody's work.

    Raises:
        OutputError: one exists that was edited since this program wrote it, or that it did not write.
    """
    for path in files:
        if path.exists() and not is_unedited(path):
            raise OutputError(
                f"{path} was edited, or was not written by this program",
                hint="Move it away, choose another output, or add --overwrite.",
            )


def _check_writable(folder: Path) -> None:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as exc:
        raise OutputError(f"nothing can be written in {existing}: {exc.strerror}", hint=_HINT) from exc


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder to write into; when the block ends well its files move into ``folder``, otherwise they are gone.

    Raises:
        OutputError: a folder cannot be made or a file cannot be moved.
    """
    made = not folder.exists()
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".uniseg-", dir=folder))
        yield staging
        for file in sorted(staging.iterdir()):
            os.replace(file, folder / file.name)
        made = False
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written: {exc}", hint=_HINT) from exc
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
