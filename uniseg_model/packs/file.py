"""A pack as it lies on the disk and as it is used: facts, and weights that fit the base to the last name and shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from uniseg_model.errors import WeightsError
from uniseg_model.files import whole_file
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import PackNet, own_shapes
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.packs.facts import PackFacts, read_facts
from uniseg_model.tensors import sha256_of

_TYPES = (torch.float16, torch.float32)


@dataclass(frozen=True, eq=False)
class Pack:
    """One added task. weights: by the names of :meth:`PackNet.own_state`."""

    facts: PackFacts
    weights: Mapping[str, Tensor] = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights, 64 hexadecimal digits."""
        return sha256_of(self.weights)

    @property
    def n_parameters(self) -> int:
        """Number of learned numbers."""
        return sum(tensor.numel() for tensor in self.weights.values())

    def check(self, base: str, config: NetworkConfig) -> None:
        """Refuse a base that is not the one this pack was trained on.

        base: its SHA-256.

        Raises:
            WeightsError: another base, or names and shapes that do not fit its network.
        """
        facts = self.facts
        check_base(facts, base)
        if len(facts.task.modalities) not in config.stems:
            raise WeightsError(f"the pack {facts.task.key!r} needs {len(facts.task.modalities)} channels, the base takes "
                               f"{', '.join(map(str, config.stems))}")  # fmt: skip
        shapes = own_shapes(config, facts.task.n_classes, facts.rank)
        if odd := sorted(set(shapes) ^ set(self.weights)):
            raise WeightsError(f"the pack {facts.task.key!r} {'lacks' if odd[0] in shapes else 'has a superfluous'} {odd[0]!r}")
        for name, shape in shapes.items():
            if tuple(self.weights[name].shape) != shape:
                raise WeightsError(
                    f"{name!r} of the pack {facts.task.key!r} has shape {tuple(self.weights[name].shape)}, not {shape}"
                )

    def network(self, base: UniSegNet) -> PackNet:
        """The pack over its base, in evaluation mode. The base is shared and frozen."""
        net = PackNet(base, self.facts.task.n_classes, self.facts.rank)
        net.load_own_state({name: tensor.float() for name, tensor in self.weights.items()})
        return net.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        """Write the file in half precision, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in self.weights.items()}
        facts = replace(self.facts, sha256=sha256_of(halves))
        with whole_file(path) as temporary:
            temporary.write_bytes(save(halves, {"uniseg_pack": json.dumps(facts.to_dict())}))


def check_base(facts: PackFacts, base: str) -> None:
    """Refuse a base that is not the pack's.

    Raises:
        WeightsError: it is another.
    """
    if facts.base != base:
        raise WeightsError(
            f"the pack {facts.task.key!r} belongs to the weights {facts.base_name!r} ({facts.base[:12]}), not to these ({base[:12]})",
            hint="Choose those weights with --weights, or train the task again on these.",
        )


def load_pack(path: Path) -> Pack:
    """The pack in a file, as its hash says it is.

    Raises:
        WeightsError: missing, too large, truncated, a pickle, described wrongly, or damaged.
    """
    facts = read_facts(path)
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as exc:
        raise WeightsError(f"{path.name} is truncated or not a safetensors file: {exc}", hint="Copy it again.") from exc
    if odd := next((name for name, tensor in weights.items() if tensor.dtype not in _TYPES), None):
        raise WeightsError(f"{path.name} was refused: {odd!r} holds {weights[odd].dtype}, weights are float16 or float32")
    if broken := next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None):
        raise WeightsError(f"{path.name} is damaged: {broken!r} holds values that are not numbers", hint="Copy it again.")
    pack = Pack(facts, weights)
    if pack.sha256 != facts.sha256:
        raise WeightsError(f"{path.name} is damaged: its weights have SHA-256 {pack.sha256}, written was {facts.sha256 or 'none'}",
                           hint="Copy it again.")  # fmt: skip
    return pack
