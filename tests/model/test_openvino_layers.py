"""Convolutions in tiles give what the slow obvious convolution gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_checkpoint

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.engines.choice import make_engine
from uniseg_model.engines.openvino_quietly import is_installed, openvino
from uniseg_model.engines.winograd import butterfly, tile
from uniseg_model.network.config import NetworkConfig

if not is_installed():
    pytest.skip('OpenVINO is not installed: pip install "uniseg-app[cpu]"', allow_module_level=True)

from uniseg_model.engines import openvino_layers as layers
from uniseg_model.engines.openvino_layers import Map


def computed(values: torch.Tensor, work: Callable[[Map], Any]) -> torch.Tensor:
    """What a graph makes of (1, C, Z, Y, X)."""
    window = layers.op.parameter(list(values.shape), np.float32)
    answer = work(layers.from_torch(window))
    model = openvino().Model(
        [answer if not isinstance(answer, Map) else layers.to_torch(answer.ordered(1))], [window], "layers"
    )
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return torch.from_numpy(openvino().Core().compile_model(model, "CPU", options)([values.float().numpy()])[0])


def made(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=shape))


@pytest.mark.parametrize("n", [2, 4])
def test_a_tile_gives_what_the_filter_gives(n: int, rng: np.random.Generator) -> None:
    matrices, pairs = tile(n), butterfly(n // 2)
    values, taps = rng.normal(size=n + 2), rng.normal(size=3)
    products = (matrices.taps @ taps) * (pairs @ matrices.inputs @ values)
    np.testing.assert_allclose(matrices.back @ pairs @ products, np.convolve(values, taps[::-1], "valid"), atol=1e-12)


def test_the_matrices_of_two_outputs_are_those_of_the_literature() -> None:
    matrices = tile(2)  # Lavin and Gray 2016, rows 0, infinity, 1, -1 up to sign
    assert matrices.taps.tolist() == [[-1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5]]
    assert (butterfly(1) @ matrices.inputs).tolist() == [[-1, 0, 1, 0], [0, -1, 0, 1], [0, 1, 1, 0], [0, -1, 1, 0]]


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize(("z", "n"), [(8, 4), (4, 4), (6, 2), (2, 2)])
def test_a_convolution_in_tiles_is_the_convolution(z: int, n: int, stride: tuple[int, int], rng: np.random.Generator) -> None:
    values, weight = made(rng, 1, 3, z, 6, 10), made(rng, 5, 3, 3, 3, 3)
    wanted = torch.nn.functional.conv3d(values, weight, padding=1, stride=(1, *stride))
    found = computed(values, lambda x: layers.convolved_in_tiles(x.ordered(n), weight, stride))
    torch.testing.assert_close(found.double(), wanted, atol=5e-5, rtol=0)


@pytest.mark.parametrize("shape", [(32, 2, 3, 3, 3), (32, 2, 1, 3, 3), (5, 2, 3, 3, 3), (5, 2, 1, 1, 1)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_every_convolution_is_torchs_in_whatever_order_the_slices_come(
    shape: tuple[int, ...], stride: tuple[int, int, int], n: int, rng: np.random.Generator
) -> None:
    values, weight = made(rng, 1, 2, 8, 6, 10), made(rng, *shape)
    wanted = torch.nn.functional.conv3d(values, weight, padding=tuple(side // 2 for side in shape[2:]), stride=stride)
    found = computed(values, lambda x: layers.convolved(x.ordered(n), weight, stride))
    torch.testing.assert_close(found.double(), wanted, atol=5e-5, rtol=0)


@pytest.mark.parametrize("kernel", [(1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("n", [1, 4])
def test_a_transposed_convolution_is_torchs(kernel: tuple[int, int, int], n: int, rng: np.random.Generator) -> None:
    values, weight = made(rng, 1, 2, 4, 3, 5), made(rng, 2, 3, *kernel)
    wanted = torch.nn.functional.conv_transpose3d(values, weight, stride=kernel)
    found = computed(values, lambda x: layers.upsampled(x.ordered(n), weight))
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=0)


def test_slices_come_in_the_order_of_their_place_in_a_tile_and_back() -> None:
    values = torch.arange(8.0).view(1, 1, 8, 1, 1)
    for n, order in [(1, [0, 1, 2, 3, 4, 5, 6, 7]), (2, [0, 2, 4, 6, 1, 3, 5, 7]), (4, [0, 4, 1, 5, 2, 6, 3, 7])]:
        assert computed(values, lambda x: x.ordered(n).node).flatten().tolist() == order  # noqa: B023
        assert computed(values, lambda x: x.ordered(n).ordered(2)).equal(values)  # noqa: B023


def test_only_maps_that_gain_are_cut_into_tiles() -> None:
    assert [layers.slices_of_tile(z, 32) for z in (64, 6, 5)] == [4, 2, 1]
    assert layers.slices_of_tile(64, 8) == 1


@pytest.fixture(scope="module")
def wide() -> Checkpoint:
    """As many features as make tiles worth while, at each of its levels: of 4, of 2 and of 1 slice."""
    strides, kernels = ((1, 2, 2), (2, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    return tiny_checkpoint(
        config=NetworkConfig(window=(4, 32, 32), features=(24, 24, 32, 32), strides=strides, kernels=kernels)
    )


def test_a_network_in_tiles_answers_as_torchs(wide: Checkpoint) -> None:
    window = torch.randn(1, 1, *wide.config.window, generator=torch.Generator().manual_seed(0))
    found, wanted = (
        make_engine(wide, name, "cpu", "auto")[0].run(window, [0, 6], mirror=True, tick=lambda share: None)
        for name in ("openvino", "torch")
    )
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() < 2e-5
        assert (b.max(1).values < 0.99).any()  # it is a question at all
