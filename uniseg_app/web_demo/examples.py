"""What a tab shows when it opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uniseg_app.backend import Backend
from uniseg_app.examples import EXAMPLES
from uniseg_app.jobs import Job, State
from uniseg_model.predictor import Options
from uniseg_model.segmentation import Segmentation
from uniseg_model.volume import Volume


@dataclass(frozen=True)
class FirstExample:
    """What a tab shows when it opens. job: that segments it, where somebody wanted it segmented."""

    title: str
    volume: Volume
    job: Job[list[Segmentation]] | None = None

    def answers(self) -> Sequence[Segmentation] | None:
        """What the job found; None before that, and where it failed."""
        return self.job.result() if self.job and self.job.state is State.DONE else None


def first_example(backend: Backend, *, segmented: bool) -> FirstExample:
    """The first of the examples. segmented: begin at once to ask it for every task that suits it."""
    example = EXAMPLES[0]
    volume = example.volume()
    keys = [choice.task.key for choice in backend.choices(volume) if choice.suits] if segmented else []
    return FirstExample(example.caption, volume, backend.segment(volume, keys, Options(confidence=True)) if keys else None)
