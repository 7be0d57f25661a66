"""One self-describing file: weights, network, tasks in prompt order, where they come from, under which licence.

The format is safetensors, which cannot run code, with one JSON document in its metadata under ``uniseg``. The SHA-256
is taken over names, types, shapes and bytes of the weights, so it names the weights and not the file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from uniseg_model.errors import UniSegError, WeightsError
from uniseg_model.files import whole_file
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import PackedNet
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.packs.file import Pack
from uniseg_model.tasks import Task, TaskRegistry, builtin_tasks
from uniseg_model.tensors import sha256_of

FORMAT = 1
KINDS = {
    "official": "imported from the UniSeg authors' checkpoint",
    "trained": "trained with this program",
    "demo": "demo weights, trained on synthetic phantoms only",
    "untrained": "UNTRAINED random weights: the labels mean nothing",
}


@dataclass(frozen=True)
class About:
    """Where weights come from.

    kind: one of ``KINDS``. history: plain facts for a curious reader.
    mirrored: whether they were trained on mirrored images, too; if not, mirroring does harm.
    """

    name: str
    kind: str
    licence: str
    history: Mapping[str, Any] = field(default_factory=dict)
    mirrored: bool = True


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights that know what they are.

    tasks: in prompt order: the place of a task is the only index there is. Those of the packs come last.
    weights: by the names of :class:`UniSegNet`'s state. packs: tasks that were added; see :meth:`with_packs`.

    Raises:
        WeightsError: the number of tasks or their classes do not fit the network.
    """

    config: NetworkConfig
    tasks: TaskRegistry
    weights: Mapping[str, Tensor] = field(repr=False)
    about: About
    packs: tuple[Pack, ...] = ()

    def __post_init__(self) -> None:
        if len(self.base_tasks) != self.config.n_tasks:
            raise WeightsError(
                f"the network has prompts for {self.config.n_tasks} tasks, the checkpoint names {len(self.base_tasks)}"
            )
        for task in self.base_tasks.values():
            if task.n_classes > self.config.n_classes:
                raise WeightsError(
                    f"task {task.key!r} has {task.n_classes} classes, the network's head gives {self.config.n_classes}"
                )

    @property
    def base_tasks(self) -> TaskRegistry:
        """The tasks of the weights themselves, without those of packs."""
        added = {pack.facts.task.key for pack in self.packs}
        return TaskRegistry(task for task in self.tasks.values() if task.key not in added)

    def with_packs(self, packs: Sequence[Pack]) -> Checkpoint:
        """The same weights with other tasks added, in this order; they take the place of those added before.

        Raises:
            WeightsError: a pack belongs to other weights. TaskError: two tasks have one key.
        """
        for pack in packs:
            pack.check(self.sha256, self.config)
        tasks = TaskRegistry([*self.base_tasks.values(), *(pack.facts.task for pack in packs)])
        return replace(self, tasks=tasks, packs=tuple(packs))

    def pack_of(self, task: Task) -> Pack | None:
        """The pack that a task comes from; None for one of the weights' own."""
        return next((pack for pack in self.packs if pack.facts.task.key == task.key), None)

    def n_outputs(self, task: Task) -> int:
        """Classes of the head that answers for a task; at least the task's own."""
        return task.n_classes if self.pack_of(task) else self.config.n_classes

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights without packs, 64 hexadecimal digits."""
        return sha256_of(self.weights)

    @property
    def n_parameters(self) -> int:
        """Number of learned numbers."""
        return sum(tensor.numel() for tensor in self.weights.values())

    def place(self, task: Task) -> int:
        """The task's channel in the universal prompt.

        Raises:
            TaskError: these weights were not trained on it.
        """
        return list(self.tasks).index(self.tasks[task.key].key)

    def network(self) -> UniSegNet | PackedNet:
        """The network with these weights and packs, float32, in evaluation mode.

        Raises:
            WeightsError: names or shapes of the weights do not fit the configuration.
        """
        base = self.base_network()
        return PackedNet(base, [pack.network(base) for pack in self.packs]).eval() if self.packs else base

    def base_network(self) -> UniSegNet:
        """The network without packs, float32, in evaluation mode.

        Raises:
            WeightsError: names or shapes of the weights do not fit the configuration.
        """
        check_state(self.config, self.weights)
        with torch.device("meta"):
            net = UniSegNet(self.config)
        net.load_state_dict({name: tensor.float() for name, tensor in self.weights.items()}, assign=True)
        return net.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; packs stay in files of their own.

        Raises:
            OutputError: it cannot be written.
        """
        facts = {
            "format": FORMAT,
            "network": self.config.to_dict(),
            "tasks": [task.to_dict() for task in self.base_tasks.values()],
            "about": {**vars(self.about), "history": dict(self.about.history)},
            "sha256": self.sha256,
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        with whole_file(path) as temporary:
            temporary.write_bytes(save(tensors, {"uniseg": json.dumps(facts)}))


def load_checkpoint(path: Path, *, verify: bool = False) -> Checkpoint:
    """The checkpoint in a file.

    verify: also compare the SHA-256 of the weights with the one written beside them (reads every byte).

    Raises:
        WeightsError: missing, truncated, foreign, written by a newer version, or damaged.
    """
    facts, weights = _read(path)
    if facts.get("format") != FORMAT:
        raise WeightsError(
            f"{path.name} has format {facts.get('format')}, this version reads format {FORMAT}", hint="Update UniSeg App."
        )
    try:
        tasks = TaskRegistry(Task.from_dict(task) for task in facts["tasks"])
        checkpoint = Checkpoint(NetworkConfig.from_dict(facts["network"]), tasks, weights, About(**facts["about"]))
        written = facts["sha256"]
    except (KeyError, TypeError, UniSegError) as exc:
        raise WeightsError(f"{path.name} describes itself wrongly: {exc}") from exc
    check_state(checkpoint.config, weights)
    if broken := next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None):
        raise WeightsError(
            f"{path.name} is damaged: {broken!r} holds values that are not numbers", hint="Copy or import it again."
        )
    if verify and checkpoint.sha256 != written:
        raise WeightsError(f"{path.name} is damaged: its weights have SHA-256 {checkpoint.sha256}, written was {written}")
    return checkpoint


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a weights file", hint="Name the .safetensors file in it.")
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {path}", hint="Import the authors' checkpoint with `uniseg weights import`."
        )
    if zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path.name} is a torch file, not a UniSeg checkpoint",
            hint=f"Import it first: uniseg weights import {path.name} -o uniseg.safetensors",
        )
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("uniseg", "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as exc:
        raise WeightsError(
            f"{path.name} is truncated or not a safetensors file: {exc}", hint="Copy or import it again."
        ) from exc
    if not isinstance(facts, dict):
        raise WeightsError(
            f"{path.name} is a safetensors file of another program: it does not describe a UniSeg network",
            hint="`uniseg weights import` makes one from the authors' checkpoint.",
        )
    return facts, weights


def check_state(config: NetworkConfig, weights: Mapping[str, Tensor]) -> None:
    """Compare names and shapes with what the configuration asks for.

    Raises:
        WeightsError: naming the first that is missing, superfluous or of another shape.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in UniSegNet(config).state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise WeightsError(f"the weights lack {name!r}: they belong to another network")
        if tuple(weights[name].shape) != shape:
            raise WeightsError(f"{name!r} has shape {tuple(weights[name].shape)}, the network needs {shape}")
    if surplus := sorted(set(weights) - set(expected)):
        raise WeightsError(f"the weights hold {surplus[0]!r}, which this network does not have")


def untrained(config: NetworkConfig, seed: int = 0) -> Checkpoint:
    """Freshly initialised weights for the eleven tasks: they segment nothing, and their ``about`` says so."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UniSegNet(config)
    about = About("untrained", "untrained", "Apache-2.0", {"seed": seed})
    return Checkpoint(config, builtin_tasks(), net.state_dict(), about)
