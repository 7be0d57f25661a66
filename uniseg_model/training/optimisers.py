"""How weights follow the gradient."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn, optim

from uniseg_model.training.plan import Plan

_MOMENTUM = 0.99
_POWER = 0.9


def make_optimiser(plan: Plan, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The plan's optimiser. Its rate is set anew at each step by :func:`rate_at`."""
    if plan.optimiser == "adamw":
        return optim.AdamW(parameters, lr=plan.rate, weight_decay=plan.weight_decay)
    return optim.SGD(parameters, lr=plan.rate, momentum=_MOMENTUM, nesterov=True, weight_decay=plan.weight_decay)


def rate_at(plan: Plan, step: int) -> float:
    """The learning rate of a step, counted from 0.

    The original lowers its rate once per epoch of 550 steps; ours falls a little with each.
    """
    rise = min(1.0, (step + 1) / (plan.warm_up + 1))
    return plan.rate * rise * float((1 - step / plan.iterations) ** _POWER)
