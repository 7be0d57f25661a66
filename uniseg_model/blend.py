"""Weighted sums of what windows answer, and the means that come of them.

Where memory is short the sums lie in files without a name, which are gone with the process; the system keeps in memory of them what
it can. The numbers are the same. Letters: K classes, z, y, x the grid that holds all windows.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from uniseg_model.errors import OutOfMemoryError
from uniseg_model.resample import slabs
from uniseg_model.volume import Shape


def sums_bytes(shape: Shape, n_classes: Sequence[int]) -> int:
    """Of the sums of all classes and of the weights."""
    return 4 * math.prod(shape) * (sum(n_classes) + 1)


@dataclass
class Blend:
    """Weighted sums over windows on a grid that holds them all: one tensor (K, z, y, x) a prompt, and the weights' own sum.

    on_disk: keep them in the folder for temporary files, on a CPU.

    Raises:
        OutOfMemoryError: the disk is too small, too.
    """

    shape: Shape
    n_classes: Sequence[int]
    device: torch.device
    on_disk: bool = False
    sums: list[Tensor] = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        zeros = _zeros_on_disk if self.on_disk else lambda shape: torch.zeros(shape, device=self.device)
        self.sums = [zeros((k, *self.shape)) for k in self.n_classes]
        self.weights = zeros(self.shape)

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
        return [self._best(total) for total in self.sums]

    def _best(self, total: Tensor) -> np.ndarray:
        """In slabs, because torch's places take eight bytes a voxel."""
        best = np.empty(self.shape, np.uint8)
        for rows in slabs(self.shape[0], math.prod(self.shape[1:])):
            best[rows] = total[:, rows].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return best

    def means(self) -> list[np.ndarray | Tensor]:
        """Class probabilities (K, z, y, x) a prompt, tensors where the sums lie on a GPU; where no window was, the first class's is 1.

        The sums are used up.
        """
        if not self.weights.all():
            bare = self.weights == 0
            self.weights[bare] = 1
            for total in self.sums:
                total[0][bare] = 1
        means = (total.div_(self.weights) for total in self.sums)
        return [mean.numpy() if self.device.type == "cpu" else mean for mean in means]


def _zeros_on_disk(shape: Sequence[int]) -> Tensor:
    """A tensor of zeros in a file that has no name and all its room: a disk that fills up later would end the process."""
    n_bytes = 4 * math.prod(shape)
    with tempfile.TemporaryFile(prefix="uniseg-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            elif shutil.disk_usage(tempfile.gettempdir()).free < n_bytes:
                raise OSError("no space left on device")
        except OSError as exc:
            raise OutOfMemoryError(
                f"the sums of all windows do not fit into memory, nor their {n_bytes / 1e9:.1f} GB into {tempfile.gettempdir()}: {exc}",
                hint="Set TMPDIR to a folder with room, ask for fewer tasks at once, or for a coarser --spacing.",
            ) from exc
        return torch.from_numpy(
            np.memmap(file, np.float32, "r+" if hasattr(os, "posix_fallocate") else "w+", shape=tuple(shape))
        )
