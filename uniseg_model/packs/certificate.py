"""The proof of no forgetting: logits of every old task, with and without the packs, compared to the last bit.

Both networks see the same made-up windows, one for each number of channels, in float32 on the CPU. That a pack cannot change
the base follows from how it is built; the certificate shows that it did not, on this machine, with these files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.network.pack import PackedNet
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.tensors import sha256_of

_SEED = 20230407


@dataclass(frozen=True)
class Certificate:
    """What was compared. before, after: by key of an old task, SHA-256 of its logits without and with the packs.

    base: SHA-256 of the weights. packs: by key of an added task, SHA-256 of its pack.
    """

    base: str
    packs: Mapping[str, str]
    before: Mapping[str, str] = field(repr=False)
    after: Mapping[str, str] = field(repr=False)

    @property
    def changed(self) -> list[str]:
        """Keys of the old tasks whose logits differ; none is the promise."""
        return [key for key, logits in self.before.items() if self.after[key] != logits]

    def sentence(self) -> str:
        """The finding in words."""
        added = ", ".join(self.packs) or "nothing"
        if self.changed:
            return f"{len(self.changed)} of {len(self.before)} old tasks answer differently with {added} added: {', '.join(self.changed)}."
        return f"All {len(self.before)} old tasks answer exactly as before, to the last bit, with {added} added."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tasks = {key: {"before": logits, "after": self.after[key]} for key, logits in self.before.items()}
        return {"sentence": self.sentence(), "unchanged": not self.changed, "base": self.base, "packs": dict(self.packs), "logits_sha256": tasks}  # fmt: skip


def certify(checkpoint: Checkpoint, progress: ProgressHook = ignore_progress) -> Certificate:
    """Compare the weights with their packs and without. Takes two windows' time a task.

    Raises:
        Cancelled: the hook wanted it so.
    """
    packs = {pack.facts.task.key: pack.sha256 for pack in checkpoint.packs}
    total = 2 * len(checkpoint.base_tasks)
    before = logit_hashes(checkpoint.base_network(), checkpoint, lambda done: progress(Progress("certify", done, total)))
    after = logit_hashes(checkpoint.network(), checkpoint, lambda done: progress(Progress("certify", total / 2 + done, total)))
    return Certificate(checkpoint.sha256, packs, before, after)


def logit_hashes(
    net: UniSegNet | PackedNet, checkpoint: Checkpoint, tick: Callable[[float], None] = lambda done: None
) -> dict[str, str]:
    """SHA-256 of the logits of each of the weights' own tasks on a made-up window, by key."""
    windows = torch.Generator().manual_seed(_SEED)
    found: dict[str, str] = {}
    for n_channels in sorted({len(task.modalities) for task in checkpoint.base_tasks.values()}):
        window = torch.randn(1, n_channels, *checkpoint.config.window, generator=windows)
        with torch.inference_mode():
            features = net.encode(window)
            prompts = net.prompts(features)
            for place, task in enumerate(checkpoint.base_tasks.values()):
                if len(task.modalities) == n_channels:
                    tick(len(found))
                    logits = net.decoder_of(place).decode(features, prompts[:, place : place + 1])
                    found[task.key] = sha256_of({"logits": logits})
    return {key: found[key] for key in checkpoint.base_tasks}
