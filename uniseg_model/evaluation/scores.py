"""What a comparison of two folders brought: scores by case and structure, and their spread over the cases."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from uniseg_model.evaluation.bootstrap import INTERVAL, mean_interval
from uniseg_model.evaluation.metrics import DEFINITIONS, Metric
from uniseg_model.tasks import Task


@dataclass(frozen=True)
class StructureScores:
    """How well one structure of one case was found; :data:`DEFINITIONS` says what the metrics mean.

    NaN and infinite values come from empty masks, and the two volumes tell which mask was empty.
    """

    dice: float
    hd95_mm: float
    surface_dice: float
    volume_error_percent: float
    reference_ml: float
    prediction_ml: float


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case by structure, in the task's order, and the two files that were compared."""

    case: str
    structures: Mapping[str, StructureScores]
    prediction: Path
    reference: Path


def number_in_words(value: float, decimals: int) -> str:
    """A score for a person: ∞ where it is infinite, a dash where it is not defined."""
    if math.isfinite(value):
        return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no minus before a zero
    return "∞" if math.isinf(value) else "–"


@dataclass(frozen=True)
class Spread:
    """Mean and median of the finite values, NaN when there are none, and how many values were of which kind.

    interval: of the mean, as :data:`INTERVAL` says; None with fewer than two finite values.
    """

    mean: float
    median: float
    interval: tuple[float, float] | None
    n_finite: int
    n_nan: int
    n_infinite: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of any values, none included."""
        values = list(values)
        finite = [value for value in values if math.isfinite(value)]
        mean, median = (statistics.fmean(finite), statistics.median(finite)) if finite else (math.nan, math.nan)
        n_nan = sum(map(math.isnan, values))
        return cls(mean, median, mean_interval(finite), len(finite), n_nan, len(values) - len(finite) - n_nan)

    def in_words(self, decimals: int) -> tuple[str, str, str, str]:
        """Mean, interval, median, and of how many cases, for a table; a dash where there is none."""
        low_high = " to ".join(number_in_words(value, decimals) for value in self.interval) if self.interval else "–"
        mean, median = (number_in_words(value, decimals) for value in (self.mean, self.median))
        return mean, low_high, median, f"{self.n_finite} of {self.n_finite + self.n_nan + self.n_infinite}"


@dataclass(frozen=True)
class Evaluation:
    """What comparing two folders brought.

    predictions, references: the two folders, as they were given.
    cases: the cases that were compared, by name.
    missing: references without a prediction. surplus: predictions without a reference.
    failed: the reason for each pair that could not be compared.
    definitions: of each metric; ``tolerance_mm`` belongs to ``surface_dice``.
    """

    task: Task
    predictions: Path
    references: Path
    tolerance_mm: float
    cases: tuple[CaseScores, ...]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    failed: Mapping[str, str]
    definitions: Mapping[str, str] = field(default_factory=lambda: DEFINITIONS)

    @property
    def is_complete(self) -> bool:
        """Every reference was compared with a prediction."""
        return not self.missing and not self.failed

    def title_of(self, metric: Metric) -> str:
        """How people call the metric, with the tolerance where it has one."""
        return f"{metric.title} at {self.tolerance_mm:g} mm" if metric.name == "surface_dice" else metric.title

    def values_of(self, structure: str, metric: str) -> dict[str, float]:
        """A metric of one structure by case."""
        return {case.case: getattr(case.structures[structure], metric) for case in self.cases}

    def worst_cases(self, structure: str, count: int) -> list[CaseScores]:
        """Up to ``count`` cases with the lowest Dice, the lowest first; a case without any difference is none of them."""
        dice = self.values_of(structure, "dice")
        return sorted((case for case in self.cases if dice[case.case] < 1), key=lambda case: dice[case.case])[:count]

    def summary(self) -> dict[str, dict[str, Spread]]:
        """For each structure and metric the spread over the compared cases.

        Missing and failed cases are in no mean. A structure that was missed altogether, or found where there is none, has
        an infinite ``hd95_mm``, which no mean can hold: ``n_infinite`` counts these cases, so read it beside the mean.
        ``n_nan`` counts the cases where the structure is absent and nothing was found, each a 1 in the mean of ``dice``.
        """
        return {
            label.name: {metric: Spread.of(self.values_of(label.name, metric).values()) for metric in self.definitions}
            for label in self.task.labels
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. What is NaN or infinite here is None there, and the summary counts each kind."""
        facts = {
            "task": self.task.key,
            "predictions": str(self.predictions),
            "references": str(self.references),
            "tolerance_mm": self.tolerance_mm,
            "definitions": self.definitions,
            "interval": INTERVAL,
            "summary": self.summary(),
            "cases": tuple({"case": case.case, "structures": case.structures} for case in self.cases),
            "missing": self.missing,
            "surplus": self.surplus,
            "failed": self.failed,
        }
        return {name: _plain(value) for name, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
