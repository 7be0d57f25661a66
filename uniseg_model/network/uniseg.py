"""UniSeg (Ye et al., MICCAI 2023, arXiv:2304.03493): one U-Net for all tasks, told by a prompt which one is meant.

    x ──encode──> skips, bottleneck ──prompts──> one task prompt per task ──decode(one of them)──> class logits

``encode`` and ``prompts`` do not depend on the task, so several tasks share them. The task enters where the decoder
begins: its prompt is one more channel of the bottleneck. One decoder and one head serve all tasks; only the first
classes of the head, as many as the task has, mean anything.

Letters: B batch, C input channels, F bottleneck features, T tasks, K classes; Z, Y, X window, z, y, x bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uniseg_model.errors import GeometryError
from uniseg_model.network.blocks import SLOPE, Block, Stem
from uniseg_model.network.config import NetworkConfig

_LARGE_MAP = 2**24  # numbers in a map, 64 MB
_SLICES = 8  # convolved at a time
_FUSION_SHRINK = 4  # the fusion's hidden channels are a quarter of its input


@dataclass(frozen=True)
class Features:
    """What the encoder saw: skips from full resolution (B, F0, Z, Y, X) down, and the bottleneck (B, F, z, y, x)."""

    skips: tuple[Tensor, ...]
    bottleneck: Tensor


class Decoder(nn.Module):
    """The way from a prompt to logits; who inherits it brings the three parts."""

    upsample: nn.ModuleList
    decoder: nn.ModuleList
    heads: nn.ModuleList

    def decode(self, features: Features, prompt: Tensor) -> Tensor:
        """Class logits (B, K, Z, Y, X) under one task prompt per window, (B, 1, z, y, x)."""
        return self._decode(features, prompt, every_scale=False)[0]

    def decode_all_scales(self, features: Features, prompt: Tensor) -> list[Tensor]:
        """Class logits at each resolution, full resolution first: what deep supervision learns from."""
        return self._decode(features, prompt, every_scale=True)

    def _decode(self, features: Features, prompt: Tensor, *, every_scale: bool) -> list[Tensor]:
        # Flat on purpose: a name rebound frees the map before it, which saves 0.2 GB of a full-size window.
        x = torch.cat([features.bottleneck, prompt], dim=1)  # (B, F + 1, z, y, x)
        logits = []
        for level, skip in enumerate(reversed(features.skips)):
            x = self.upsample[level](x)
            first, *others = _blocks(self.decoder[level])
            x = _convolve_joined(first.conv, x, skip)
            x = first.act(first.norm(x))
            for block in others:
                x = block.conv(x)
                x = block.act(block.norm(x))
            if every_scale or level == len(features.skips) - 1:
                logits.append(self.heads[level](x))
        return logits[::-1]


class UniSegNet(Decoder):
    """The network. Its weights start as in the original: He normal, biases 0, prompt standard normal."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        features, strides = config.features, config.strides
        stem = Stem(config.stems, features[0], config.kernels[0])
        first = nn.Sequential(stem, Block(features[0], features[0], config.kernels[0]))
        deeper = [_stage(*pair) for pair in zip(features, features[1:], config.kernels[1:], strides, strict=False)]
        self.encoder = nn.ModuleList([first, *deeper])
        self.universal_prompt = nn.Parameter(torch.randn(1, config.n_tasks, *config.prompt_shape))
        self.fusion = fusion(features[-1] + config.n_tasks, config.n_tasks)
        below = [features[-1] + 1, *reversed(features[1:-1])]  # + 1: the task prompt
        beside = list(reversed(features[:-1]))
        steps = list(reversed(strides))
        self.upsample = nn.ModuleList(
            nn.ConvTranspose3d(i, o, s, stride=s, bias=False) for i, o, s in zip(below, beside, steps, strict=True)
        )
        self.decoder = nn.ModuleList(nn.ModuleList([Block(2 * n, n), Block(n, n)]) for n in beside)
        self.heads = nn.ModuleList(nn.Conv3d(n, config.n_classes, 1, bias=False) for n in beside)
        self.apply(initialise)

    def encode(self, x: Tensor) -> Features:
        """What all tasks share of windows (B, C, Z, Y, X).

        Raises:
            GeometryError: the windows are not of the size the prompt was made for.
            ModalityError: no first convolution for C channels.
        """
        if tuple(x.shape[2:]) != self.config.window:
            raise GeometryError(f"the network takes windows of {self.config.window} voxels, not {tuple(x.shape[2:])}")
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        return Features(tuple(skips[:-1]), skips[-1])

    def prompts(self, features: Features) -> Tensor:
        """The task prompts of these windows, (B, T, z, y, x): universal prompt and bottleneck, fused."""
        universal = self.universal_prompt.expand(len(features.bottleneck), -1, -1, -1, -1)
        fused: Tensor = self.fusion(torch.cat([features.bottleneck, universal], dim=1))  # (B, F + T) -> (B, T)
        return fused

    def own_state(self) -> dict[str, Tensor]:
        """All that is learned, by name."""
        return dict(self.state_dict())

    def load_own_state(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`own_state` gave."""
        self.load_state_dict(dict(weights))

    def decoder_of(self, place: int) -> Decoder:
        """What decodes the task at a place: one decoder serves them all."""
        return self

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        """Class logits (B, K, Z, Y, X) of windows (B, C, Z, Y, X), each under its own task.

        tasks: (B,) int64, places in the universal prompt.
        """
        features = self.encode(x)
        return self.decode(features, pick(self.prompts(features), tasks))


def _convolve_joined(conv: nn.Conv3d, up: Tensor, skip: Tensor) -> Tensor:
    """The convolution of two maps (B, C, Z, Y, X) side by side in C.

    Large maps on a CPU are joined and convolved a few slices at a time when nothing has to be learned: the same numbers
    to the bit, and 0.6 GB less for a full-size window, because the joined map never stands in memory.
    """
    if torch.is_grad_enabled() or up.device.type != "cpu" or up.numel() < _LARGE_MAP:
        return conv(torch.cat([up, skip], dim=1))  # type: ignore[no-any-return]
    n, halo = up.shape[2], conv.kernel_size[0] // 2
    out: Tensor | None = None
    for z in range(0, n, _SLICES):
        low, high = max(0, z - halo), min(n, z + _SLICES + halo)
        part = conv(torch.cat([up[:, :, low:high], skip[:, :, low:high]], dim=1))
        out = part.new_empty((*part.shape[:2], *up.shape[2:])) if out is None else out
        out[:, :, z : z + _SLICES] = part[:, :, z - low : z - low + min(_SLICES, n - z)]
    assert out is not None, "a map has slices"
    return out


def pick(prompts: Tensor, tasks: Tensor) -> Tensor:
    """Each window's own task prompt: (B, T, z, y, x) and tasks (B,) -> (B, 1, z, y, x)."""
    return prompts[torch.arange(len(prompts), device=prompts.device), tasks.to(prompts.device)].unsqueeze(1)


def _blocks(stage: nn.Module) -> list[Block]:
    return [block for block in stage.children() if isinstance(block, Block)]


def _stage(c_in: int, c_out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(Block(c_in, c_out, kernel, stride), Block(c_out, c_out, kernel))


def fusion(n_fused: int, n_prompts: int) -> nn.Sequential:
    """From bottleneck and universal prompt side by side, ``n_fused`` channels, to task prompts."""
    hidden = n_fused // _FUSION_SHRINK
    return nn.Sequential(Block(n_fused, hidden), Block(hidden, hidden), Block(hidden, n_prompts))


def initialise(module: nn.Module) -> None:
    """He normal weights and biases of 0 in a convolution, as in the original.

    Tensors without numbers are left alone: torch would load its compiler, for seconds, to draw none.
    """
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
