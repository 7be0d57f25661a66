"""The network as OpenVINO graphs, built out of the network's own weights: nothing is traced or run for it.

    windows ──encoder graph──> sides, bottleneck, task prompts ──decoder graph (one prompt)──> class probabilities

What the skips add to the decoder does not depend on the prompt: the first convolution of each level takes two maps side by
side, so it is the sum of two convolutions, and the skip's half stands in the encoder graph (the "sides"). It is computed once
for all tasks, a third of the decoder's work. A decoder of its own, as a pack has, has sides of its own.

Letters: B batch, which is 1; C channels, T task prompts, K classes; Z, Y, X space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from uniseg_model.engines import openvino_layers as layers
from uniseg_model.engines.openvino_layers import Map
from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.network.blocks import Block, Stem
from uniseg_model.network.pack import LowRankConv, PackedNet, PackNet, blocks_of
from uniseg_model.network.uniseg import Decoder, UniSegNet

if TYPE_CHECKING:
    from openvino import Model, Node

op = openvino().opset13


def encoder_graph(net: UniSegNet | PackedNet, n_channels: int, decoders: Sequence[Decoder]) -> Model:
    """From a window (1, C, Z, Y, X) to what decodings need: the sides of each decoder, the bottleneck, the task prompts.

    The sides of a decoder are in the order of its levels, the deepest first. Without decoders there are only the prompts,
    (1, T, z, y, x); all else has a row of channels for each voxel, (Z Y X, C).
    """
    base, *packs = [net.base, *net.packs] if isinstance(net, PackedNet) else [net]
    window = _input(1, n_channels, *net.config.window)
    first = layers.from_torch(window).ordered(layers.slices_of_tile(net.config.window[0], net.config.features[0]))
    maps = _encoded(base, first, n_channels)
    prompts = layers.side_by_side([_prompts(part, maps[-1]) for part in (base, *packs)])
    sides = [side for decoder in decoders for side in _sides(decoder, maps[:-1])]
    needed = [*(side.node for side in sides), *(x.ordered(1).node for x in maps[-1:] if decoders)]
    return openvino().Model([*needed, layers.to_torch(prompts.ordered(1))], [window], "encoder")


def decoder_graph(net: UniSegNet | PackedNet, decoder: Decoder) -> Model:
    """From the decoder's sides, the bottleneck and a prompt (1, 1, z, y, x), in this order, to probabilities (1, K, Z, Y, X)."""
    config, sides = net.config, []
    space: tuple[int, ...] = config.prompt_shape
    for n, stride in zip(reversed(config.features[:-1]), reversed(config.strides), strict=True):
        space = tuple(side * step for side, step in zip(space, stride, strict=True))
        sides.append(_input_map(space, n, layers.slices_of_tile(space[0], n)))
    bottleneck, prompt = _input_map(config.prompt_shape, config.features[-1]), _input(1, 1, *config.prompt_shape)
    x = layers.side_by_side([bottleneck, layers.from_torch(prompt)])
    for level, side in enumerate(sides):
        up: Any = decoder.upsample[level]
        first, second = _blocks_of(decoder, level)
        x = layers.upsampled(x, up.weight)
        own = layers.convolved(x, _weight(first)[:, : x.n_channels])
        x = _block(layers.normalised(layers.added(own, side), first.norm), second)
    head: Any = decoder.heads[-1]
    logits = layers.convolved(x, head.weight).ordered(1)
    probabilities = op.softmax(layers.to_torch(logits), 1)
    return openvino().Model([probabilities], [*(x.node for x in (*sides, bottleneck)), prompt], "decoder")


def _encoded(net: Any, x: Map, n_channels: int) -> list[Map]:
    """The skips from full resolution down, and the bottleneck."""
    maps = []
    for stage in net.encoder:
        for part in stage.children():
            if isinstance(part, Stem):
                conv: Any = part.convs[str(n_channels)]
                x = layers.normalised(layers.convolved(x, conv.weight), part.norm)
            elif isinstance(part, Block):
                x = _block(x, part)
        maps.append(x)
    return maps


def _prompts(net: Any, bottleneck: Map) -> Map:
    """The task prompts of the base, (z, y, x, T), or a pack's one."""
    own = isinstance(net, PackNet)
    universal = torch.cat([net.base.universal_prompt, net.prompt], dim=1) if own else net.universal_prompt
    x = layers.side_by_side([bottleneck, layers.from_torch(layers.constant(universal))])
    for block in blocks_of(net.fusion):
        x = _block(x, block)
    return x


def _sides(decoder: Decoder, skips: Sequence[Map]) -> list[Map]:
    """What each skip adds to the first convolution of its level, the deepest first."""
    weights = [_weight(_blocks_of(decoder, level)[0]) for level in range(len(skips))]
    return [
        layers.convolved(skip, weight[:, weight.shape[1] // 2 :]) for skip, weight in zip(reversed(skips), weights, strict=True)
    ]


def _block(x: Map, block: Block) -> Map:
    return layers.normalised(layers.convolved(x, _weight(block), block.conv.stride), block.norm)


def _blocks_of(decoder: Decoder, level: int) -> list[Block]:
    return blocks_of(decoder.decoder[level])


def _weight(block: Block) -> Tensor:
    """The weights of its convolution, a pack's update included."""
    conv = block.conv
    return conv.merged() if isinstance(conv, LowRankConv) else conv.weight


def _input_map(space: Sequence[int], n_channels: int, n: int = 1) -> Map:
    return Map(_input(math.prod(space), n_channels), tuple(space), n)


def _input(*shape: int) -> Node:
    return op.parameter([int(side) for side in shape], np.float32)
