"""Adding a task to trained weights: three depths, and what each starts from.

pack      the base is frozen; only the small parts of ``network.pack`` learn
full      all weights learn; the new task's prompt joins the old ones so that the old tasks start exactly as they were
backbone  the paper's downstream use: prompts are dropped, the head is new, the result knows the new task only
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.errors import OptionError, TaskError, WeightsError
from uniseg_model.network.pack import PackNet, blocks_of, copy_leading, grow_fusion, scales_of
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.packs.file import Pack
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.training.batches import Batch
from uniseg_model.training.losses import TaskLoss
from uniseg_model.training.plan import Plan, checked_plan

RISKS = {
    "pack": "none for the old tasks: the base is not written to, their answers stay the same to the bit",
    "full": "the old tasks may get worse, those without replayed cases unseen; the file that it starts from is kept",
    "backbone": "the result knows the new task only; the file that it starts from is kept",
}
_DEFAULTS: dict[str, Any] = {
    "iterations": 400, "epoch": 50, "batch": 2, "optimiser": "adamw", "warm_up": 20, "weight_decay": 1e-2, "foreground": 0.5,
    "batch_dice": True, "validation_windows": 8, "save_every": 50,
}  # fmt: skip
_RATES = {"pack": 5e-3, "full": 1e-3, "backbone": 1e-3}


def tuning_plan(
    base: Checkpoint, task: Task, depth: str, *, replayed: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> Plan:
    """The plan that adds a task, with defaults for a small data set.

    replayed: keys of old tasks whose cases are trained on, too (``full`` only). changes: fields of :class:`Plan` to set.

    Raises:
        OptionError: a depth without a base, replayed cases for another depth, or a field outside its range.
        TaskError: the base knows the task already (``pack``), or with other structures.
        WeightsError: the base takes no image with so many channels (``pack``).
    """
    if depth not in RISKS:
        raise OptionError(f"a task is added with a depth of {', '.join(RISKS)}, not {depth!r}")
    if replayed and depth != "full":
        raise OptionError(f"old tasks are replayed with the depth full, not with {depth}", hint="Leave --replay out.")
    _check_task(base, task, depth)
    augmentation = "full" if base.about.mirrored else "light"
    settings = {**_DEFAULTS, "rate": _RATES[depth], "augmentation": augmentation, **(changes or {})}
    known = [] if depth != "full" else [old for old in base.base_tasks.values() if old.key != task.key]
    learn = (*(key for key in base.base_tasks if key in replayed and key != task.key), task.key)
    n_classes = task.n_classes if depth == "backbone" else base.config.n_classes
    network = replace(base.config, n_classes=n_classes)
    if depth == "full" and task.key in base.base_tasks:
        known = [old if old.key != task.key else task for old in base.base_tasks.values()]
        return checked_plan({**settings, "tasks": TaskRegistry(known), "network": network, "depth": depth, "learn": learn})
    learned = learn if depth == "full" else ()
    return checked_plan({
        **settings,
        "tasks": TaskRegistry([*known, task]),
        "network": network,
        "depth": depth,
        "learn": learned,
    })


def _check_task(base: Checkpoint, task: Task, depth: str) -> None:
    known = base.base_tasks.get(task.key) if task.key in base.base_tasks else None
    if known and depth == "pack":
        raise TaskError(
            f"the weights know a task {task.key!r} already", hint="Give yours another key, or train it with --depth full."
        )
    if known and depth == "full" and (known.labels, known.modalities) != (task.labels, task.modalities):
        raise TaskError(f"the weights know {task.key!r} with other structures or channels", hint="Give your task another key.")
    if depth == "pack" and len(task.modalities) not in base.config.stems:
        raise WeightsError(
            f"{task.title!r} has {len(task.modalities)} channels, a pack can have {', '.join(map(str, base.config.stems))} on these weights",
            hint="Train it with --depth full or backbone.",
        )


def start_net(plan: Plan, base: Checkpoint, pack: Pack | None = None) -> UniSegNet | PackNet:
    """The network to start from.

    pack: to go on from; its task and rank must be the plan's.

    Raises:
        WeightsError: the pack is another task's, or of another base.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        if plan.depth == "pack":
            return _pack_net(plan, base, pack)
        net = UniSegNet(plan.network)
    old = base.base_network()
    if plan.depth == "full":
        widen(net, old)
    else:
        take_backbone(net, old)
    return net


