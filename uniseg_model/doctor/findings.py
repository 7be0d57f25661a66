"""One thing that is wrong with a data set, and all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uniseg_model.doctor.layout import Pair
from uniseg_model.tasks import Task

SEVERITIES = ("error", "warning", "note")  # training fails or learns nonsense; it may get worse; good to know


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    case: its name, or empty for the data set. rule: a word by which programs tell findings apart.
    what: the value met and the rule it breaks. how: the next step. fix: what mending would do, where that is safe.
    """

    severity: str
    case: str
    rule: str
    what: str
    how: str
    fix: str = ""


@dataclass(frozen=True)
class Expected:
    """What the cases should be: from a task, or from ``dataset.json``. None where nobody says.

    modalities: one a channel. values: names of the label values from 1.
    """

    modalities: tuple[str, ...] | None = None
    values: tuple[str, ...] | None = None
    task: Task | None = None

    @classmethod
    def of(cls, task: Task) -> Expected:
        """What a task expects."""
        return cls(task.modalities, tuple(label.name for label in task.labels), task)


@dataclass(frozen=True)
class Report:
    """A data set as it was found: its cases and what is wrong, the worst first."""

    folder: Path
    layout: str
    expected: Expected
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def fixable(self) -> list[Finding]:
        """What can be mended safely."""
        return [finding for finding in self.findings if finding.fix]

    def sentence(self) -> str:
        """The outcome in words."""
        counts = Counter(finding.severity for finding in self.findings)
        told = ", ".join(f"{counts[name]} {name}{'s' if counts[name] != 1 else ''}" for name in SEVERITIES if counts[name])
        return f"{len(self.pairs)} cases ({self.layout}): {told or 'nothing wrong'}; {len(self.fixable)} can be mended."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder), "layout": self.layout, "cases": [pair.name for pair in self.pairs],
            "is_usable": self.is_usable, "sentence": self.sentence(), "findings": [asdict(finding) for finding in self.findings],
        }  # fmt: skip


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, then by case."""
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.case, finding.rule)))
