"""The scores as a table for other programs: CSV, one row per case and structure.

Case and structure lead; then the metrics, ``nan`` and ``inf`` where an empty mask leaves no number, the tolerance that the
surface Dice belongs to, and the two volumes. A reference that could not be compared has rows too, with a note in place of
the numbers, so that no one takes the rest for all.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uniseg_model.evaluation.scores import Evaluation
from uniseg_model.files import whole_file

COLUMNS = (
    "case", "structure", "dice", "hd95_mm", "surface_dice", "tolerance_mm", "volume_error_percent",
    "reference_ml", "prediction_ml", "note",
)  # fmt: skip


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write one row per case and structure, in UTF-8, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,  # a name may be no valid text
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(_rows(evaluation), key=lambda row: row["case"]))  # stable: structures keep their order


def _rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for case in evaluation.cases:
        for name, scores in case.structures.items():
            yield {"case": case.case, "structure": name, "tolerance_mm": evaluation.tolerance_mm, **vars(scores)}
    notes = {**dict.fromkeys(evaluation.missing, "no prediction"), **evaluation.failed}
    for absent, note in notes.items():
        for label in evaluation.task.labels:
            yield {"case": absent, "structure": label.name, "note": note}