def _pack_net(plan: Plan, base: Checkpoint, pack: Pack | None) -> PackNet:
    [task] = plan.tasks.values()
    net = PackNet(base.base_network(), task.n_classes, plan.rank)
    if pack is None:
        return net
    pack.check(base.sha256, base.config)
    if (pack.facts.task.key, pack.facts.task.n_classes, pack.facts.rank) != (task.key, task.n_classes, plan.rank):
        raise WeightsError(
            f"the pack holds {pack.facts.task.key!r} at rank {pack.facts.rank}, the plan trains {task.key!r} at rank {plan.rank}"
        )
    net.load_own_state({name: tensor.float() for name, tensor in pack.weights.items()})
    return net


@torch.no_grad()
def widen(net: UniSegNet, old: UniSegNet) -> None:
    """Give a network with a task more the weights of the one before, so that the old tasks answer as they did."""
    known = old.state_dict()
    for name, tensor in net.state_dict().items():
        if name in known and not name.startswith("fusion"):  # else: the first convolution of another number of channels
            copy_leading(tensor, known[name])
    scales_of(net.fusion).fill_(scales_of(old.fusion).abs().mean())  # the new task's prompt as loud as the others
    grow_fusion(net.fusion, old.fusion, rows=slice(None))


@torch.no_grad()
def start_like(net: UniSegNet | PackNet, place: int, like: int) -> None:
    """Let the new task at ``place`` start with the prompt of an old one, and so with its answer."""
    if isinstance(net, PackNet):
        net.start_like(like)
        return
    last = blocks_of(net.fusion)[-1]
    for values in (last.conv.weight, last.conv.bias, last.norm.weight, last.norm.bias):
        assert values is not None, "convolutions have a bias"
        values[place] = values[like]


@torch.no_grad()
def nearest_task(
    net: UniSegNet | PackNet, plan: Plan, base: Checkpoint, batches: Sequence[Batch], device: torch.device
) -> str | None:
    """Key of the old task whose prompt explains the new one best: least loss over some batches. None: none has its channels.

    Without such a start a small structure is not found at all for hundreds of steps, because nothing is the best first guess.
    """
    task = list(plan.learned.values())[-1]
    candidates = [old for old in base.base_tasks.values() if old.modalities == task.modalities]
    losses = {old.key: 0.0 for old in candidates}
    source, loss = (net.base if isinstance(net, PackNet) else net), TaskLoss(batch_dice=plan.batch_dice)
    for batch in batches:
        features = net.encode(batch.images.to(device))
        prompts = source.prompts(features)
        for old in candidates:
            place = base.place(old)
            scales = net.decode_all_scales(features, prompts[:, place : place + 1])
            losses[old.key] += float(loss(scales, batch.labels.to(device), task.n_classes))
    return min(losses, key=lambda key: losses[key]) if losses else None


@torch.no_grad()
def take_backbone(net: UniSegNet, old: UniSegNet) -> None:
    """Give a network for one task the encoder and decoder of another; its prompt is zero and stays so, its heads are new."""
    known = old.state_dict()
    for name, tensor in net.state_dict().items():
        if name.startswith(("encoder", "upsample", "decoder")) and name in known:
            tensor.copy_(known[name])
    scales_of(net.fusion).zero_()  # of the last norm: whatever goes in, zero comes out
    net.universal_prompt.requires_grad_(False)
    net.fusion.requires_grad_(False)
