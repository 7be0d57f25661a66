"""Images to try without one's own: one synthetic patient of each kind, painted when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from uniseg_app.backend import Backend
from uniseg_app.jobs import Job, State
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Options
from uniseg_model.segmentation import Segmentation
from uniseg_model.volume import Volume

_SEED = 100  # of no phantom that was trained on or tested with


@dataclass(frozen=True)
class Example:
    """title: for the button. task: one that it suits."""

    title: str
    task: str

    @property
    def caption(self) -> str:
        """What stands over the image."""
        return f"Example: {self.title} (synthetic)"

    def volume(self) -> Volume:
        """The image; always the same."""
        return _painted(self.task)


EXAMPLES = (
    Example("Trunk CT", "liver"), Example("Prostate", "prostate"),
    Example("Brain", "brain"), Example("PET-CT", "whole_body"),
)  # fmt: skip


@lru_cache(maxsize=len(EXAMPLES))
def _painted(task: str) -> Volume:
    return make_phantom(task, _SEED).volume


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
