"""What every front end says about data sets and trainings: sentences, and rows of tables. Knows no torch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniseg_app import wording
from uniseg_app.training_runs import Comparison, RunInfo
from uniseg_model.doctor.findings import Report

SERVER_WIDE = "Runs belong to this machine, not to a page: everybody who may open it sees and steers them."
CORRECTIONS = "Segment a scan, correct the labels in an editor of yours, and drop them here: they become cases to learn from."

DEPTH_TITLES = {"pack": "Pack: a small add-on", "full": "Full: all weights learn", "backbone": "Backbone: this task only"}
DEPTH_ABOUT = {
    "pack": "The weights are frozen, so the old tasks answer exactly as before. Begin here.",
    "full": "Everything learns, the old tasks too: they may get worse. The file it starts from is kept.",
    "backbone": "The prompts are dropped; the result knows the new task only. The file it starts from is kept.",
}
SEVERITIES = {"error": "Error", "warning": "Warning", "note": "Note"}
STATES = {
    "starting": "Starting", "waiting": "Waiting", "running": "Running", "paused": "Paused", "stopped": "Stopped, best kept",
    "done": "Done", "failed": "Failed", "interrupted": "Interrupted",
}  # fmt: skip
_COUNTED = {"prepare cases": "case", "train": "step"}
_ASKED = {
    "data": "Data set", "depth": "Depth", "minutes": "Minutes", "iterations": "Steps", "weights": "Started from",
    "pack": "Went on from", "replay": "Old tasks replayed", "fold": "Fold", "folds": "Folds", "changes": "Settings", "task": "Task",
    "device": "Device",
}  # fmt: skip
_PATHS = ("data", "weights", "pack", "replay")  # of which the end tells enough
_MOST_POINTS = 500  # of a curve


# The doctor --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FindingRow:
    """One thing that is wrong. fix: what mending would do; empty where a person must."""

    severity: str
    case: str
    what: str
    how: str
    fix: str


def finding_rows(report: Report) -> list[FindingRow]:
    """The doctor's table, the worst first."""
    return [
        FindingRow(SEVERITIES[found.severity], found.case or "All", _sentence(found.what), found.how, found.fix)
        for found in report.findings
    ]


def mending(report: Report) -> list[str]:
    """What a mended copy would change, a line a case; empty where there is nothing to mend."""
    lines = [f"{found.case or 'All cases'}: {found.fix}" for found in report.fixable]
    left_out = [found.case for found in report.findings if found.rule in ("missing labels", "missing image", "unreadable")]
    return [*lines, *(f"{case}: left out" for case in left_out)]


# One run -----------------------------------------------------------------------------------------------------------------


def state_sentence(info: RunInfo, titles: Mapping[str, str] | None = None) -> str:
    """How a run stands, in words. titles: of all runs by id, to say for whom it waits."""
    if info.state == "running":
        return running(info)
    message = info.message
    for id, title in (titles or {}).items():
        message = message.replace(id, f"“{title}”")
    words = state_name(info)
    return f"{words}: {message}{'' if message.endswith('.') else '.'}" if message else f"{words}."


def state_name(info: RunInfo) -> str:
    """In a word or few."""
    return "Stopped" if info.state == "stopped" and info.result is None else STATES[info.state]


def running(info: RunInfo) -> str:
    """What a run is at, and how long it will still take."""
    words = wording.stage(info.stage) or "Starting"
    if info.stage in _COUNTED and info.total:
        words += f": {_COUNTED[info.stage]} {min(int(info.done) + 1, info.total)} of {info.total}"
    return f"{words}, {left}." if (left := eta(info)) else f"{words}."


def eta(info: RunInfo) -> str:
    """How long a run will still take; empty where nothing is known."""
    return "" if info.left_s is None or info.state != "running" else f"about {wording.duration(info.left_s)} left"


def share(info: RunInfo) -> float | None:
    """How much of its stage a run has done, in [0, 1]; None where nothing is known."""
    return min(1.0, info.done / info.total) if info.state == "running" and info.total else None


