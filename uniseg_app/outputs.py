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
from uniseg_model.io.dicom_seg import DICOM_SUFFIX
from uniseg_model.segmentation import LABEL_SUFFIXES, files_of, is_unedited

FORMATS = {"nifti": NIFTI_SUFFIXES, "dicom-seg": (DICOM_SUFFIX,)}  # and how their names end; in a folder as the last says

_IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".mha", ".mhd", ".nrrd", ".img", ".hdr", ".dcm", ".mgz", ".png", ".tif", ".tiff")


def is_label_file(path: Path) -> bool:
    """Whether the name asks for one label file rather than a folder."""
    return path.name.endswith(LABEL_SUFFIXES)


def check_output(out: Path, inputs: Sequence[Path], format: str = "nifti") -> None:
    """Refuse, before any work, a folder or label file that cannot be written or is one of the inputs.

    format: one of ``FORMATS``.

    Raises:
        OutputError: it is an input, of another image format, a file where a folder is needed, or not writable.
    """
    endings = FORMATS[format]
    if out.name.endswith(endings):
        check_file(out, inputs)
    elif out.name.lower().endswith(_IMAGE_SUFFIXES):
        other = next((f", or add --format {name}" for name, ends in FORMATS.items() if out.name.endswith(ends)), "")
        raise OutputError(
            f"labels are written as {' or '.join(endings)}, not as {out.name}",
            hint=f"Name a folder, or a file that ends in {endings[-1]}{other}.",
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

    files: label files, whose JSON neighbours count too, and JSON files. An existing DICOM-SEG is never replaced without
        ``overwrite``, because nothing tells whether it was edited.

    Raises:
        OutputError: one is an input, was edited since this program wrote it, or was not written by this program.
    """
    for path in [part for file in files for part in (files_of(file) if is_label_file(file) else [file])]:
        if path.is_dir():
            raise OutputError(f"the output {path} is a folder", hint="Move it away or choose another output.")
        if any(_same(path, given) for given in inputs):
            raise OutputError(f"the output {path} is the input", hint="Choose another folder or name.")
        if path.exists() and not overwrite and not (is_unedited(path) if is_label_file(path) else is_sealed(path)):
            may_be = "exists, and may have been" if path.name.endswith(DICOM_SUFFIX) else "was"
            raise OutputError(
                f"{path} {may_be} edited, or was not written by this program",
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


def free_name(folder: Path, name: str, joint: str = "-") -> Path:
    """A path in a folder that is not there yet: the name, or the name with a number behind a joint."""
    number = 1
    while (path := folder / (name if number == 1 else f"{name}{joint}{number}")).exists():
        number += 1
    return path
