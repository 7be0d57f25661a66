"""A task that was added later, on a base that does not change: what a task pack is made of.

A new channel of the universal prompt would enter the first convolution of the fusion and so disturb every old task. A pack
brings parts of its own instead, and reads the base's:

    its prompt channel            beside the base's, which stay as they are
    its fusion branch             bottleneck, the base's universal prompt and its own -> its task prompt
    its norms in the decoder      scales and shifts, started at the base's
    low-rank updates              of the decoder's convolutions: up (out, r) times down (r, in, 3, 3, 3), started at zero
    its heads                     as many classes as the task has, started at the base's

Prompt and fusion alone teach a frozen decoder nothing, the norms much, the updates nearly all of full fine-tuning:
docs/own-data.md. Nothing of the base is written to, so the old tasks' logits stay the same to the bit.

Letters: B batch, F bottleneck features, T tasks of the base; z, y, x bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from uniseg_model.network.blocks import Block
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import Decoder, Features, UniSegNet, fusion, initialise, pick

_BORROWED = ("base.", "upsample.")


class LowRankConv(nn.Conv3d):
    """A frozen convolution and a learned update of low rank, computed as one convolution."""

    def __init__(self, conv: nn.Conv3d, rank: int) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, device="meta")  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias
        self.down = nn.Parameter(torch.empty(rank, *conv.weight.shape[1:], device=conv.weight.device))
        self.up = nn.Parameter(torch.zeros(conv.out_channels, rank, device=conv.weight.device))
        nn.init.kaiming_normal_(self.down)

    def forward(self, input: Tensor) -> Tensor:
        """(B, in, Z, Y, X) -> (B, out, Z, Y, X)."""
        out: Tensor = self._conv_forward(input, self.merged(), self.bias)
        return out

    def merged(self) -> Tensor:
        """The weights with their update (out, in, z, y, x)."""
        weight: Tensor = self.weight + torch.tensordot(self.up, self.down, dims=1)
        return weight


class PackNet(Decoder):
    """One added task over a base network, which is frozen by it and shared, not copied.

    n_classes: with background; the task's own, because the heads are its own. rank: of the updates.
    """

    def __init__(self, base: UniSegNet, n_classes: int, rank: int) -> None:
        super().__init__()
        config, device = base.config, base.universal_prompt.device
        self.config = config
        self.base = base.requires_grad_(False)
        with device, torch.no_grad():
            self.prompt = nn.Parameter(torch.randn(1, 1, *config.prompt_shape))
            self.fusion = fusion(config.features[-1] + config.n_tasks + 1, 1).apply(initialise)
            loudness = scales_of(base.fusion).abs().mean()
            nn.init.zeros_(scales_of(self.fusion)).add_(loudness)  # as loud as the base's prompts: its decoder listens to such
            self.heads = nn.ModuleList(nn.Conv3d(n, n_classes, 1, bias=False) for n in reversed(config.features[:-1]))
            self.heads.apply(initialise)
            for own, known in zip(self.heads.parameters(), base.heads.parameters(), strict=True):
                copy_leading(own, known)
        self.upsample = base.upsample
        self.decoder = nn.ModuleList(nn.ModuleList(_adapted(block, rank) for block in blocks_of(s)) for s in base.decoder)

    def encode(self, x: Tensor) -> Features:
        """See :meth:`UniSegNet.encode`; nothing can be learned there."""
        with torch.no_grad():
            return self.base.encode(x)

    def prompts(self, features: Features) -> Tensor:
        """The task's prompt of these windows, (B, 1, z, y, x)."""
        universal = torch.cat([self.base.universal_prompt, self.prompt], dim=1)  # (1, T + 1, z, y, x)
        universal = universal.expand(len(features.bottleneck), -1, -1, -1, -1)
        fused: Tensor = self.fusion(torch.cat([features.bottleneck, universal], dim=1))  # (B, F + T + 1) -> (B, 1)
        return fused

    @torch.no_grad()
    def start_like(self, place: int) -> None:
        """Answer as the base answers its task at ``place``, as far as there are classes for it: a start that finds something."""
        grow_fusion(self.fusion, self.base.fusion, rows=slice(place, place + 1))

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        """Class logits of windows (B, C, Z, Y, X); ``tasks`` (B,) are all 0, as there is one."""
        features = self.encode(x)
        return self.decode(features, pick(self.prompts(features), tasks))

    def own_state(self) -> dict[str, Tensor]:
        """What a pack is made of, by name."""
        return {name: tensor for name, tensor in self.state_dict().items() if _is_own(name)}

    def load_own_state(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`own_state` gave; the names must be the same."""
        own = self.own_state()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])


class PackedNet(nn.Module):
    """A base and its packs as one network: the base's tasks first and computed as ever, then each pack's."""

    def __init__(self, base: UniSegNet, packs: Sequence[PackNet]) -> None:
        super().__init__()
        self.config, self.base, self.packs = base.config, base, nn.ModuleList(packs)

    def encode(self, x: Tensor) -> Features:
        """See :meth:`UniSegNet.encode`."""
        return self.base.encode(x)

    def prompts(self, features: Features) -> Tensor:
        """The task prompts of the base, then one a pack: (B, T + packs, z, y, x)."""
        return torch.cat([self.base.prompts(features), *(pack.prompts(features) for pack in self._packs())], dim=1)

    def decode(self, features: Features, prompt: Tensor) -> Tensor:
        """Class logits of the base's decoder; see :meth:`decoder_of` for a pack's."""
        return self.base.decode(features, prompt)

    def decoder_of(self, place: int) -> Decoder:
        """What decodes the task at a place of :meth:`prompts`."""
        n_tasks = self.config.n_tasks
        return self.base if place < n_tasks else self._packs()[place - n_tasks]

    def _packs(self) -> list[PackNet]:
        return [pack for pack in self.packs if isinstance(pack, PackNet)]


def own_shapes(config: NetworkConfig, n_classes: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a pack's weights; nothing is allocated for it."""
    with torch.device("meta"):
        net = PackNet(UniSegNet(config), n_classes, rank)
    return {name: tuple(tensor.shape) for name, tensor in net.own_state().items()}


def copy_leading(tensor: Tensor, known: Tensor) -> None:
    """Overwrite the part of a tensor that a smaller or larger one covers."""
    place = tuple(slice(0, min(a, b)) for a, b in zip(tensor.shape, known.shape, strict=True))
    tensor[place] = known[place]


def grow_fusion(grown: nn.Sequential, known: nn.Sequential, rows: slice) -> None:
    """Give a fusion with more inputs the weights of another, so that its first outputs are the ``rows`` of that one's.

    What is new in it listens to all, and nothing old listens to what is new: those weights start at zero.
    """
    for level, (new, old) in enumerate(zip(blocks_of(grown), blocks_of(known), strict=True)):
        chosen = rows if level == len(known) - 1 else slice(None)
        weight = old.conv.weight[chosen]
        copy_leading(new.conv.weight, weight)
        new.conv.weight[: len(weight), weight.shape[1] :] = 0
        for name, values in (("bias", old.conv.bias), ("weight", old.norm.weight), ("bias", old.norm.bias)):
            assert values is not None, "convolutions have a bias"
            copy_leading(getattr(new.conv if values is old.conv.bias else new.norm, name), values[chosen])


def _is_own(name: str) -> bool:
    return not name.startswith(_BORROWED) and not (name.startswith("decoder.") and ".conv." in name and name.endswith(("weight", "bias")))  # fmt: skip


def _adapted(block: Block, rank: int) -> Block:
    """The block with an update of its convolution and a norm of its own that starts as the base's."""
    with torch.device("meta"):
        own = Block(block.conv.in_channels, block.conv.out_channels)
    own.conv = LowRankConv(block.conv, rank)
    own.norm = nn.InstanceNorm3d(block.conv.out_channels, affine=True, device=block.conv.weight.device)
    own.norm.load_state_dict(block.norm.state_dict())
    return own


def scales_of(fusion_branch: nn.Module) -> nn.Parameter:
    """The scales of its last norm: how loud the prompts are."""
    return blocks_of(fusion_branch)[-1].norm.weight


def blocks_of(stage: nn.Module) -> list[Block]:
    """The blocks of a stage or a fusion, in order."""
    return [block for block in stage.children() if isinstance(block, Block)]
