"""From trained UniSeg weights to a new task, as the paper does it downstream: prompt, fusion and heads stay behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.claims.rivals import PlainUNet
from uniseg_model.checkpoint import Checkpoint
from uniseg_model.errors import WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.volume import Shape

_FIRST = "upsample.0.weight"  # (F + 1, ...): its last input channel is the task prompt's


@dataclass(frozen=True)
class Transfer:
    """Names of weights: copied, left as they were in the network, and not taken from the checkpoint."""

    copied: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]


def downstream_config(upstream: NetworkConfig) -> NetworkConfig:
    """The same U-Net for one CT task, in the smallest window with two bottleneck voxels along each axis."""
    window: Shape = tuple(2 * side for side in upstream.total_stride)  # type: ignore[assignment]
    return replace(upstream, n_tasks=1, n_classes=2, window=window, stems=(1,))


def transfer(checkpoint: Checkpoint, net: PlainUNet) -> Transfer:
    """Copy into the network, in place, what it shares with the checkpoint; the heads always start fresh.

    Raises:
        WeightsError: encoder or decoder have another shape.
    """
    own = net.state_dict()
    wanted = [name for name in own if not name.startswith("heads.")]
    for name in wanted:
        weight = _weight(checkpoint, name)
        if weight.shape != own[name].shape:
            raise WeightsError(f"{name!r} has shape {tuple(weight.shape)}, the new network needs {tuple(own[name].shape)}")
        with torch.no_grad():
            own[name].copy_(weight)
    others = [name for name in own if name not in wanted]
    return Transfer(tuple(wanted), tuple(others), tuple(name for name in checkpoint.weights if name not in wanted))


def _weight(checkpoint: Checkpoint, name: str) -> Tensor:
    if name not in checkpoint.weights:
        raise WeightsError(f"the weights lack {name!r}, which the new network needs")
    weight = checkpoint.weights[name]
    return weight[:-1] if name == _FIRST else weight
