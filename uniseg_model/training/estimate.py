"""What a training will cost: memory and disk worked out without doing it, time from two real steps.

For memory one step is walked through on torch's meta device, where tensors have shapes and no numbers, and every map that
the way back will need is counted once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uniseg_model.io import read_grid
from uniseg_model.network.pack import PackNet
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.training.cases import SPLITS, Split
from uniseg_model.training.losses import TaskLoss
from uniseg_model.training.plan import Plan
from uniseg_model.training.trainer import AllScales, fast_form
from uniseg_model.training.troubles import troubles_named
from uniseg_model.training.tune import RISKS

_COPIES = {"sgd": 3, "adamw": 4}  # weights, gradients, one or two moments
_WORKSPACE = 1.15  # what convolutions need beside, and what lies between freed maps


def training_memory_gb(plan: Plan, *, half_precision: bool = False) -> float:
    """Memory in GB (1e9 bytes) of weights, gradients, optimiser and one step's maps, for the task with most channels.

    half_precision: as on a GPU, where maps take two bytes a number; weights and optimiser stay at four.
    """
    with torch.device("meta"):
        net = fast_form(_net_of(plan)).train()
        images = torch.empty(plan.batch, max(plan.network.stems), *plan.network.window)
        labels = torch.zeros(plan.batch, *plan.network.window)
    maps = _bytes_for_the_way_back(net, images, labels, plan.network.n_classes) * (0.5 if half_precision else 1)
    frozen = 4 * sum(parameter.numel() for parameter in net.parameters() if not parameter.requires_grad)
    return (frozen + _learned_bytes(net) * _COPIES[plan.optimiser] + maps * _WORKSPACE) / 1e9


def _net_of(plan: Plan) -> UniSegNet | PackNet:
    """On whatever device is the default."""
    if plan.depth != "pack":
        return UniSegNet(plan.network)
    [task] = plan.tasks.values()
    return PackNet(UniSegNet(plan.network), task.n_classes, plan.rank)


def _learned_bytes(net: UniSegNet | PackNet) -> int:
    return 4 * sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def _bytes_for_the_way_back(net: UniSegNet | PackNet, images: Tensor, labels: Tensor, n_classes: int) -> float:
    kept: dict[int, Tensor] = {}  # by storage; the tensors are held so that no storage is reused meanwhile

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scales = AllScales(net)(images, torch.zeros(len(images), dtype=torch.long, device="meta"))
        TaskLoss()(scales, labels, n_classes)
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    return float(sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own))


@dataclass(frozen=True)
class Price:
    """What a training will take.

    minutes: of the steps and validations; preparing the cases comes on top. memory_gb: of the process or, on a GPU, of the GPU.
    disk_gb: what the run folder will hold. risk: what may get worse. unused: cases that the stored split does not name.
    """

    depth: str
    steps: int
    seconds_a_step: float
    minutes: float
    memory_gb: float
    disk_gb: float
    risk: str
    unused: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def sentence(self) -> str:
        """In words."""
        unused = f" Cases that {SPLITS} does not name, so that they are not used: {self.unused}." if self.unused else ""
        return (f"{self.steps} steps of about {self.seconds_a_step:.2g} s: {self.minutes:.0f} minutes, {self.memory_gb:.1f} GB of memory, "
                f"{self.disk_gb:.2g} GB on the disk. Risk: {self.risk}.{unused}")  # fmt: skip


_PROGRAM_GB = 0.5  # Python and its libraries
_SHARE_OF_A_STEP = 0.4  # that one window's validation takes


def price_of(
    plan: Plan, net: UniSegNet | PackNet, splits: Mapping[str, Split], device: torch.device, step_s: float | None = None
) -> Price:
    """The price of a plan on a device, after two real steps on made-up windows. ``net`` is used up by them.

    step_s: seconds of a step, where they were measured already.

    Raises:
        UniSegError: the header of a case cannot be read.
    """
    step_s = measure_step_s(plan, net, device) if step_s is None else step_s
    checks = plan.iterations // plan.epoch + 2
    seconds = step_s * (plan.iterations + checks * plan.validation_windows * len(plan.learned) * _SHARE_OF_A_STEP)
    memory = training_memory_gb(plan, half_precision=device.type == "cuda") + (0 if device.type == "cuda" else _PROGRAM_GB)
    checkpoints = _learned_bytes(net) * (_COPIES[plan.optimiser] - 1 + 2)  # last.pt without gradients; best and final
    disk = (checkpoints + cache_bytes(plan, splits)) / 1e9
    risk = RISKS.get(plan.depth, "none: nothing there is changed")
    unused = sum(len(split.unused) for split in splits.values())
    return Price(plan.depth, plan.iterations, step_s, seconds / 60, memory, disk, risk, unused)


def measure_step_s(plan: Plan, net: UniSegNet | PackNet, device: torch.device) -> float:
    """Seconds of one training step here: two are done on made-up windows, and the second counts. ``net`` is used up.

    Raises:
        OutOfMemoryError: a step is too much for the device.
    """
    with troubles_named():
        return _second_step_s(plan, net, device)


def _second_step_s(plan: Plan, net: UniSegNet | PackNet, device: torch.device) -> float:
    fast = fast_form(net).to(device).train()
    fast.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    model, loss = AllScales(fast), TaskLoss(batch_dice=plan.batch_dice)
    images = torch.randn(
        plan.batch, max(len(task.modalities) for task in plan.learned.values()), *plan.network.window, device=device
    )
    labels = torch.zeros(plan.batch, *plan.network.window, dtype=torch.uint8, device=device)
    for _ in range(2):
        began_s = time.monotonic()
        loss(model(images, torch.zeros(plan.batch, dtype=torch.long)), labels, 2).backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken_s = time.monotonic() - began_s
    return taken_s


def cache_bytes(plan: Plan, splits: Mapping[str, Split]) -> int:
    """Of all cases as the network will see them: each channel as float32, the labels as bytes. An upper bound: air is cut off."""
    total = 0.0
    for key, split in splits.items():
        task = plan.tasks[key]
        for case in (*split.train, *split.validation):
            shape, spacing_mm = read_grid(case.images[0])
            voxels = np.prod(np.multiply(shape, spacing_mm) / task.spacing_mm)
            total += float(voxels) * (4 * len(task.modalities) + 1)
    return int(total)


def steps_within(minutes: float, plan: Plan, step_s: float) -> int:
    """How many steps fit into so many minutes, validations counted; ten at least."""
    validation = plan.validation_windows * len(plan.learned) * _SHARE_OF_A_STEP / plan.epoch
    return max(10, int(60 * minutes / (step_s * (1 + validation))))
