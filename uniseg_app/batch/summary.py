"""The table of a batch: ``summary.csv`` and ``summary.json``, each whole or not at all, over all cases, those of other shards, too."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from uniseg_app.batch.folder import DONE, FAILED, WAITING, CaseReport
from uniseg_model import DISCLAIMER
from uniseg_model.files import whole_file, write_json

CSV_NAME, JSON_NAME = "summary.csv", "summary.json"


@dataclass(frozen=True)
class Summary:
    """What a batch came to. already: how many of the cases were there before this run. failed_here: those that failed in it."""

    out: Path
    cases: tuple[CaseReport, ...]
    already: int
    failed_here: int
    seconds: float
    request: dict[str, Any]

    def count(self, state: str) -> int:
        """Cases in that state."""
        return sum(case.state == state for case in self.cases)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "counts": {
                "cases": len(self.cases),
                **{state: self.count(state) for state in (DONE, FAILED, WAITING)},
                "already_there": self.already,
            },
            "seconds": round(self.seconds, 1),
            "request": self.request,
            "cases": [case.to_dict() for case in self.cases],
            "note": DISCLAIMER,
        }

    def sentence(self) -> str:
        """What it came to, for a person."""
        times = [case.seconds for case in self.cases if case.seconds is not None]
        waiting = f", {n} wait for another run" if (n := self.count(WAITING)) else ""
        pace = f"; {median(times):.1f} s a case (median), {self.seconds:.0f} s in all" if times else ""
        return (
            f"{self.count(DONE)} of {len(self.cases)} cases are done, {self.already} of them were there already; "
            f"{self.count(FAILED)} failed{waiting}{pace}"
        )

    def save(self) -> None:
        """Write both files.

        Raises:
            OutputError: they cannot be written.
        """
        write_json(self.out / JSON_NAME, self.to_dict())
        structures = list(
            dict.fromkeys((key, name) for case in self.cases for key, found in case.volumes_ml.items() for name in found)
        )
        with whole_file(self.out / CSV_NAME) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["case", "state", "seconds", "attempts", *(f"{key}/{name} ml" for key, name in structures), "error"])
            for case in self.cases:
                table.writerow(_row(case, structures))


def _row(case: CaseReport, structures: Sequence[tuple[str, str]]) -> list[object]:
    volumes = [case.volumes_ml.get(key, {}).get(name) for key, name in structures]
    shown = ["" if ml is None else f"{ml:.3f}" for ml in volumes]
    error = f"{case.error}. {case.hint}" if case.hint else case.error
    return [case.case, case.state, "" if case.seconds is None else case.seconds, case.attempts, *shown, " ".join(error.split())]
