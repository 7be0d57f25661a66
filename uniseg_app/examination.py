"""The doctor's visit: look at a data set, mend it into a copy, try two real steps on it. Knows no terminal, window or page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_model.dataset import TASK_FILE
from uniseg_model.doctor.examine import examine
from uniseg_model.doctor.findings import Report
from uniseg_model.doctor.mend import Mended, mend
from uniseg_model.errors import OptionError
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.tasks import Task, write_task

if TYPE_CHECKING:
    from uniseg_model.training.estimate import Price


@dataclass(frozen=True)
class DoctorRequest:
    """One data set to look at, as a person puts it; see the command's options."""

    dataset: Path
    task: str | None = None
    task_file: Path | None = None
    fix: Path | None = None
    dry_run: bool = False
    depth: str = "pack"
    minutes: float = 10.0
    weights: Path | None = None


@dataclass(frozen=True)
class Visit:
    """What was found; of the mended copy, where one was asked for."""

    report: Report
    before: Report
    mended: Mended | None = None
    price: Price | None = None

    def lines(self) -> Iterator[str]:
        """What was done, in words."""
        if self.mended:
            for case, changes in self.mended.changed.items():
                yield f"{case}: {', '.join(changes)}"
            for case in self.mended.left_out:
                yield f"{case}: left out"
            yield f"Wrote {self.mended.folder}; before: {self.before.sentence()}"
        if self.price:
            yield f"Two steps went well. {self.price.depth}: {self.price.sentence()}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mended = self.mended and {
            "folder": str(self.mended.folder),
            "changed": self.mended.changed,
            "left_out": list(self.mended.left_out),
        }
        return {**self.report.to_dict(), "mended": mended, "price": self.price.to_dict() if self.price else None}


def look_at(request: DoctorRequest, progress: ProgressHook = ignore_progress) -> Visit:
    """Examine, mend into a copy and examine that, and try a training, as asked.

    Raises:
        UniSegError: of the kind that fits what is wrong with the request or, in the dry run, with the data.
        Cancelled: the hook wanted it so.
    """
    task = _task(request)
    before = report = examine(request.dataset, task, progress)
    mended = None
    if request.fix:
        mended = mend(before, request.fix, progress)
        report = examine(request.fix, task, progress)
    price = _tried(request, report, progress) if request.dry_run and report.is_usable else None
    return Visit(report, before, mended, price)


def _task(request: DoctorRequest) -> Task | None:
    from uniseg_app.tuning import find_task
    from uniseg_model.phantom import phantom_tasks

    if request.task_file:
        return find_task(request.dataset, request.task_file, request.task)
    return phantom_tasks()[request.task] if request.task else None


def _tried(request: DoctorRequest, report: Report, progress: ProgressHook) -> Price:
    """The price of training on the data set, after two real steps on its first two cases."""
    from uniseg_app.tuning import TuningRequest, prepare_tuning
    from uniseg_model.training.start import run_training

    task = report.expected.task
    if task is None:
        raise OptionError(
            "a dry run needs to know the task", hint=f"Add --task or --task-file, or put a {TASK_FILE} into the data set."
        )
    if report.layout != "nnU-Net":
        raise OptionError(
            f"a dry run needs nnU-Net's layout, this is {report.layout}", hint="Bring it into that layout with --fix OUT."
        )
    with tempfile.TemporaryDirectory(prefix="uniseg-dry-run-") as place:
        small = Path(place) / "data"
        for part in ("imagesTr", "labelsTr"):
            (small / part).mkdir(parents=True)
        for pair in report.pairs[:2]:
            assert pair.labels is not None, "a usable data set has labels"
            for path in (*pair.images, pair.labels):
                (small / path.parent.name / path.name).symlink_to(path.resolve())
        write_task(small / TASK_FILE, task)
        wanted = TuningRequest(
            small,
            Path(place) / "run",
            request.depth,
            weights=request.weights,
            iterations=2,
            changes={"epoch": 2, "validation_windows": 1},
        )
        run_training(prepare_tuning(wanted)[0], progress)
        whole = replace(wanted, data=report.folder, out=Path(place) / "none", iterations=None, minutes=request.minutes, changes={},
                        task_file=small / TASK_FILE)  # fmt: skip
        return prepare_tuning(whole)[1]