def price_rows(price: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a training takes, as terms and values; of ``Price.to_dict``."""
    steps = f"{price['steps']} steps of about {price['seconds_a_step']:.2g} s"
    unused = price.get("unused", 0)
    return [
        ("Time", f"about {wording.duration(60 * price['minutes'])}: {steps}"),
        ("Memory", f"{price['memory_gb']:.1f} GB"),
        ("Disk", _gb(price["disk_gb"])),
        ("Risk", _sentence(price["risk"])),
        *([("Not used", f"{unused} cases that the stored split does not name.")] if unused else []),
    ]


def price_tag(price: Mapping[str, Any]) -> str:
    """The same in a line."""
    return f"about {wording.duration(60 * price['minutes'])}, {price['memory_gb']:.1f} GB of memory, {_gb(price['disk_gb'])} on the disk"


@dataclass(frozen=True)
class Curve:
    """Points to draw, (step, value) each. loss: of the training. dice: mean of the validation; structures: each by itself."""

    loss: tuple[tuple[int, float], ...] = ()
    dice: tuple[tuple[int, float], ...] = ()
    structures: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)


def curve_points(lines: Iterable[Mapping[str, Any]], most: int = _MOST_POINTS) -> Curve:
    """The points of a run's curve; of long ones every so manieth, and the last.

    The loss of several tasks is their mean. What is not a number is left out.
    """
    lines = list(lines)
    losses = [(line["step"], [v for v in line["loss"].values() if v is not None]) for line in lines if "loss" in line]
    loss = [(step, sum(values) / len(values)) for step, values in losses if values]
    scored = [line for line in lines if line.get("mean_dice") is not None]
    structures: dict[str, list[tuple[int, float]]] = {}
    for line in scored:
        for task, found in line["dice"].items():
            for name, value in found.items():
                points = structures.setdefault(name if len(line["dice"]) == 1 else f"{task}: {name}", [])
                points += [(line["step"], value)] if value is not None else []
    dice = [(line["step"], line["mean_dice"]) for line in scored]
    return Curve(
        _thinned(loss, most), _thinned(dice, most), {name: _thinned(points, most) for name, points in structures.items()}
    )


def _thinned(points: Sequence[tuple[int, float]], most: int) -> tuple[tuple[int, float], ...]:
    every = -(-len(points) // most) or 1
    kept = list(points[::every])
    return tuple(kept if not points or kept[-1] == points[-1] else [*kept, points[-1]])


# All runs ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HistoryRow:
    """A run in a line. dice: before and after, of its validation; empty where it has no result."""

    id: str
    title: str
    begun: str
    depth: str
    state: str
    dice: str
    note: str


def history_rows(runs: Iterable[RunInfo]) -> list[HistoryRow]:
    """The runs, in their order."""
    return [
        HistoryRow(info.id, info.title, begun(info), info.depth, state_name(info), dice_change(info), info.note)
        for info in runs
    ]


def begun(info: RunInfo) -> str:
    """When a run was started, in local time."""
    return time.strftime("%d %b %Y, %H:%M", time.localtime(info.created_s))


def dice_change(info: RunInfo) -> str:
    """Dice of the validation before and after; empty where there is no result."""
    verdict = (info.result or {}).get("verdict", {})
    before, after = verdict.get("start_dice"), verdict.get("best_dice")
    return "" if before is None or after is None else f"{before:.2f} → {after:.2f}"


def before_and_after(info: RunInfo) -> list[tuple[str, str, str]]:
    """Dice of each task before and after: the new one, then the old ones whose cases were replayed; nothing where there are none."""
    verdict = (info.result or {}).get("verdict", {})
    old = {key: (dice["before"], dice["after"]) for key, dice in verdict.get("old_tasks", {}).items()}
    if not old:
        return []
    pairs = {verdict["task"]: (verdict["start_dice"], verdict["best_dice"]), **old}
    return [(key.replace("_", " "), *("" if dice is None else f"{dice:.2f}" for dice in pair)) for key, pair in pairs.items()]


def run_title(info: RunInfo) -> str:
    """A run in a list to choose from."""
    return f"{info.title}, {begun(info)} ({state_name(info).lower()})"


def comparison_rows(found: Comparison) -> list[tuple[str, str, str]]:
    """Step, and the validation Dice of the first and the second run."""
    return [(str(step), *("" if value is None else f"{value:.3f}" for value in pair)) for step, *pair in found.rows]  # type: ignore[misc]


def difference_rows(found: Comparison) -> list[tuple[str, str, str]]:
    """What was asked for differently: what, and the first and the second run's value."""
    return [
        (words, _value(name, a), _value(name, b))
        for name, words in _ASKED.items()
        if name in found.differs
        for a, b in [found.differs[name]]
    ]


def _value(name: str, value: Any) -> str:
    return "/".join(Path(value).parts[-2:]) if value and name in _PATHS else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {part}" for name, part in value.items()) or "as usual"
    return "as usual" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _gb(gigabytes: float) -> str:
    return f"{gigabytes:.2g} GB" if gigabytes >= 0.1 else f"{1000 * gigabytes:.2g} MB"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
