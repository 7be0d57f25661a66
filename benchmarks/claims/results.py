"""Results as numbers: from the JSON of each run to means over structures, tasks and seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg_model.errors import FileFormatError

TITLES = {
    "uniseg": "UniSeg: dynamic prompt, early",
    "uniseg_loud": "the same, prompts ten times as large at the start",
    "dynamic_head": "dynamic head (DoDNet's idea), late",
    "late_prompt": "fixed prompt, late",
    "plain": "eleven single-task networks",
}
BySeed = dict[int, dict[str, float]]  # seed to task key to Dice


@dataclass(frozen=True)
class Result:
    """What one run came to.

    dice: task key to the mean over structures of the mean over held-out cases.
    """

    part: str
    network: str
    start: str
    n_cases: int
    seed: int
    steps: int
    n_parameters: int
    device: str
    dice: Mapping[str, float]
    n_judged: int
    seconds: float

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Result:
        """A result from its JSON."""
        scores = facts["scores"]
        dice = {key: statistics.mean(map(statistics.mean, structures.values())) for key, structures in scores.items()}
        n_judged = max(len(cases) for structures in scores.values() for cases in structures.values())
        same = {
            name: facts[name] for name in ("part", "network", "start", "n_cases", "seed", "steps", "n_parameters", "device")
        }
        return cls(**same, dice=dice, n_judged=n_judged, seconds=facts["train_seconds"] + facts["judge_seconds"])


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) over seeds; the latter is None for one seed."""

    mean: float
    deviation: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        numbers = list(values)
        return cls(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.deviation is None else f"{self.mean:.3f} ± {self.deviation:.3f}"


def read_results(folder: Path) -> list[Result]:
    """The results in a folder, by name.

    Raises:
        FileFormatError: a file that is no result.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(Result.of(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, statistics.StatisticsError) as exc:
            raise FileFormatError(f"{path} is not the result of a run: {exc}", hint="Delete it; its run starts again.") from exc
    return results


def multitask(results: Sequence[Result]) -> dict[str, BySeed]:
    """For each kind of network the Dice of each task; seeds with tasks still missing are left out."""
    found: dict[str, BySeed] = {network: {} for network in TITLES}
    for result in (r for r in results if r.part == "multitask"):
        found[result.network].setdefault(result.seed, {}).update(result.dice)
    every = {key for by_seed in found.values() for tasks in by_seed.values() for key in tasks}
    whole = {
        network: {s: tasks for s, tasks in sorted(by_seed.items()) if set(tasks) == every} for network, by_seed in found.items()
    }
    return {network: by_seed for network, by_seed in whole.items() if by_seed}


def means_over_tasks(by_seed: BySeed) -> dict[int, float]:
    """Each seed's mean over tasks."""
    return {seed: statistics.mean(tasks.values()) for seed, tasks in by_seed.items()}


def differences(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """``a`` minus ``b`` for each seed that both have."""
    return [a[seed] - b[seed] for seed in a if seed in b]


def downstream(results: Sequence[Result]) -> dict[tuple[str, int], dict[str, dict[int, float]]]:
    """For each new task and number of cases: start to seed to Dice."""
    found: dict[tuple[str, int], dict[str, dict[int, float]]] = {}
    for result in sorted((r for r in results if r.part == "downstream"), key=lambda r: (r.n_cases, r.seed)):
        for key, value in result.dice.items():
            found.setdefault((key, result.n_cases), {}).setdefault(result.start, {})[result.seed] = value
    return dict(sorted(found.items()))
