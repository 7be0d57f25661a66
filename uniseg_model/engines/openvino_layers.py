"""Layers of the network as OpenVINO operations, on maps of one window with a row of channels for each voxel.

So OpenVINO keeps maps in itself: turning them to the order of axes that a convolution wants, and back, moves nothing.
Convolutions have no bias: the instance norm behind each of them takes away what is the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.engines.winograd import tile
from uniseg_model.network.blocks import SLOPE

if TYPE_CHECKING:
    from openvino import Node

op = openvino().opset13

_WORTH_TILES = 24  # channels, below which making tiles costs more than they save


@dataclass(frozen=True)
class Map:
    """A map of features, a row for each voxel (Z Y X, C), with its slices in the order of their place in a tile.

    space: Z, Y, X. n: slices of a tile. First come the slices 0, n, 2 n and so on, then 1, n + 1, 2 n + 1 and so on, so that
    each part of a convolution in tiles reads and writes what lies together; 1 is the natural order.
    """

    node: Node
    space: tuple[int, ...]
    n: int = 1

    @property
    def n_channels(self) -> int:
        """Features of a voxel."""
        return int(self.node.get_output_shape(0)[1])

    def ordered(self, n: int) -> Map:
        """The same slices in the order of tiles of n."""
        if self.n == n:
            return self
        z = self.space[0]
        natural = self.node if self.n == 1 else self._turned(self.node, self.n, z // self.n)
        return Map(natural if n == 1 else self._turned(natural, z // n, n), self.space, n)

    def _turned(self, node: Node, rows: int, columns: int) -> Node:
        """Slices that lie row by row, column by column."""
        turned = op.transpose(reshaped(node, rows, columns, -1), axes(1, 0, 2))
        return reshaped(turned, -1, self.n_channels)


def slices_of_tile(z: int, n_channels: int) -> int:
    """How many slices a tile has on maps of z slices and so many channels; 1: tiles would cost more than they save."""
    return next((n for n in (4, 2) if z % n == 0 and n_channels >= _WORTH_TILES), 1)


def convolved(x: Map, weight: Tensor, stride: Sequence[int] = (1, 1, 1)) -> Map:
    """A convolution padded with zeros. weight: (K, C, kz, ky, kx)."""
    depth, step = weight.shape[2], stride[0]
    n = slices_of_tile(x.space[0], weight.shape[0])
    if depth == step == 1:
        return _convolved_slices(x, weight[:, :, 0], stride[1:])
    if depth == 3 and step == 1 and n > 1:
        return convolved_in_tiles(x.ordered(n), weight, stride[1:])
    half = [side // 2 for side in weight.shape[2:]]
    return from_torch(op.convolution(to_torch(x.ordered(1)), constant(weight), list(stride), half, half, [1, 1, 1]))


def convolved_in_tiles(x: Map, weight: Tensor, stride: Sequence[int] = (1, 1)) -> Map:
    """The same for kernels of three along z, in tiles: of four slices, by six convolutions of slices in place of twelve."""
    matrices, (z, *side) = tile(x.n), x.space
    kernels = np.einsum("nz,kczyx->nkcyx", matrices.taps, weight.detach().double().numpy())
    inputs = [Map(part, (z // x.n, *side)) for part in _paired(_sums(matrices.inputs, _neighbours(x)))]
    products = [_convolved_slices(part, kernel, stride) for part, kernel in zip(inputs, kernels, strict=True)]
    outputs = _sums(matrices.back, _paired([product.node for product in products]))
    return Map(op.concat(outputs, 0), (z, *products[0].space[1:]), x.n)


def _convolved_slices(x: Map, weight: Any, stride: Sequence[int]) -> Map:
    """Each slice by itself, in whatever order. weight: (K, C, ky, kx)."""
    half = [side // 2 for side in weight.shape[2:]]
    slices = op.transpose(reshaped(x.node, *x.space, x.n_channels), axes(0, 3, 1, 2))
    y = op.convolution(slices, constant(weight), list(stride), half, half, [1, 1])
    return Map(reshaped(op.transpose(y, axes(0, 2, 3, 1)), -1, len(weight)), (x.space[0], *y.get_output_shape(0)[2:]), x.n)


def _neighbours(x: Map) -> list[Any]:
    """The slices before, in and after each tile, zeros beyond the ends: n + 2 maps of a slice a tile."""
    own = op.split(x.node, op.constant(np.int64(0)), x.n).outputs()
    slice_size = math.prod(x.space[1:])
    return [_shifted(own[-1], slice_size), *own, _shifted(own[0], -slice_size)]


def _shifted(x: Any, by: int) -> Node:
    """All rows so much further down, or up, and zeros in the place of the first, or the last."""
    return op.pad(x, axes(by, 0), axes(-by, 0), "constant", number(0.0))


def _paired(maps: Sequence[Any]) -> list[Any]:
    """The first two as they are, and sum and difference of each pair that follows."""
    pairs = zip(maps[2::2], maps[3::2], strict=True)
    return [*maps[:2], *(node for a, b in pairs for node in (op.add(a, b), op.subtract(a, b)))]


def _sums(matrix: np.ndarray, maps: Sequence[Any]) -> list[Node]:
    """A weighted sum of the maps for each row of the matrix."""
    return [_sum(row, maps) for row in matrix]


def _sum(weights: np.ndarray, maps: Sequence[Any]) -> Node:
    return reduce(op.add, [_times(node, weight) for weight, node in zip(weights, maps, strict=True) if weight])


def _times(x: Any, weight: float) -> Any:
    return x if weight == 1 else op.multiply(x, number(weight))


def upsampled(x: Map, weight: Tensor) -> Map:
    """A transposed convolution whose kernel is as large as its stride. weight: (C, K, kz, ky, kx)."""
    x = x if weight.shape[2] == 1 else x.ordered(1)
    stride = list(weight.shape[2:])
    y = op.convolution_backprop_data(to_torch(x), constant(weight), stride, pads_begin=[0, 0, 0], pads_end=[0, 0, 0])
    return from_torch(y, x.n)


def normalised(x: Map, norm: nn.InstanceNorm3d) -> Map:
    """Instance norm and LeakyReLU.

    Not OpenVINO's own MVN: it adds up all voxels of a channel in one float32, and probabilities come out wrong by 3e-4 to
    1e-3. Sums along x, then z, then y are as exact as torch's, and faster. The reshapes keep OpenVINO from making one sum of
    them again. The mean of squares by way of the L2 norm squares while it reads, and writes no map.
    """
    mean, norm_of_all = (_axis_by_axis(reduction, x) for reduction in (op.reduce_mean, op.reduce_l2))
    n_voxels = math.prod(x.space)
    variance = op.subtract(op.multiply(op.multiply(norm_of_all, norm_of_all), number(1 / n_voxels)), op.multiply(mean, mean))
    scale = op.divide(constant(norm.weight), op.sqrt(op.add(op.relu(variance), number(norm.eps))))
    shift = op.subtract(constant(norm.bias), op.multiply(mean, scale))
    y = op.prelu(op.add(op.multiply(x.node, scale), shift), op.constant(np.array([SLOPE], np.float32)))
    return Map(y, x.space, x.n)


def _axis_by_axis(reduction: Any, x: Map) -> Node:
    """A reduction over space (C,), along x, then z, then y."""
    z, y, x_side = x.space
    node = reduction(reshaped(x.node, z * y, x_side, -1), axes(1), False)
    node = reduction(reshaped(node, z, -1), axes(0), False)
    return reduction(reshaped(node, y, -1), axes(0), False)


def side_by_side(maps: Sequence[Map]) -> Map:
    """The channels of all maps in one."""
    return Map(op.concat([x.ordered(1).node for x in maps], 1), maps[0].space) if len(maps) > 1 else maps[0]


def added(x: Map, y: Map) -> Map:
    """The sum of two maps."""
    return Map(op.add(x.node, y.ordered(x.n).node), x.space, x.n)


def from_torch(x: Node, n: int = 1) -> Map:
    """Of (1, C, Z, Y, X), in the order of tiles of n."""
    _, c, *space = x.get_output_shape(0)
    return Map(reshaped(op.transpose(x, axes(0, 2, 3, 4, 1)), -1, c), tuple(space), n)


def to_torch(x: Map) -> Node:
    """(1, C, Z, Y, X), in the map's order of slices."""
    return op.transpose(reshaped(x.node, 1, *x.space, x.n_channels), axes(0, 4, 1, 2, 3))


def constant(values: Any) -> Node:
    """Numbers that do not change, a parameter of torch's among them."""
    values = values.detach().numpy() if isinstance(values, Tensor) else values
    return op.constant(np.ascontiguousarray(values, np.float32))


def number(value: float) -> Node:
    """One number."""
    return op.constant(np.float32(value))


def axes(*numbers: int) -> Node:
    """Numbers of axes, or of voxels."""
    return op.constant(np.array(numbers, np.int64))


def reshaped(x: Any, *shape: int) -> Node:
    """The same values in another shape."""
    return op.reshape(x, axes(*shape), False)
