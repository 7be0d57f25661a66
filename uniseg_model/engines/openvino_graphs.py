"""The network as OpenVINO graphs, built layer by layer out of the network's own weights: nothing is traced or run for it.

    windows ──encoder graph──> sides, bottleneck, task prompts ──decoder graph (one prompt)──> class probabilities

What the skips add to the decoder does not depend on the prompt: the first convolution of each level takes two maps side by
side, so it is the sum of two convolutions, and the skip's half stands in the encoder graph (the "sides"). It is computed once
for all tasks, a third of the decoder's work. A decoder of its own, as a pack has, has sides of its own. They go from graph to graph
with the channels last, which is how OpenVINO keeps maps in itself: nothing is sorted anew at either end.

Letters: B batch, which is 1; C channels, T task prompts, K classes; Z, Y, X space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.network.blocks import SLOPE, Block, Stem
from uniseg_model.network.pack import LowRankConv, PackedNet, PackNet, blocks_of
from uniseg_model.network.uniseg import Decoder, UniSegNet

if TYPE_CHECKING:
    from openvino import Model, Node

op = openvino().opset13


def encoder_graph(net: UniSegNet | PackedNet, n_channels: int, decoders: Sequence[Decoder]) -> Model:
    """From a window (1, C, Z, Y, X) to what decodings need: the sides of each decoder, the bottleneck, the task prompts.

    The sides of a decoder are in the order of its levels, the deepest first. Without decoders there are only the prompts.
    """
    base, *packs = [net.base, *net.packs] if isinstance(net, PackedNet) else [net]
    window = _input((1, n_channels, *net.config.window))
    maps = _encoded(base, window, n_channels)
    prompts = _concat([_prompts(part, maps[-1]) for part in (base, *packs)])
    sides = [side for decoder in decoders for side in _sides(decoder, maps[:-1])]
    return openvino().Model([*sides, *(maps[-1:] if decoders else ()), prompts], [window], "encoder")


def decoder_graph(net: UniSegNet | PackedNet, decoder: Decoder) -> Model:
    """From the decoder's sides, the bottleneck and a prompt (1, 1, z, y, x), in this order, to probabilities (1, K, Z, Y, X)."""
    config, shape = net.config, np.array(net.config.prompt_shape)
    sides = []
    for n, stride in zip(reversed(config.features[:-1]), reversed(config.strides), strict=True):
        shape = shape * stride
        sides.append(_input((1, *shape, n)))
    bottleneck, prompt = (_input((1, n, *config.prompt_shape)) for n in (config.features[-1], 1))
    x = op.concat([bottleneck, prompt], 1)
    for level, side in enumerate(sides):
        x = _upsampled(x, decoder.upsample[level])
        first, second = _blocks_of(decoder, level)
        own = _convolved(x, _weight(first)[:, : x.get_output_shape(0)[1]])
        x = _normalised(op.add(own, _channels_first(side)), first.norm)
        x = _block(x, second)
    head: Any = decoder.heads[-1]
    logits = _convolved(x, head.weight)
    return openvino().Model([op.softmax(logits, 1)], [*sides, bottleneck, prompt], "decoder")


def _encoded(net: Any, x: Node, n_channels: int) -> list[Node]:
    """The skips from full resolution down, and the bottleneck."""
    maps = []
    for stage in net.encoder:
        for part in stage.children():
            if isinstance(part, Stem):
                conv: Any = part.convs[str(n_channels)]
                x = _normalised(_convolved(x, conv.weight, conv.bias), part.norm)
            elif isinstance(part, Block):
                x = _block(x, part)
        maps.append(x)
    return maps


def _prompts(net: Any, bottleneck: Node) -> Node:
    """The task prompts of the base, (1, T, z, y, x), or a pack's one."""
    own = isinstance(net, PackNet)
    universal = torch.cat([net.base.universal_prompt, net.prompt], dim=1) if own else net.universal_prompt
    x = op.concat([bottleneck, _constant(universal)], 1)
    for block in blocks_of(net.fusion):
        x = _block(x, block)
    return x


