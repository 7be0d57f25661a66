"""Which windows each step looks at: a pure function of the seed and the step.

Nothing is remembered between two steps, so a resumed run, a run with workers and a run on several machines see the same
windows as one that was never interrupted, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from uniseg_model.tasks import Task
from uniseg_model.training.cache import PreparedCase, StoredArray
from uniseg_model.training.plan import Plan
from uniseg_model.volume import Shape

_ORDER, _WINDOWS = 0, 1  # streams of random numbers


@dataclass(frozen=True, eq=False)
class Draw:
    """One window: where it stands in which case. ``start`` may be negative: what lies outside is padded.

    is_negative: the case is another modality's, and the task's answer to it is nothing.
    """

    case: PreparedCase
    start: Shape
    is_negative: bool = False

    def label(self) -> str:
        """What a person needs to look it up."""
        return f"{self.case.name} from voxel {self.start}"


class Sampler:
    """Draws the windows of each step.

    cases: by task key, those to learn from.
    """

    def __init__(self, plan: Plan, cases: Mapping[str, Sequence[PreparedCase]]) -> None:
        self._plan = plan
        self._cases = cases

    def draw(self, step: int) -> tuple[Task, list[Draw]]:
        """The task of a step and its windows, all drawn with replacement."""
        plan = self._plan
        epoch, place = divmod(step, plan.epoch)
        keys = tuple(plan.learned)
        order = task_order(tuple(plan.task_weights.get(key, 1.0) for key in keys), plan.epoch, plan.seed, epoch)
        task = plan.tasks[keys[order[place]]]
        rng = np.random.default_rng([plan.seed, _WINDOWS, step])
        if rng.random() < plan.negatives and (others := plan.foreign_to(task)):
            cases = self._cases[others[int(rng.integers(len(others)))]]
            return task, [self.random_window(cases, rng, is_negative=True) for _ in range(plan.batch)]
        n_random = round(plan.batch * (1 - plan.foreground))
        own = self._cases[task.key]
        return task, [
            self.random_window(own, rng) if i < n_random else self.structure_window(own, rng) for i in range(plan.batch)
        ]

    def structure_window(self, cases: Sequence[PreparedCase], rng: np.random.Generator) -> Draw:
        """A window around a voxel of a structure, each structure as often as the others; anywhere in an empty case."""
        case = cases[int(rng.integers(len(cases)))]
        if not case.places:
            return Draw(case, self._start(case, rng))
        places = case.places[list(case.places)[int(rng.integers(len(case.places)))]]
        centre = places[int(rng.integers(len(places)))]
        shape, window = case.labels.shape, self._plan.network.window
        start = [_inside(int(c) - w // 2, n, w) for c, n, w in zip(centre, shape, window, strict=True)]
        return Draw(case, tuple(start))  # type: ignore[arg-type]

    def random_window(self, cases: Sequence[PreparedCase], rng: np.random.Generator, *, is_negative: bool = False) -> Draw:
        """A window anywhere in a case."""
        case = cases[int(rng.integers(len(cases)))]
        return Draw(case, self._start(case, rng), is_negative)

    def _start(self, case: PreparedCase, rng: np.random.Generator) -> Shape:
        limits = [_limits(n, w) for n, w in zip(case.labels.shape, self._plan.network.window, strict=True)]
        return tuple(int(rng.integers(low, high + 1)) for low, high in limits)  # type: ignore[return-value]


def _limits(size: int, side: int) -> tuple[int, int]:
    """First and last start of a window along an axis; an axis shorter than the window is padded on both sides."""
    lacking = max(0, side - size)
    return -(lacking // 2), size + lacking // 2 + lacking % 2 - side


def _inside(start: int, size: int, side: int) -> int:
    low, high = _limits(size, side)
    return min(max(start, low), high)


@lru_cache(maxsize=8)
def task_order(weights: tuple[float, ...], steps: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The task of each step of an epoch, as places in ``weights``.

    Each task has a budget in proportion to its weight; each step draws evenly among the tasks that have some left.
    """
    rng = np.random.default_rng([seed, _ORDER, epoch])
    left = _budgets(np.array(weights), steps, rng)
    order = []
    for _ in range(steps):
        chosen = int(rng.choice(np.flatnonzero(left)))
        left[chosen] -= 1
        order.append(chosen)
    return tuple(order)


def _budgets(weights: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers in proportion to the weights whose sum is ``steps``; what rounding leaves is drawn."""
    exact = weights / weights.sum() * steps
    budgets: np.ndarray = np.floor(exact + 1e-9).astype(int)
    left = steps - int(budgets.sum())
    if left:
        budgets[rng.choice(len(weights), left, replace=False)] += 1
    return budgets


def cut_window(array: StoredArray | np.ndarray, start: Shape, window: Shape) -> np.ndarray:
    """A copy of (..., Z, Y, X) of the window's size; what lies outside the array is 0."""
    ends = [min(s + w, n) for s, w, n in zip(start, window, array.shape[-3:], strict=True)]
    inner = tuple(slice(max(0, s), e) for s, e in zip(start, ends, strict=True))
    target = tuple(slice(max(0, -s), max(0, -s) + i.stop - i.start) for s, i in zip(start, inner, strict=True))
    out = np.zeros((*array.shape[:-3], *window), array.dtype)
    lead = (slice(None),) * (array.ndim - 3)
    out[lead + target] = array[lead + inner]
    return out
