"""Safe fixes, into a copy in nnU-Net's layout; the data set itself is never written to.

Safe is what loses nothing: labels that are whole numbers up to noise are rounded, labels that lie within half a voxel of their
image on the same number of voxels get its geometry, a case that is there twice with the same labels is left out.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg_model.dataset import TASK_FILE
from uniseg_model.doctor.findings import Report
from uniseg_model.doctor.layout import Pair
from uniseg_model.errors import OutputError
from uniseg_model.files import TEMPORARY, WRITE_HINT, write_json
from uniseg_model.io import read_values, read_volume, write_labels
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.tasks import write_task

_UNUSABLE = ("missing labels", "missing image", "unreadable")


@dataclass(frozen=True)
class Mended:
    """What was done. changed: by case, in words. left_out: cases that are not in the copy."""

    folder: Path
    changed: dict[str, list[str]]
    left_out: tuple[str, ...]


def mend(report: Report, out: Path, progress: ProgressHook = ignore_progress) -> Mended:
    """Write the data set again with all that can be mended safely; whole or not at all.

    Cases without an image or labels, or that cannot be read, are left out; other errors that nobody can mend safely stay.

    Raises:
        OutputError: ``out`` is there already, lies in the data set, or cannot be written. Cancelled: the hook wanted it so.
    """
    if out.exists():
        raise OutputError(f"{out} exists", hint="Name a new folder: the fixed copy is written there.")
    if report.folder.resolve() in out.resolve().parents:
        raise OutputError(f"{out} lies in the data set {report.folder}", hint="Choose a folder outside of it.")
    by_case = {pair.name: [f for f in report.findings if f.case == pair.name] for pair in report.pairs}
    gone = [
        name for name, found in by_case.items() if any(f.rule in _UNUSABLE or (f.rule == "duplicate" and f.fix) for f in found)
    ]
    fixes = {name: [f.fix for f in found if f.fix] for name, found in by_case.items() if name not in gone}
    staging = out.with_name(f".{secrets.token_hex(4)}{TEMPORARY}{out.name}")
    try:
        for part in ("imagesTr", "labelsTr"):
            (staging / part).mkdir(parents=True)
        kept = [pair for pair in report.pairs if pair.name not in gone]
        for done, pair in enumerate(kept):
            progress(Progress("mend", done, len(kept)))
            _write_case(pair, staging, fixes[pair.name])
        _write_descriptions(report, staging, gone)
        os.replace(staging, out)
    except OSError as exc:
        raise OutputError(f"{out} cannot be written: {exc}", hint=WRITE_HINT) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Mended(out, {name: found for name, found in fixes.items() if found}, tuple(gone))


def _write_case(pair: Pair, folder: Path, fixes: Sequence[str]) -> None:
    for number, path in enumerate(pair.images):
        _copy(path, folder / "imagesTr" / f"{pair.name}_{number:04d}.nii.gz")
    assert pair.labels is not None, "cases without labels are left out"
    target = folder / "labelsTr" / f"{pair.name}.nii.gz"
    if not fixes:
        _copy(pair.labels, target)
        return
    values = np.rint(read_values(pair.labels)[0])
    kind = np.uint8 if 0 <= values.min() and values.max() < 256 else np.int32
    write_labels(target, values.astype(kind), read_volume(pair.images))


def _copy(source: Path, target: Path) -> None:
    """The same bytes; zipped where they are not."""
    if source.name.lower().endswith(".gz"):
        shutil.copyfile(source, target)
        return
    with source.open("rb") as plain, gzip.open(target, "wb") as zipped:
        shutil.copyfileobj(plain, zipped)


def _write_descriptions(report: Report, folder: Path, gone: Sequence[str]) -> None:
    if (report.folder / "dataset.json").exists():
        shutil.copyfile(report.folder / "dataset.json", folder / "dataset.json")
    if report.expected.task:
        write_task(folder / TASK_FILE, report.expected.task)
    if any(finding.rule == "split" for finding in report.findings):
        return  # a split that cannot be trusted is not carried on
    splits = report.folder / "splits_final.json"
    if splits.exists():
        folds = json.loads(splits.read_text(encoding="utf-8"))
        kept = [{side: [name for name in names if name not in gone] for side, names in fold.items()} for fold in folds]
        write_json(folder / "splits_final.json", kept)
