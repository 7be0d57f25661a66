"""What the decoder is told: rules with numbers that can be checked by hand, and the usual prediction as one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_checkpoint

from uniseg_model.engines.rules import Given, Mixed, Shuffled, rule_of
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.network.uniseg import pick

PROMPTS = torch.arange(2 * 3 * 4, dtype=torch.float32).view(2, 3, 1, 2, 2)  # B, T, z, y, x


def test_a_place_stands_for_the_tasks_own_prompt() -> None:
    assert rule_of(2) == Mixed(((2, 1.0),))
    assert torch.equal(rule_of(2).choose(PROMPTS, ()), pick(PROMPTS, torch.tensor([2, 2])))


def test_a_mixture_is_the_weighted_sum_and_of_nothing_zero() -> None:
    mixed = Mixed(((0, 0.25), (1, 0.75))).choose(PROMPTS, ())
    assert mixed[0].flatten().tolist() == [3, 4, 5, 6]  # a quarter of 0..3 and three of 4..7
    assert not Mixed().choose(PROMPTS, ()).any()
    assert Mixed().choose(PROMPTS, ()).shape == (2, 1, 1, 2, 2)


def test_a_share_of_nothing_leaves_no_trace() -> None:
    """Not even where the other prompt is infinite."""
    loud = PROMPTS.clone()
    loud[:, 1] = torch.inf
    assert torch.equal(Mixed(((0, 1.0), (1, 0.0))).choose(loud, ()), loud[:, :1])


def test_shuffling_keeps_the_values_and_is_the_same_in_every_window() -> None:
    first, second = Shuffled(1, seed=3).choose(PROMPTS, ()).flatten(1)
    assert sorted(first.tolist()) == [4, 5, 6, 7]
    assert torch.equal(second - first, torch.full((4,), 12.0))
    assert not torch.equal(first, PROMPTS[0, 1].flatten())
    assert torch.equal(Shuffled(1, seed=3).choose(PROMPTS, ()), Shuffled(1, seed=3).choose(PROMPTS, ()))


@pytest.mark.parametrize("rule", [Shuffled(1, seed=3), Given(np.arange(4.0).reshape(1, 2, 2))])
def test_mirrored_windows_get_the_mirrored_prompt(rule: Shuffled | Given) -> None:
    plain, mirrored = rule.choose(PROMPTS, ()), rule.choose(PROMPTS.flip(4), (4,))
    assert torch.equal(mirrored, plain.flip(4))


def test_a_given_prompt_is_the_same_for_all_windows() -> None:
    chosen = Given(np.array([[[1.0, 2.0], [3.0, 4.0]]])).choose(PROMPTS, ())
    assert chosen.shape == (2, 1, 1, 2, 2)
    assert chosen.flatten().tolist() == [1, 2, 3, 4] * 2


@pytest.mark.parametrize("mirror", [False, True])
def test_own_prompt_as_a_rule_gives_the_bits_of_the_usual_prediction(mirror: bool) -> None:
    engine = TorchEngine(tiny_checkpoint().network(), "cpu")
    x = torch.randn(1, 1, *TINY.window, generator=torch.Generator().manual_seed(0))
    usual, as_rule, swapped = engine.run(x, [4, Mixed(((4, 1.0),)), 5], mirror=mirror, tick=lambda share: None)
    assert torch.equal(usual, as_rule)
    assert not torch.equal(usual, swapped)


def test_engine_tells_the_prompts_of_windows_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    net = tiny_checkpoint().network()
    engine = TorchEngine(net, "cpu")
    monkeypatch.setattr(net, "decode", lambda *_: pytest.fail("decoded"))
    x = torch.randn(2, 1, *TINY.window, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = net.prompts(net.encode(x))
    assert torch.equal(engine.prompts(x), wanted)
    assert wanted.shape == (2, 11, *TINY.prompt_shape)
