"""Several processes that train one network: what ``torchrun`` starts, each on its own GPU or a share of the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from uniseg_model.errors import OptionError


@dataclass(frozen=True)
class Processes:
    """Which process this is, ``rank`` of ``world``, and which GPU of its machine it takes."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def device(self, wanted: torch.device) -> torch.device:
        """The GPU of this process, where GPUs are wanted."""
        return torch.device("cuda", self.local) if self.world > 1 and wanted.type == "cuda" else wanted

    @property
    def is_first(self) -> bool:
        """The one that writes files."""
        return self.rank == 0

    def check_share(self, batch: int) -> None:
        """Refuse a batch that the processes cannot share evenly.

        Raises:
            OptionError: they cannot.
        """
        if batch % self.world:
            raise OptionError(f"{self.world} processes cannot share {batch} windows a step evenly",
                              hint=f"Choose a batch that is a multiple of {self.world}.")  # fmt: skip

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a value over all processes."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device_type: str) -> Iterator[Processes]:
    """This process among those that ``torchrun`` started; alone where it did not."""
    if "RANK" not in os.environ:
        yield Processes()
        return
    # The others wait while the first prepares all cases, or validates: the usual ten minutes are too short.
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=timedelta(days=1))
    try:
        local = int(os.environ["LOCAL_RANK"])
        if device_type == "cuda":
            torch.cuda.set_device(local)
        yield Processes(dist.get_rank(), dist.get_world_size(), local)
    finally:
        dist.destroy_process_group()
