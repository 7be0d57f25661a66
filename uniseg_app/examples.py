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
