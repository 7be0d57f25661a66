"""From the windows of a step to its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from uniseg_model.tasks import Task
from uniseg_model.training.augment import Turn, change_intensities, draw_turn, mirror
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.sampler import Draw, Sampler, cut_window
from uniseg_model.volume import Shape

_AUGMENT = 2  # a stream of random numbers beside the sampler's


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows of one task: images (B, C, Z, Y, X) float32, labels (B, Z, Y, X) uint8, and where they come from."""

    task: Task
    images: Tensor
    labels: Tensor
    sources: tuple[str, ...]


class Batches(Dataset[Batch]):
    """The batch of each step, from the windows that are this process's share.

    rank, world: of the processes that train together; window ``i`` of a step belongs to process ``i % world``.
    """

    def __init__(self, plan: Plan, cases: Mapping[str, Sequence[PreparedCase]], rank: int = 0, world: int = 1) -> None:
        self._plan = plan
        self._sampler = Sampler(plan, cases)
        self._share = range(rank, plan.batch, world)

    def __len__(self) -> int:
        return self._plan.iterations

    def __getitem__(self, step: int) -> Batch:
        task, draws = self._sampler.draw(step)
        windows = [self._window(draws[i], np.random.default_rng([self._plan.seed, _AUGMENT, step, i])) for i in self._share]
        return collate(task, windows, [draws[i] for i in self._share])

    def _window(self, draw: Draw, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        window, strength = self._plan.network.window, self._plan.augmentation
        if strength == "none":
            return cut(draw, window)
        turn = draw_turn(rng) if strength == "full" else Turn()
        image, labels = turn.apply(*cut(draw, turn.extent(window), window), window)
        image = change_intensities(image, rng, slow_ones=strength == "full")
        return mirror(image, labels, rng) if strength == "full" else (image, labels)


def cut(draw: Draw, size: Shape, window: Shape | None = None) -> tuple[Tensor, Tensor]:
    """The image (C, Z, Y, X) and labels (Z, Y, X) of a draw; ``size`` voxels around the middle of its window."""
    offsets = [(w - n) // 2 for w, n in zip(window or size, size, strict=True)]
    start: Shape = tuple(s + o for s, o in zip(draw.start, offsets, strict=True))  # type: ignore[assignment]
    image, labels = cut_window(draw.case.image, start, size), cut_window(draw.case.labels, start, size)
    return torch.from_numpy(image), torch.from_numpy(labels * np.uint8(not draw.is_negative))


def collate(task: Task, windows: Sequence[tuple[Tensor, Tensor]], draws: Sequence[Draw]) -> Batch:
    """One batch of windows."""
    images, labels = zip(*windows, strict=True)
    return Batch(task, torch.stack(images), torch.stack(labels), tuple(draw.label() for draw in draws))
