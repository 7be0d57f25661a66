"""How the command line speaks: progress on stderr, tables and JSON on stdout, one line for an error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from uniseg_model.errors import UniSegError
from uniseg_model.progress import Pace, Progress, ProgressHook, ignore_progress

_LINE_EVERY_S = 5.0
_STAGES = {
    "read": "Reading the image",
    "load weights": "Loading the weights",
    "prepare": "Preparing the image",
    "predict": "Segmenting window",
    "prompts": "Encoding window",
    "gradients": "Following gradients in window",
    "restore": "Bringing labels back to the image's grid",
    "phantom": "Making phantom",
    "evaluate": "Comparing case",
    "import": "Importing case",
    "prepare cases": "Preparing case",
    "train": "Training step",
    "certify": "Comparing task",
    "examine": "Looking at case",
    "mend": "Writing case",
    "look": "Looking for answers that are there",
    "batch": "Segmenting case",
}


def say(text: str = "") -> None:
    """A line for a person, on stdout."""
    print(text)


def warn(text: str) -> None:
    """A line that must not get lost in a pipe, on stderr."""
    print(text, file=sys.stderr)


def say_json(facts: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; columns whose name ends in a unit are set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column.endswith(("ml", "mm", "Dice", "%")) else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def tell_error(error: UniSegError) -> None:
    """What is wrong and what to do, on one line of stderr."""
    warn(f"uniseg: error: {' '.join(str(error).split())}")


@contextmanager
def progress_shown(*, quiet: bool) -> Iterator[ProgressHook]:
    """A hook that draws a bar on a terminal and writes plain lines into a log."""
    if quiet:
        yield ignore_progress
    elif sys.stderr.isatty():
        with _bar() as hook:
            yield hook
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[ProgressHook]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(progress: Progress) -> None:
            bars.update(task, description=_describe(progress), completed=progress.done, total=progress.total or None)

        yield show


def _lines() -> ProgressHook:
    """One line at each new stage, and every few seconds within a stage, with the seconds left."""
    last_stage, last_s, pace = "", 0.0, Pace()

    def show(progress: Progress) -> None:
        nonlocal last_stage, last_s
        now, left_s = time.monotonic(), pace.left_s(progress)
        if progress.stage == last_stage and now - last_s < _LINE_EVERY_S:
            return
        last_stage, last_s = progress.stage, now
        warn(_describe(progress) + ("" if left_s is None else f", about {left_s:.0f} s left"))

    return show


def _describe(progress: Progress) -> str:
    text = _STAGES.get(progress.stage, progress.stage)
    return f"{text} {min(int(progress.done) + 1, progress.total)} of {progress.total}" if progress.total > 1 else text
