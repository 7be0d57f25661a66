"""The whole data set: layout, each case, all of them together, the split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uniseg_model.dataset import TASK_FILE
from uniseg_model.doctor.checks import Seen, check_case, check_together, groups_of_same
from uniseg_model.doctor.findings import Expected, Finding, Report, ordered
from uniseg_model.doctor.layout import find_pairs
from uniseg_model.errors import FileFormatError, TaskError
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.tasks import Task, read_tasks

_SPLITS = "splits_final.json"


def examine(folder: Path, task: Task | None = None, progress: ProgressHook = ignore_progress) -> Report:
    """What is wrong with a data set. Nothing in it is changed.

    task: what it is for; None for that of its ``task.toml`` or, without one, what its ``dataset.json`` says.

    Raises:
        FileFormatError: there is no such folder, or no case in it. Cancelled: the hook wanted it so.
    """
    layout, pairs = find_pairs(folder)
    expected, found = (Expected.of(task), []) if task else _expected(folder)
    seen: list[Seen] = []
    for done, pair in enumerate(pairs):
        progress(Progress("examine", done, len(pairs)))
        case, wrong = check_case(pair, expected)
        seen += [case] if case else []
        found += wrong
    found += check_together(seen, expected)
    found += check_splits(folder / _SPLITS, [pair.name for pair in pairs], seen)
    return Report(folder, layout, expected, tuple(pairs), ordered(found))


def _expected(folder: Path) -> tuple[Expected, list[Finding]]:
    """What the folder itself says, and what is wrong with how it says it."""
    if (folder / TASK_FILE).exists():
        try:
            tasks = read_tasks(folder / TASK_FILE)
        except TaskError as exc:
            return Expected(), [Finding("error", "", "task", exc.message, exc.hint or f"Mend {TASK_FILE}.")]
        if len(tasks) == 1:
            return Expected.of(tasks[0]), []
        return Expected(), [
            Finding("error", "", "task", f"{TASK_FILE} describes {len(tasks)} tasks, a data set is for one", "Split the file.")
        ]
    path = folder / "dataset.json"
    if not path.exists():
        return Expected(), [Finding("note", "", "description", f"there is neither {TASK_FILE} nor dataset.json: channels and values are not checked",
                                    "Name the task.")]  # fmt: skip
    try:
        return _described(json.loads(path.read_text(encoding="utf-8"))), []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        return Expected(), [
            Finding("error", "", "description", f"dataset.json cannot be understood: {exc!r}", "Mend it, or take it away.")
        ]


def _described(facts: Mapping[str, Any]) -> Expected:
    """``dataset.json`` of both versions: version 1 says ``modality`` and value to name, version 2 ``channel_names`` and name to value."""
    channels = facts.get("channel_names", facts.get("modality", {}))
    named = facts["labels"]
    by_value = (
        {int(name): str(value) for name, value in named.items()}
        if _is_first(named)
        else {int(v): str(n) for n, v in named.items()}
    )
    values = tuple(by_value.get(value, f"value {value}") for value in range(1, max(by_value, default=0) + 1))
    modalities = tuple(str(channels[number]) for number in sorted(channels, key=int))
    return Expected(modalities or None, values)


def _is_first(labels: Mapping[str, Any]) -> bool:
    return all(name.isdigit() for name in labels)


def check_splits(path: Path, names: Sequence[str], seen: Sequence[Seen]) -> Iterator[Finding]:
    """Whether what is learned from is also used to judge."""
    from uniseg_model.training.cases import read_splits

    if not path.exists():
        return
    try:
        folds = read_splits(path)
    except FileFormatError as exc:
        yield Finding("error", "", "split", exc.message, exc.hint)
        return
    for number, (train, validation) in enumerate(folds):
        if both := sorted(train & validation):
            yield Finding(
                "error",
                both[0],
                "leakage",
                f"fold {number} has it to learn from and to validate on",
                "Take it out of one side.",
            )
        if gone := sorted((train | validation) - set(names)):
            yield Finding(
                "error",
                gone[0],
                "split",
                f"fold {number} names it, and there is no such case",
                "Mend or delete splits_final.json.",
            )
        for group in groups_of_same(seen):
            own = {case.name for case in group}
            if own & train and own & validation:
                yield Finding("error", min(own & validation), "leakage", f"fold {number} validates on the image of {min(own & train)}, which it learns from",
                              "Put both on one side, or leave one out.")  # fmt: skip
