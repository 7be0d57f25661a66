"""Where answers go: checked before the work, written all together after it, never half."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uniseg_model.errors import OutputError
from uniseg_model.files import WRITE_HINT, is_sealed
from uniseg_model.io import NIFTI_SUFFIXES
from uniseg_model.segmentation import is_unedited, sidecar

_IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".mha", ".mhd", ".nrrd", ".img", ".hdr", ".dcm", ".mgz", ".png", ".tif", ".tiff")


def is_label_file(path: Path) -> bool:
    """Whether the name asks for one NIfTI file rather than a folder."""
    return path.name.endswith(NIFTI_SUFFIXES)


def check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse, before any work, a folder or label file that cannot be written or is one of the inputs.

    Raises:
        OutputError: it is an input, of another image format, a file where a folder is needed, or not writable.
    """
    if is_label_file(out):
        check_file(out, inputs)
    elif out.name.lower().endswith(_IMAGE_SUFFIXES):
        raise OutputError(
            f"labels are written as .nii or .nii.gz, not as {out.name}", hint="Name a folder, or a file that ends in .nii.gz."
        )
    elif any(_same(out, given) for given in inputs):
        raise OutputError(f"the output {out} is the input", hint="Choose another folder.")
    else:
        check_folder(out)


def check_file(path: Path, inputs: Sequence[Path], what: str = "output") -> None:
    """Refuse a file that is one of the inputs, a folder, or in a place that cannot be written. ``what`` it is, is said.

    Raises:
        OutputError: it is so.
    """
    if any(_same(path, given) for given in inputs):
        raise OutputError(f"the {what} {path} is the input", hint="Choose another name.")
    if path.is_dir():
        raise OutputError(f"the {what} {path} is a folder", hint="Name a file inside it.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is a file or in which nothing can be written.

    Raises:
        OutputError: it is so.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if existing == folder and not folder.is_dir():
        raise OutputError(f"the output {folder} is a file", hint="Name a folder, or a file that ends in .nii.gz.")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as exc:
        raise OutputError(
            f"nothing can be written in {existing}: making a file there fails with {exc.strerror!r}", hint=WRITE_HINT
        ) from exc


def check_replaceable(files: Sequence[Path], inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to replace what holds somebody's work; with ``overwrite`` only the inputs are safe.

    files: label files, whose JSON neighbours count too, and JSON files.

    Raises:
        OutputError: one is an input, was edited since this program wrote it, or was not written by this program.
    """
    beside = [sidecar(path) for path in files if is_label_file(path)]
    for path in [*files, *beside]:
        if path.is_dir():
            raise OutputError(f"the output {path} is a folder", hint="Move it away or choose another output.")
        if any(_same(path, given) for given in inputs):
            raise OutputError(f"the output {path} is the input", hint="Choose another folder or name.")
        if path.exists() and not overwrite and not (is_unedited(path) if is_label_file(path) else is_sealed(path)):
            raise OutputError(
                f"{path} was edited, or was not written by this program",
                hint="Move it away, choose another output, or add --overwrite.",
            )


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder to write into; when the block ends well its files move into ``folder``, otherwise they are gone.

    Raises:
        OutputError: a folder cannot be made or a file cannot be moved.
    """
    missing = [parent for parent in (folder, *folder.absolute().parents) if not parent.exists()]
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".uniseg-", dir=folder))
        yield staging
        for file in sorted(staging.iterdir()):
            os.replace(file, folder / file.name)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written: {exc}", hint=WRITE_HINT) from exc
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for made in missing:
            if made.is_dir() and not any(made.iterdir()):
                made.rmdir()
