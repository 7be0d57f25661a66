"""Several networks that answer as one, such as those of the folds of one training: the mean of their class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from uniseg_model.engines import Engine, Tick
from uniseg_model.engines.rules import PromptChoice, PromptRule
from uniseg_model.errors import OptionError


class Ensemble:
    """An engine out of several with the same window, on one device. Of one it is that one, to the bit.

    Prompts are each network's own and have no mean, so they are not looked at here.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        first = self._engines[0]
        self.window, self.device, self.precision, self.encoding = first.window, first.device, first.precision, first.encoding
        self.name = f"{first.name}, mean of {len(self._engines)} networks"

    def best_batch(self) -> int:
        """See :meth:`Engine.best_batch`."""
        return min(engine.best_batch() for engine in self._engines)

    def window_bytes(self) -> int:
        """See :meth:`Engine.window_bytes`; one network computes at a time."""
        return max(engine.window_bytes() for engine in self._engines)

    def free_gb(self) -> float | None:
        """See :meth:`Engine.free_gb`."""
        return self._engines[0].free_gb()

    def run(self, windows: Tensor, prompts: Sequence[PromptChoice], *, mirror: bool, tick: Tick) -> list[Tensor]:
        """See :meth:`Engine.run`."""
        n, means = len(self._engines), list[Tensor]()
        for i, engine in enumerate(self._engines):
            shares = engine.run(windows, prompts, mirror=mirror, tick=_part(tick, i, n))
            with torch.inference_mode():
                means = [total.add_(share) for total, share in zip(means, shares, strict=True)] if means else shares
        with torch.inference_mode():
            return [total.div_(n) for total in means]

    def prompts(self, windows: Tensor) -> Tensor:
        """Refused."""
        self._refuse()

    def sensitivity(self, windows: Tensor, rule: PromptRule, value: int) -> Tensor:
        """Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise OptionError(
            f"prompts are looked at in one network, these are {len(self._engines)}", hint="Name one weights file."
        )


def _part(tick: Tick, place: int, n: int) -> Tick:
    """The tick of one network among ``n``."""
    return lambda share: tick((place + share) / n)
