"""Weighted sums of what windows answer, and the means that come of them.

Letters: K classes, z, y, x the grid that holds all windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from uniseg_model.volume import Shape


@dataclass
class Blend:
    """Weighted sums over windows on a grid that holds them all: one tensor (K, z, y, x) a prompt, and the weights' own sum."""

    shape: Shape
    n_classes: Sequence[int]
    device: torch.device
    sums: list[Tensor] = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sums = [torch.zeros((k, *self.shape), device=self.device) for k in self.n_classes]
        self.weights = torch.zeros(self.shape, device=self.device)

    def add(self, start: Shape, outputs: Sequence[Tensor], weight: Tensor) -> None:
        """Add one window's answers, (K, z, y, x) a prompt: all of them, or none when memory runs out on the way."""
        place = tuple(slice(at, at + side) for at, side in zip(start, weight.shape, strict=True))
        weight = weight.to(self.device)
        weighted = [output[:k].to(self.device) * weight for output, k in zip(outputs, self.n_classes, strict=True)]
        for total, share in zip(self.sums, weighted, strict=True):
            total[(slice(None), *place)] += share
        self.weights[place] += weight

    def move_to_cpu(self) -> None:
        """Free the GPU of the sums."""
        self.device = torch.device("cpu")
        self.sums = [total.cpu() for total in self.sums]
        self.weights = self.weights.cpu()

    def labels(self) -> list[np.ndarray]:
        """The best class so far (z, y, x) uint8, one array a prompt; 0 where no window was yet."""
        return [total.argmax(dim=0).to(torch.uint8).cpu().numpy() for total in self.sums]

    def means(self) -> list[np.ndarray]:
        """Class probabilities (K, z, y, x), one array a prompt; where no window was, the first class's is 1. The sums are used up."""
        if not self.weights.all():
            bare = self.weights == 0
            self.weights[bare] = 1
            for total in self.sums:
                total[0][bare] = 1
        return [total.div_(self.weights).cpu().numpy() for total in self.sums]
