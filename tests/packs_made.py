"""Packs for tests: real ones over tiny networks, with random numbers for what training would have found."""

from __future__ import annotations

import torch

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.network.pack import own_shapes
from uniseg_model.packs.facts import PackFacts
from uniseg_model.packs.file import Pack
from uniseg_model.tasks import Label, Task

NEW = Task("gland", "Gland", ("CT",), (Label("gland", "#0072B2"), Label("duct", "#E69F00")), (3.0, 3.0, 3.0), ("hu",))


def made_pack(base: Checkpoint, task: Task = NEW, *, rank: int = 2, seed: int = 0) -> Pack:
    """A pack that changes every part it may."""
    draw = torch.Generator().manual_seed(seed)
    shapes = own_shapes(base.config, task.n_classes, rank)
    weights = {name: 0.3 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    facts = PackFacts(task, base.sha256, base.about.name, rank, "CC0-1.0", {"gland": 0.9, "duct": None}, False, {"step": 3})
    return Pack(facts, weights)
