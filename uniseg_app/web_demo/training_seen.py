"""What a tab has in hand of trainings: a data set that was looked at, and which run it watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from uniseg_app.jobs import Job
from uniseg_app.training_form import TrainingForm
from uniseg_model.doctor.findings import Report
from uniseg_model.errors import OptionError


@dataclass
class TrainingSeen:
    """Of one visit.

    report: of the data set in hand. form: what was suggested for it. job: a look, a mending or a price that is on its way.
    run: id of the run that is watched; empty: the newest. other: of one it is compared with. sent: what the page shows of it now, by part, so that nothing is sent twice.
    """

    report: Report | None = None
    form: TrainingForm | None = None
    job: Job[Any] | None = None
    run: str = ""
    other: str = ""
    sent: dict[str, Any] = field(default_factory=dict)

    def looked_at(self) -> tuple[Report, TrainingForm]:
        """What is known of the data set in hand.

        Raises:
            OptionError: none was looked at.
        """
        if self.report is None or self.form is None:
            raise OptionError("no data set was looked at", hint="Choose one above, and press “Look at it”.")
        return self.report, self.form

    def cancel(self) -> None:
        """Stop what is on its way; runs are processes of their own and go on."""
        if self.job:
            self.job.cancel()

    def is_new(self, part: str, value: Any) -> bool:
        """Whether the page does not show this yet; from now on it does."""
        is_new = part not in self.sent or self.sent[part] != value
        self.sent[part] = value
        return is_new
