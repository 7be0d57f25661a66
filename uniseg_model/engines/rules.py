"""What the decoder is told: rules that make one prompt out of the task prompts of a window.

Normal prediction is the simplest of them, a task's own prompt. Rules are values: the same rule gives the same bits.

Letters: B windows, T tasks; z, y, x the bottleneck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class PromptRule(Protocol):
    """How one prompt comes from all task prompts of a window."""

    def choose(self, prompts: Tensor, flips: Sequence[int]) -> Tensor:
        """The prompt (B, 1, z, y, x) for the decoder out of the task prompts (B, T, z, y, x).

        flips: the axes (2, 3 or 4) along which the windows were mirrored before they were encoded.
        """
        ...


@dataclass(frozen=True, eq=False)
class Read:
    """A rule whose prompt is read by the decoder of the task at ``place``: a pack's task has a decoder of its own."""

    rule: PromptRule
    place: int

    def choose(self, prompts: Tensor, flips: Sequence[int]) -> Tensor:
        """See :meth:`PromptRule.choose`."""
        return self.rule.choose(prompts, flips)


PromptChoice = int | PromptRule  # a place in the universal prompt stands for that task's own prompt


@dataclass(frozen=True)
class Mixed:
    """A weighted sum of task prompts: (place, share) each. One of share 1 is that prompt itself, to the bit; none is zero."""

    parts: tuple[tuple[int, float], ...] = ()

    def choose(self, prompts: Tensor, flips: Sequence[int]) -> Tensor:
        """See :meth:`PromptRule.choose`."""
        heard = [(place, share) for place, share in self.parts if share]  # a share of 0 leaves no trace
        if not heard:
            return torch.zeros_like(prompts[:, :1])
        first, *others = (prompts[:, i : i + 1] if share == 1 else prompts[:, i : i + 1] * share for i, share in heard)
        return sum(others, first)


@dataclass(frozen=True)
class Shuffled:
    """One task's prompt with its voxels in another order, the same order in every window."""

    place: int
    seed: int = 0

    def choose(self, prompts: Tensor, flips: Sequence[int]) -> Tensor:
        """See :meth:`PromptRule.choose`."""
        own = prompts[:, self.place : self.place + 1].flip(tuple(flips))
        order = torch.from_numpy(np.random.default_rng(self.seed).permutation(own[0, 0].numel()))
        return own.flatten(2)[..., order.to(own.device)].view(own.shape).flip(tuple(flips))


@dataclass(frozen=True, eq=False)
class Given:
    """One prompt for all windows, wherever it comes from. values: (z, y, x), in the place that unmirrored windows have."""

    values: np.ndarray = field(repr=False)

    def choose(self, prompts: Tensor, flips: Sequence[int]) -> Tensor:
        """See :meth:`PromptRule.choose`."""
        values = torch.from_numpy(np.array(self.values, np.float32)).to(prompts.device, prompts.dtype)
        return values.expand(len(prompts), 1, *values.shape).flip(tuple(flips))


def reader_of(choice: PromptChoice) -> int:
    """The place of the task whose decoder reads the prompt; of a rule that does not say, the first task's, which is the weights' own."""
    return choice if isinstance(choice, int) else choice.place if isinstance(choice, Read) else 0


def rule_of(choice: PromptChoice) -> PromptRule:
    """The rule; of a place the one that takes this task's own prompt."""
    return Mixed(((choice, 1.0),)) if isinstance(choice, int) else choice
