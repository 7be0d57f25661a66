"""How well windows are segmented that are never learned from: nnU-Net's quick estimate, not a test.

The same windows each time, half of them around a structure. Voxels are counted over all windows of a task before Dice
is taken, so a structure that is absent from one of them does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uniseg_model.network.pack import PackNet
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.tasks import Task
from uniseg_model.training.batches import cut
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.sampler import Draw, Sampler

Scores = dict[str, dict[str, float]]  # task key to structure to Dice
_WINDOWS = 3  # a stream of random numbers beside the sampler's and the augmentation's


@dataclass(frozen=True, eq=False)
class Example:
    """The slice of a validation window in which most is to be found: grey values, truth and answer, each (Y, X)."""

    task: str
    source: str
    image: np.ndarray
    truth: np.ndarray
    answer: np.ndarray


class Validator:
    """Holds the windows that are looked at each time."""

    def __init__(self, plan: Plan, cases: Mapping[str, Sequence[PreparedCase]]) -> None:
        self._plan = plan
        sampler = Sampler(plan, cases)
        self._draws = {
            key: [sampler.structure_window(cases[key], np.random.default_rng([plan.seed, _WINDOWS, place, i])) if i % 2 == 0
                  else sampler.random_window(cases[key], np.random.default_rng([plan.seed, _WINDOWS, place, i]))
                  for i in range(plan.validation_windows)]
            for place, key in enumerate(plan.learned)
        }  # fmt: skip

    @torch.no_grad()
    def scores(self, net: UniSegNet | PackNet, device: torch.device) -> Scores:
        """Dice of each structure; NaN where no window holds it and none was found."""
        net.eval()
        found = {key: self._dice(net, self._plan.tasks[key], draws, device) for key, draws in self._draws.items()}
        net.train()
        return found

    @torch.no_grad()
    def example(self, net: UniSegNet | PackNet, device: torch.device) -> Example | None:
        """One window of the first task as it looks now, the same each time; None where nothing is validated."""
        key, draws = next(iter(self._draws.items()))
        if not draws:
            return None
        task = self._plan.tasks[key]
        image, labels = cut(draws[0], self._plan.network.window)
        net.eval()
        logits = net(image[None].to(device), torch.tensor([self._plan.place(task)]))[0, : task.n_classes]
        net.train()
        z = int((labels > 0).sum(dim=(1, 2)).argmax())
        answer = logits.argmax(0)[z].cpu().to(torch.uint8)
        return Example(key, draws[0].label(), image[0, z].numpy(), labels[z].numpy(), answer.numpy())

    def _dice(self, net: UniSegNet | PackNet, task: Task, draws: Sequence[Draw], device: torch.device) -> dict[str, float]:
        place = self._plan.place(task)
        counts = torch.zeros(len(task.labels), 2)
        for draw in draws:
            image, labels = cut(draw, self._plan.network.window)
            logits = net(image[None].to(device), torch.tensor([place]))[0, : task.n_classes]
            counts += overlaps(logits.argmax(0).cpu(), labels, len(task.labels))
        dice = counts[:, 0] / counts[:, 1]  # 0 / 0 is NaN
        return {label.name: float(value) for label, value in zip(task.labels, dice, strict=True)}


def overlaps(answer: Tensor, truth: Tensor, n_labels: int) -> Tensor:
    """For each label value, twice the voxels in both and the sum of the voxels of each: (n_labels, 2)."""
    pairs = [(answer == value, truth == value) for value in range(1, n_labels + 1)]
    return torch.stack([torch.stack([2 * (a & b).sum(), a.sum() + b.sum()]) for a, b in pairs]).float()


def mean_score(scores: Scores) -> float:
    """The mean over tasks of the mean over their structures; what is NaN does not count, all NaN is 0."""
    tasks = [np.nanmean(list(task.values())) for task in scores.values() if not np.isnan(list(task.values())).all()]
    return float(np.mean(tasks)) if tasks else 0.0
