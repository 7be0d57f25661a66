"""Which cases a data set holds, and which of them are kept for validation. Reads no voxel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uniseg_model.dataset import label_files
from uniseg_model.errors import FileFormatError, ModalityError, OutputError
from uniseg_model.files import write_json
from uniseg_model.tasks import Task

SPLITS = "splits_final.json"


@dataclass(frozen=True)
class Case:
    """One labelled scan of a data set: a file per channel, and the answer."""

    name: str
    images: tuple[Path, ...]
    labels: Path


@dataclass(frozen=True)
class Split:
    """The cases to learn from, those never learned from, and those that a stored split does not name."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    unused: tuple[Case, ...] = ()


def find_cases(folder: Path, task: Task) -> list[Case]:
    """The cases of a data set in nnU-Net's layout, by name.

    Raises:
        FileFormatError: there is no such folder, or no case in it.
        ModalityError: a case has another number of channel files than the task has channels.
    """
    answers = label_files(folder)
    if not answers:
        raise FileFormatError(f"{folder} holds no case for {task.title!r}: there is no labelsTr/CASE.nii.gz",
                              hint="One data set is a folder with imagesTr and labelsTr.")  # fmt: skip
    return [_case(folder / "imagesTr", answer, task) for answer in answers]


def _case(images: Path, answer: Path, task: Task) -> Case:
    name = answer.name.removesuffix(".nii.gz")
    wanted = [images / f"{name}_{channel:04d}.nii.gz" for channel in range(len(task.modalities))]
    surplus = images / f"{name}_{len(wanted):04d}.nii.gz"
    if missing := next((path for path in wanted if not path.exists()), None):
        raise ModalityError(f"case {name!r} has no {missing.name} in {images}",
                            hint=f"{task.title} needs {len(wanted)} channels: {', '.join(task.modalities)}.")  # fmt: skip
    if surplus.exists():
        raise ModalityError(f"case {name!r} has {surplus.name}, but {task.title!r} has {len(wanted)} channels")
    return Case(name, tuple(wanted), answer)


def split_cases(folder: Path, cases: Sequence[Case], most: int, *, fold: int = 0, folds: int | None = None) -> Split:
    """The split that lies with the data or, where there is none, a new one, which is then stored there.

    A folder that cannot be written gets the same new one each time, as it follows from the names alone.

    most: cases for validation, at most; a fifth where there are few, at least one. They are chosen by a hash of their
        names, so that a scan shared by several tasks is on the same side in all of them.
    fold: which of the stored splits, counted from 0. folds: how many a new one gets, in each of which another part of the
        cases validates, all of them once; None for the one above.

    Raises:
        FileFormatError: the stored split is damaged, names a case that is not there, leaves a side empty, or has not so many
            folds; or there are too few cases.
    """
    path = folder / SPLITS
    if path.exists():
        return _stored(path, cases, fold, folds)
    needed = max(2, folds or 2)
    if len(cases) < needed:
        raise FileFormatError(f"{folder} holds {len(cases)} {'case' if len(cases) == 1 else 'cases'}: at least {needed} are needed, "
                              f"{'one of them for validation' if folds is None else 'one for each fold'}")  # fmt: skip
    splits = _new_splits(cases, most, folds)
    if not 0 <= fold < len(splits):
        raise FileFormatError(f"there is no fold {fold} among {len(splits)}, they count from 0")
    with suppress(OutputError):
        write_json(path, [{"train": [c.name for c in s.train], "val": [c.name for c in s.validation]} for s in splits])
    return splits[fold]


def _new_splits(cases: Sequence[Case], most: int, folds: int | None) -> list[Split]:
    ranked = [case.name for case in sorted(cases, key=lambda case: hashlib.sha256(case.name.encode()).digest())]
    if folds is None:
        return [_part(cases, set(ranked[: min(most, max(1, len(cases) // 5))]))]
    return [_part(cases, set(ranked[i::folds])) for i in range(folds)]


def _part(cases: Sequence[Case], validation: set[str]) -> Split:
    train = tuple(case for case in cases if case.name not in validation)
    return Split(train, tuple(case for case in cases if case.name in validation))


def read_splits(path: Path) -> list[tuple[set[str], set[str]]]:
    """The names of each fold in a file: to learn from, and to validate on.

    Raises:
        FileFormatError: it is not a split.
    """
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        if not folds:
            raise ValueError("it is empty")
        return [(set(fold["train"]), set(fold["val"])) for fold in folds]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as exc:
        raise FileFormatError(f"{path} is not a split: {exc}", hint='It is a list of objects with "train" and "val".') from exc


def _stored(path: Path, cases: Sequence[Case], fold: int, folds: int | None) -> Split:
    stored = read_splits(path)
    if not 0 <= fold < len(stored) or folds not in (None, len(stored)):
        raise FileFormatError(f"{path} holds {len(stored)} folds, asked for was fold {fold} of {folds or len(stored)}",
                              hint="Folds count from 0; delete the file for a new split.")  # fmt: skip
    train, validation = stored[fold]
    if both := sorted(train & validation):
        raise FileFormatError(f"{path} has {both[0]!r} on both sides: nothing learned from may be used to judge")
    names = {case.name for case in cases}
    if missing := sorted((train | validation) - names):
        raise FileFormatError(f"{path} names {missing[0]!r}, which is not in labelsTr",
                              hint="Mend the split, or delete it for a new one.")  # fmt: skip
    parts = (train, validation, names - train - validation)
    split = Split(*(tuple(case for case in cases if case.name in part) for part in parts))
    if not (split.train and split.validation):
        raise FileFormatError(f"{path} leaves {len(split.train)} cases to train and {len(split.validation)} to validate")
    return split