def _sides(decoder: Decoder, skips: Sequence[Node]) -> list[Node]:
    """What each skip adds to the first convolution of its level (1, Z, Y, X, C), the deepest first."""
    sides = []
    for level, skip in enumerate(reversed(skips)):
        first, _ = _blocks_of(decoder, level)
        weight = _weight(first)
        sides.append(_channels_last(_convolved(skip, weight[:, weight.shape[1] // 2 :], first.conv.bias)))
    return sides


def _block(x: Node, block: Block) -> Node:
    return _normalised(_convolved(x, _weight(block), block.conv.bias, block.conv.stride), block.norm)


def _convolved(x: Node, weight: Tensor, bias: Tensor | None = None, stride: Sequence[int] = (1, 1, 1)) -> Node:
    half = [side // 2 for side in weight.shape[2:]]
    y = op.convolution(x, _constant(weight), list(stride), half, half, [1, 1, 1])
    return y if bias is None else op.add(y, _constant(bias.view(1, -1, 1, 1, 1)))


def _upsampled(x: Node, conv: Any) -> Node:
    return op.convolution_backprop_data(x, _constant(conv.weight), list(conv.stride), pads_begin=[0, 0, 0], pads_end=[0, 0, 0])


def _normalised(x: Node, norm: nn.InstanceNorm3d) -> Node:
    """Instance norm and LeakyReLU.

    Not OpenVINO's own MVN: it adds up all voxels of a channel in one float32, and probabilities come out wrong by 3e-4 to
    1e-3. Sums along x, then y, then z are as exact as torch's, and faster. The reshapes keep OpenVINO from making one sum of
    them again. The mean of squares by way of the L2 norm squares while it reads, and writes no map.
    """
    mean = _axis_by_axis(op.reduce_mean, x)
    norm_of_all = _axis_by_axis(op.reduce_l2, x)
    n_voxels = float(np.prod(x.get_output_shape(0)[2:]))
    variance = op.subtract(op.multiply(op.multiply(norm_of_all, norm_of_all), _number(1 / n_voxels)), op.multiply(mean, mean))
    scale = op.divide(_constant(norm.weight.view(1, -1, 1, 1, 1)), op.sqrt(op.add(op.relu(variance), _number(norm.eps))))
    shift = op.subtract(_constant(norm.bias.view(1, -1, 1, 1, 1)), op.multiply(mean, scale))
    return op.prelu(op.add(op.multiply(x, scale), shift), op.constant(np.array([SLOPE], np.float32)))


def _axis_by_axis(reduce: Any, x: Node) -> Node:
    """A reduction over space (1, C, 1, 1, 1), along x, then y, then z."""
    _, c, z, y, _ = x.get_output_shape(0)
    x = reduce(x, _axes(4), False)
    x = reduce(_reshaped(x, 1, c * z, y), _axes(2), False)
    x = reduce(_reshaped(x, 1, c, z), _axes(2), False)
    return _reshaped(x, 1, c, 1, 1, 1)


def _channels_last(x: Node) -> Node:
    return op.transpose(x, _axes(0, 2, 3, 4, 1))


def _channels_first(x: Node) -> Node:
    return op.transpose(x, _axes(0, 4, 1, 2, 3))


def _blocks_of(decoder: Decoder, level: int) -> list[Block]:
    return blocks_of(decoder.decoder[level])


def _weight(block: Block) -> Tensor:
    """The weights of its convolution, a pack's update included."""
    conv = block.conv
    return conv.merged() if isinstance(conv, LowRankConv) else conv.weight


def _concat(nodes: list[Node]) -> Node:
    return op.concat(nodes, 1) if len(nodes) > 1 else nodes[0]


def _input(shape: Sequence[int]) -> Node:
    return op.parameter([int(side) for side in shape], np.float32)


def _constant(tensor: Tensor) -> Node:
    return op.constant(tensor.detach().contiguous().numpy(), np.float32)


def _number(value: float) -> Node:
    return op.constant(np.full((1, 1, 1, 1, 1), value, np.float32))


def _axes(*numbers: int) -> Node:
    return op.constant(np.array(numbers, np.int64))


def _reshaped(x: Node, *shape: int) -> Node:
    return op.reshape(x, _axes(*shape), False)
