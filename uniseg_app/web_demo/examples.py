"""Images to try without one's own: one synthetic patient of each kind, painted when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from uniseg_model.phantom import make_phantom
from uniseg_model.volume import Volume

_SEED = 100  # of no phantom that was trained on or tested with


@dataclass(frozen=True)
class Example:
    """title: for the button. task: one that it suits."""

    title: str
    task: str


EXAMPLES = (
    Example("Trunk CT", "liver"), Example("Prostate MR", "prostate"),
    Example("Brain MR", "brain"), Example("PET-CT", "whole_body"),
)  # fmt: skip


@lru_cache(maxsize=len(EXAMPLES))
def example_volume(task: str) -> Volume:
    """The synthetic image of a task; always the same."""
    return make_phantom(task, _SEED).volume
