"""The network: shapes, tasks within a batch, and what its configuration promises."""

from __future__ import annotations

import pytest
import torch
from tiny import TINY

from uniseg_model.errors import GeometryError, ModalityError, WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import UniSegNet, pick


@pytest.fixture(scope="module")
def net() -> UniSegNet:
    torch.manual_seed(1)
    return UniSegNet(TINY).eval()


def window(channels: int = 1, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, channels, *TINY.window, generator=torch.Generator().manual_seed(seed))


def test_published_network_has_32114381_parameters_in_115_tensors() -> None:
    with torch.device("meta"):
        state = UniSegNet(NetworkConfig()).state_dict()
    assert (len(state), sum(t.numel() for t in state.values())) == (115, 32_114_381)


def test_published_window_is_16_32_32_times_its_prompt() -> None:
    config = NetworkConfig()
    assert config.total_stride == (16, 32, 32)
    assert config.prompt_shape == (4, 6, 6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_each_channel_count_has_its_stem(net: UniSegNet, channels: int) -> None:
    with torch.inference_mode():
        logits = net(window(channels), torch.tensor([0]))
    assert logits.shape == (1, 4, *TINY.window)


def test_three_channels_are_refused(net: UniSegNet) -> None:
    with pytest.raises(ModalityError, match=r"takes 1, 2, 4 channels, the image has 3"):
        net.encode(window(3))


def test_another_window_is_refused(net: UniSegNet) -> None:
    with pytest.raises(GeometryError, match=r"windows of \(32, 64, 64\) voxels, not \(32, 64, 96\)"):
        net.encode(torch.zeros(1, 1, 32, 64, 96))


def test_each_window_of_a_batch_has_its_own_task(net: UniSegNet) -> None:
    x = window(batch=3)
    with torch.inference_mode():
        together = net(x, torch.tensor([0, 7, 3]))
        alone = torch.cat([net(x[i : i + 1], torch.tensor([task])) for i, task in enumerate([0, 7, 3])])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_tasks_answer_differently(net: UniSegNet) -> None:
    x = window()
    with torch.inference_mode():
        answers = [net(x, torch.tensor([task])) for task in range(TINY.n_tasks)]
    for a in range(TINY.n_tasks):
        for b in range(a):
            assert (answers[a] - answers[b]).abs().max() > 1e-4, f"tasks {a} and {b} answer alike"


def test_pick_takes_each_windows_own_channel() -> None:
    prompts = torch.arange(2 * 3).reshape(2, 3, 1, 1, 1).float()
    assert pick(prompts, torch.tensor([2, 0])).flatten().tolist() == [2.0, 3.0]


def test_prompt_is_appended_last_and_skips_come_second(net: UniSegNet) -> None:
    """The original's order of concatenation, written out by hand for the deepest decoder stage."""
    with torch.inference_mode():
        features = net.encode(window())
        prompt = pick(net.prompts(features), torch.tensor([4]))
        up = net.upsample[0](torch.cat([features.bottleneck, prompt], 1))
        first, second = net.decoder[0]
        deepest = net.heads[0](second(first(torch.cat([up, features.skips[-1]], 1))))
        torch.testing.assert_close(net.decode_all_scales(features, prompt)[-1], deepest)


@pytest.mark.parametrize("slices", [1, 5, 8, 100])
def test_large_maps_are_convolved_slice_by_slice_to_the_same_bits(
    net: UniSegNet, slices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.inference_mode():
        features = net.encode(window(batch=2))
        prompt = pick(net.prompts(features), torch.tensor([4, 1]))
        whole = net.decode(features, prompt)
        monkeypatch.setattr("uniseg_model.network.uniseg._LARGE_MAP", 0)
        monkeypatch.setattr("uniseg_model.network.uniseg._SLICES", slices)
        torch.testing.assert_close(net.decode(features, prompt), whole, atol=1e-6, rtol=1e-6)


def test_all_scales_begin_with_the_full_resolution(net: UniSegNet) -> None:
    with torch.inference_mode():
        features = net.encode(window())
        prompt = pick(net.prompts(features), torch.tensor([2]))
        scales = net.decode_all_scales(features, prompt)
        torch.testing.assert_close(scales[0], net.decode(features, prompt))
    assert [tuple(scale.shape[2:]) for scale in scales] == [(32, 64, 64), (32, 32, 32), (16, 16, 16), (8, 8, 8), (4, 4, 4)]


def test_gradients_reach_the_universal_prompt() -> None:
    net = UniSegNet(TINY)
    net(window(), torch.tensor([5])).square().mean().backward()
    gradient = net.universal_prompt.grad
    assert gradient is not None
    assert gradient.abs().amax((0, 2, 3, 4)).min() > 0  # fusion mixes all of its channels


def test_windows_in_a_batch_do_not_see_each_other(net: UniSegNet) -> None:
    with torch.inference_mode():
        alone = net(window(seed=1), torch.tensor([1]))
        beside = net(torch.cat([window(seed=1), 50 * window(seed=2)]), torch.tensor([1, 1]))[:1]
    torch.testing.assert_close(alone, beside, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"window": (64, 192, 100)}, r"must be a multiple of the network's total stride \(16, 32, 32\)"),
        ({"features": (32, 64)}, r"2 stages needs as many kernels and one stride fewer; it has 6 and 5"),
        ({"n_classes": 1}, r"at least 1 task, 2 classes"),
    ],
)
def test_contradicting_sizes_are_refused(facts: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        NetworkConfig(**facts)  # type: ignore[arg-type]


def test_configuration_survives_json() -> None:
    import json

    assert NetworkConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY


def test_configuration_with_a_field_too_few_is_refused() -> None:
    with pytest.raises(WeightsError, match="a network is described by"):
        NetworkConfig.from_dict({"n_tasks": 11})
