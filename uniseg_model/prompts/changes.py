"""What a task's prompt can be replaced with, in a person's words: by task keys, for whoever asks ``Session.what_if``.

Each change becomes a rule of the engine; the run record holds it as plain values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from uniseg_model.errors import OptionError
from uniseg_model.volume import Shape

if TYPE_CHECKING:
    from uniseg_model.engines.rules import PromptRule

PlaceOf = Callable[[str], int]


class Change(Protocol):
    """What the decoder is told in place of a task's own prompt."""

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """For the engine. own: the task's place; place_of: any key's place; shape: voxels of a prompt.

        Raises:
            TaskError: a key that the weights do not know. OptionError: values of another shape.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the run record."""
        ...


@dataclass(frozen=True)
class Own:
    """Nothing is replaced: the usual prediction, to the bit."""

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        return _mixed((own, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        return {"prompt": "own"}


@dataclass(frozen=True)
class Swap:
    """The prompt of another task, from the same window. task: its key; it need not suit the image."""

    task: str

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        return _mixed((place_of(self.task), 1.0))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        return {"prompt": "swap", **asdict(self)}


@dataclass(frozen=True)
class Zero:
    """No prompt: zeros."""

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        return _mixed()

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        return {"prompt": "zero"}


@dataclass(frozen=True)
class Blend:
    """(1 - share) of the own prompt and ``share`` of another task's. At 0 and 1 it is the one or the other, to the bit.

    Raises:
        OptionError: the share is outside [0, 1].
    """

    task: str
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise OptionError(f"the share of the other prompt must be between 0 and 1, not {self.share:g}")

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        return _mixed((own, 1 - self.share), (place_of(self.task), self.share))

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        return {"prompt": "blend", **asdict(self)}


@dataclass(frozen=True)
class Shuffle:
    """The own prompt with its voxels in a random order, the same in every window: its values stay, its pattern goes.

    Raises:
        OptionError: a negative seed.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"the seed must be zero or more, not {self.seed}")

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        from uniseg_model.engines.rules import Shuffled

        return Shuffled(own, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        return {"prompt": "shuffle", **asdict(self)}


@dataclass(frozen=True, eq=False)
class Foreign:
    """One prompt for all windows, from elsewhere. values: (z, y, x) such as ``PromptMaps.window_mean`` of another image.

    said: where it comes from, for the record.
    """

    values: np.ndarray = field(repr=False)
    said: str = ""

    def rule(self, own: int, place_of: PlaceOf, shape: Shape) -> PromptRule:
        """See :meth:`Change.rule`."""
        from uniseg_model.engines.rules import Given

        if self.values.shape != shape or not np.isfinite(self.values).all():
            raise OptionError(
                f"the prompt from elsewhere has shape {self.values.shape}, these weights need {shape} finite numbers",
                hint="Take it from an image under the same weights.",
            )
        return Given(self.values)

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Change.to_dict`."""
        digest = hashlib.sha256(np.asarray(self.values, np.float32).tobytes()).hexdigest()
        return {"prompt": "foreign", "said": self.said, "sha256": digest}


def _mixed(*parts: tuple[int, float]) -> PromptRule:
    from uniseg_model.engines.rules import Mixed

    return Mixed(parts)
