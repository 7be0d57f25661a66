"""How much memory a training will need, worked out without doing it.

One step is walked through on torch's meta device, where tensors have shapes and no numbers, and every map that the way
back will need is counted once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.training.losses import TaskLoss
from uniseg_model.training.plan import Plan
from uniseg_model.training.trainer import AllScales, fast_form

_COPIES = {"sgd": 3, "adamw": 4}  # weights, gradients, one or two moments
_WORKSPACE = 1.15  # what convolutions need beside, and what lies between freed maps


def training_memory_gb(plan: Plan, *, half_precision: bool = False) -> float:
    """Memory in GB (1e9 bytes) of weights, gradients, optimiser and one step's maps, for the task with most channels.

    half_precision: as on a GPU, where maps take two bytes a number; weights and optimiser stay at four.
    """
    with torch.device("meta"):
        net = fast_form(UniSegNet(plan.network)).train()
        images = torch.empty(plan.batch, max(plan.network.stems), *plan.network.window)
        labels = torch.zeros(plan.batch, *plan.network.window)
    maps = _bytes_for_the_way_back(net, images, labels, plan.network.n_classes) * (0.5 if half_precision else 1)
    weights = 4 * sum(parameter.numel() for parameter in net.parameters())
    return (weights * _COPIES[plan.optimiser] + maps * _WORKSPACE) / 1e9


def _bytes_for_the_way_back(net: UniSegNet, images: Tensor, labels: Tensor, n_classes: int) -> float:
    kept: dict[int, Tensor] = {}  # by storage; the tensors are held so that no storage is reused meanwhile

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scales = AllScales(net)(images, torch.zeros(len(images), dtype=torch.long, device="meta"))
        TaskLoss()(scales, labels, n_classes)
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    return float(sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own))
