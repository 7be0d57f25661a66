"""Steps in 16-bit numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uniseg_model.network.pack import LowRankConv


def half_of(precision: str, device: torch.device) -> torch.dtype | None:
    """The 16-bit numbers that a plan's precision means on a device; None for full precision."""
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else None
    return torch.bfloat16 if precision == "bfloat16" else None


class _SpareSmallMaps(nn.Conv3d):
    """In full precision where the map is smaller than the kernel."""

    def forward(self, input: Tensor) -> Tensor:
        if all(side >= kernel for side, kernel in zip(input.shape[2:], self.kernel_size, strict=True)):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


class _SpareSmallMapsUpdated(_SpareSmallMaps, LowRankConv):
    """The same for a convolution with an update of low rank."""


_SPARED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv3d: _SpareSmallMaps, LowRankConv: _SpareSmallMapsUpdated}


def spare_small_maps(net: nn.Module) -> None:
    """Keep convolutions of maps that are smaller than their kernel out of mixed precision on a CPU: same weights, same names.

    There oneDNN's bfloat16 gradient of the weights reads memory that nobody wrote, and for sides of 1 it writes where it
    must not (seen with torch 2.13 on a Zen 5: NaN, infinity, wrong in silence, or a crash).
    """
    for module in net.modules():
        if type(module) in _SPARED:
            module.__class__ = _SPARED[type(module)]
