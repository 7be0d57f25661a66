"""The networks that UniSeg is compared with. Encoder, decoder, width and interface are UniSeg's; what tells the task differs.

``uniseg_loud``   UniSeg itself, whose task prompts start ten times as large as the published code's: as our demo weights did
``plain``         a U-Net that is told nothing: for one task
``dynamic_head``  DoDNet's idea (Zhang et al., CVPR 2021): the task and the pooled bottleneck make the weights of the last layers
``late_prompt``   a learned prompt for each task that does not depend on the image, joined to the map before the last decoder stage

``prompts`` gives each task's numbers (B, T, N), so ``pick`` and all that trains or asks UniSeg works unchanged.
Coarser scales serve deep supervision only. UniSeg's know the task; so that the late ones are not taught nonsense there,
each of their coarser scales has a head for every task.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from uniseg_model.network.blocks import SLOPE
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import Features, UniSegNet
from uniseg_model.training.trainer import scale_prompts

_LOUD = 10.0  # times
_DYNAMIC = 8  # channels of the generated layers, as in DoDNet


class PlainUNet(UniSegNet):
    """The same U-Net without prompt and fusion."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        del self.universal_prompt, self.fusion
        self._last = len(self.upsample) - 1
        self._feed(0, config.features[-1])

    def _feed(self, level: int, n_channels: int) -> None:
        """A fresh transposed convolution for another number of input channels."""
        old = self.upsample[level]
        assert isinstance(old, nn.ConvTranspose3d)
        stride: tuple[int, ...] = old.stride
        fresh = nn.ConvTranspose3d(n_channels, old.out_channels, stride, stride=stride, bias=False)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(fresh.weight, a=SLOPE)
        self.upsample[level] = fresh

    def prompts(self, features: Features) -> Tensor:
        """Nothing, for each task: (B, T, 0)."""
        return features.bottleneck.new_empty(len(features.bottleneck), self.config.n_tasks, 0)

    def _decode(self, features: Features, prompt: Tensor, *, every_scale: bool) -> list[Tensor]:
        x = features.bottleneck  # (B, F, z, y, x)
        logits = []
        for level, skip in enumerate(reversed(features.skips)):
            x = torch.cat([self.upsample[level](self._before(level, x, prompt)), skip], dim=1)
            for block in self.decoder[level].children():
                x = block(x)
            if every_scale or level == self._last:
                logits.append(self._answer(level, x, prompt))
        return logits[::-1]

    def _before(self, level: int, x: Tensor, prompt: Tensor) -> Tensor:
        """The map that enters a decoder stage."""
        return x

    def _answer(self, level: int, x: Tensor, prompt: Tensor) -> Tensor:
        """Class logits (B, K, z, y, x) of a decoder stage's map."""
        logits: Tensor = self.heads[level](x)
        return logits


class _ToldLate(PlainUNet):
    """Told by ``_numbers`` near the end, and by a head for each task at coarser scales; prompts are (B, T, N + T)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        n = config.n_tasks * config.n_classes
        for level, features in enumerate(reversed(config.features[1:-1])):
            head = nn.Conv3d(features, n, 1, bias=False)
            nn.init.kaiming_normal_(head.weight, a=SLOPE)
            self.heads[level] = head

    def prompts(self, features: Features) -> Tensor:
        """What each task has to say of these windows, then which task it is: (B, T, N + T)."""
        return torch.cat([self._numbers(features), self._one_hot(features)], dim=2)

    def _numbers(self, features: Features) -> Tensor:
        raise NotImplementedError

    def _one_hot(self, features: Features) -> Tensor:
        one_hot = torch.eye(self.config.n_tasks, device=features.bottleneck.device)
        return one_hot.expand(len(features.bottleneck), -1, -1)  # (B, T, T)

    def _answer(self, level: int, x: Tensor, prompt: Tensor) -> Tensor:
        if level == self._last:
            return super()._answer(level, x, prompt)
        head = self.heads[level]
        assert isinstance(head, nn.Conv3d)
        heads = head.weight.reshape(self.config.n_tasks, self.config.n_classes, x.shape[1])
        own = torch.einsum("tkc,bt->bkc", heads, prompt[:, 0, -self.config.n_tasks :])
        return torch.einsum("bkc,bczyx->bkzyx", own, x)


class DynamicHeadNet(_ToldLate):
    """The last three 1 x 1 x 1 convolutions are made for each window by a controller that sees bottleneck and task."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        widths = (config.features[0], _DYNAMIC, _DYNAMIC, config.n_classes)
        self._layers = list(pairwise(widths))
        self.controller = nn.Linear(config.features[-1] + config.n_tasks, sum(i * o + o for i, o in self._layers))
        self.heads = self.heads[:-1]

    def _numbers(self, features: Features) -> Tensor:
        pooled = features.bottleneck.mean(dim=(2, 3, 4)).unsqueeze(1).expand(-1, self.config.n_tasks, -1)  # (B, T, F)
        made: Tensor = self.controller(torch.cat([pooled, self._one_hot(features)], dim=2))
        return made

    def _answer(self, level: int, x: Tensor, prompt: Tensor) -> Tensor:
        if level < self._last:
            return super()._answer(level, x, prompt)
        sizes = [n for i, o in self._layers for n in (i * o, o)]
        numbers = torch.split(prompt[:, 0, : -self.config.n_tasks], sizes, dim=1)
        flat = x.flatten(2)  # (B, channels, voxels)
        for number, (i, o) in enumerate(self._layers):
            weight, bias = numbers[2 * number].reshape(-1, o, i), numbers[2 * number + 1].unsqueeze(2)
            flat = torch.baddbmm(bias, weight, functional.relu(flat) if number else flat)
        return flat.reshape(len(x), -1, *x.shape[2:])


class LatePromptNet(_ToldLate):
    """One learned prompt a task, as large as UniSeg's, stretched linearly over the map that enters the last decoder stage."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        z, y, x = config.prompt_shape
        self.fixed_prompts = nn.Parameter(torch.randn(config.n_tasks, z * y * x))
        self._feed(self._last, config.features[1] + 1)

    def _numbers(self, features: Features) -> Tensor:
        return self.fixed_prompts.expand(len(features.bottleneck), -1, -1)

    def _before(self, level: int, x: Tensor, prompt: Tensor) -> Tensor:
        if level < self._last:
            return x
        small = prompt[:, :, : -self.config.n_tasks].reshape(-1, 1, *self.config.prompt_shape)
        return torch.cat([x, functional.interpolate(small, x.shape[2:], mode="trilinear")], dim=1)


class LoudUniSegNet(UniSegNet):
    """UniSeg whose prompts are heard from the first step."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        scale_prompts(self, _LOUD)


NETWORKS: dict[str, type[UniSegNet]] = {
    "uniseg": UniSegNet, "uniseg_loud": LoudUniSegNet, "dynamic_head": DynamicHeadNet, "late_prompt": LatePromptNet, "plain": PlainUNet,
}  # fmt: skip


def fresh(name: str, config: NetworkConfig, seed: int) -> UniSegNet:
    """A network by its name, its weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name](config)


def n_parameters(net: nn.Module) -> int:
    """Number of learned numbers."""
    return sum(parameter.numel() for parameter in net.parameters())
