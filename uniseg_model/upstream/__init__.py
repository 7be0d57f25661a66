"""Import of the data sets on which UniSeg was trained, from a person's own downloads.

``import_upstream("liver", downloads, root)`` makes ROOT/liver in the layout of :mod:`uniseg_model.dataset`, with
``splits_final.json`` in nnU-Net's format. ``sources.json`` there says from which file each case came; it is also what
a second run goes by, which only adds what is missing. Downloads are read and never changed.

The two sets without a built-in task, ``btcv`` and ``vs``, bring their task as ``task.toml``.

Of the authors' conversion one step is left out on purpose: they squashed VerSe scans of more than 500 slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from uniseg_model.dataset import check_description, write_description
from uniseg_model.errors import FileFormatError, ImageError, TaskError
from uniseg_model.files import whole_file
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.tasks import Task, builtin_tasks, read_tasks
from uniseg_model.upstream.convert import import_case
from uniseg_model.upstream.find import Case, find_cases
from uniseg_model.upstream.layouts import UPSTREAM, DataSet
from uniseg_model.upstream.ledger import Ledger
from uniseg_model.upstream.splits import Fold, kept, read_splits, split_by

__all__ = ["UPSTREAM", "ImportSummary", "import_upstream", "task_of"]


@dataclass(frozen=True)
class ImportSummary:
    """What an import came to; names of cases.

    already: imported by an earlier run. left_out: without any label, in a set of cases with lesions.
    failed: why, by case. n_train, n_val: cases of the first fold. notes: what a person should know.
    """

    key: str
    folder: Path
    imported: tuple[str, ...]
    already: tuple[str, ...]
    left_out: tuple[str, ...]
    failed: Mapping[str, str]
    n_train: int
    n_val: int
    notes: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every case that was found is in the data set, or left out by rule."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "folder": str(self.folder), "failed": dict(self.failed)}


def import_upstream(
    name: str, source: Path, root: Path, *, splits: Path | None = None, progress: ProgressHook = ignore_progress
) -> ImportSummary:
    """Bring the data set ``name`` (a key of ``UPSTREAM``) from a download into ROOT/NAME.

    splits: the authors' split file or another one; without it the set's own rule splits. A case that fails is told in
    the summary and the others go on.

    Raises:
        TaskError: no such set. FileFormatError: no case was found, one twice, or a split file that is none.
        OutputError: the folder cannot be written, or holds something else. OptionError: a split file was named before.
        Cancelled: the hook wanted it so; the cases so far stay.
    """
    if name not in UPSTREAM:
        raise TaskError(f"there is no upstream data set {name!r}", hint=f"Known sets: {', '.join(UPSTREAM)}.")
    data_set, task, folder = UPSTREAM[name], task_of(name), root / name
    cases = find_cases(data_set, source, folder)
    folds = None if splits is None else _folds_of(splits, cases)
    check_description(folder, task)
    ledger = Ledger(folder, splits.name if splits else "")
    already = tuple(case.name for case in cases if ledger.holds(case))
    try:
        imported, left_out, failed = _import_all(cases, data_set, task, ledger, progress)
    finally:  # whoever interrupts keeps a data set of the cases so far
        if ledger.names:
            _describe(folder, task)
    if folds is None:
        folds = split_by(data_set.split, {*ledger.names, *(case.name for case in cases)} - set(left_out))
    folds = kept(folds, ledger.names)
    notes = _notes(data_set, len(ledger.names), folds[0], splits)
    if ledger.names and not ledger.write_folds(folds):
        notes.append("splits_final.json was made or changed by somebody else and is kept as it is")
    n_train, n_val = len(folds[0]["train"]), len(folds[0]["val"])
    return ImportSummary(name, folder, tuple(imported), already, tuple(left_out), failed, n_train, n_val, tuple(notes))


def task_of(key: str) -> Task:
    """The task of a data set: a built-in one, or the set's own."""
    builtin = builtin_tasks()
    if key in builtin:
        return builtin[key]
    with resources.as_file(resources.files("uniseg_model.upstream").joinpath(f"{key}.toml")) as path:
        [task] = read_tasks(path)
    return task


def _import_all(
    cases: Sequence[Case], data_set: DataSet, task: Task, ledger: Ledger, progress: ProgressHook
) -> tuple[list[str], list[str], dict[str, str]]:
    """Names of the cases imported and left out, and why others failed."""
    imported: list[str] = []
    left_out: list[str] = []
    failed: dict[str, str] = {}
    for number, case in enumerate(cases):
        progress(Progress("import", number, len(cases)))
        if ledger.holds(case):
            continue
        try:
            written = import_case(case, data_set, len(task.modalities), ledger.folder)
        except ImageError as exc:
            failed[case.name] = str(exc)
            continue
        if written:
            ledger.add(case)
        (imported if written else left_out).append(case.name)
    return imported, left_out, failed


def _folds_of(path: Path, cases: Sequence[Case]) -> list[Fold]:
    """The folds of a split file, if they speak of these cases at all."""
    folds = read_splits(path)
    named = {name for fold in folds for part in fold.values() for name in part}
    if not named & {case.name for case in cases}:
        example = f" but {min(named)}" if named else ""
        raise FileFormatError(
            f"{path.name} does not name {cases[0].name}{example}, nor any other of the {len(cases)} cases",
            hint="Is it the split file of another data set?",
        )
    return folds


def _describe(folder: Path, task: Task) -> None:
    """Write ``dataset.json`` and, for a task that is not built in, ``task.toml``."""
    write_description(folder, task)
    if task.key not in builtin_tasks():
        text = resources.files("uniseg_model.upstream").joinpath(f"{task.key}.toml").read_text(encoding="utf-8")
        with whole_file(folder / "task.toml") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _notes(data_set: DataSet, n_cases: int, fold: Fold, splits: Path | None) -> list[str]:
    notes = []
    n_train, n_val = len(fold["train"]), len(fold["val"])
    if n_cases != data_set.n_cases:
        notes.append(f"{n_cases} cases, the authors of UniSeg had {data_set.n_cases} ({data_set.source})")
    if splits:
        notes.append(f"split as in {splits.name}")
        if left := n_cases - n_train - n_val:
            notes.append(f"{left} of {n_cases} cases are in no part of {splits.name} and serve for nothing")
    else:
        same = data_set.split.is_authors and n_cases == data_set.n_cases
        notes.append(f"split by rule: {data_set.split.text}; {'as' if same else 'not necessarily as'} the authors split")
    if not n_train or not n_val:
        notes.append(f"one part of the split is empty: {n_train} training and {n_val} validation cases")
    if data_set.labels_on_image:
        notes.append("labels count as lying on their images where the shapes agree, whatever their own headers say")
    return notes
