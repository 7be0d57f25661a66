"""Several weights that answer as one: the mean of their class probabilities, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from packs_made import NEW, made_pack
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.engines.ensemble import Ensemble
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.errors import OptionError, WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor

WINDOWS = torch.randn(2, 1, *TINY.window, generator=torch.Generator().manual_seed(1))


def engine(seed: int) -> TorchEngine:
    return TorchEngine(tiny_checkpoint(seed).network(), "cpu")


def test_one_alone_is_itself_to_the_bit() -> None:
    alone, ticks = engine(0), []
    expected = alone.run(WINDOWS, [0, 6], mirror=False, tick=lambda share: None)
    found = Ensemble([engine(0)]).run(WINDOWS, [0, 6], mirror=False, tick=ticks.append)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert ticks == [0.5, 1.0]


def test_two_are_their_mean() -> None:
    parts = [one.run(WINDOWS, [0, 6], mirror=False, tick=lambda share: None) for one in (engine(0), engine(1))]
    both, ticks = Ensemble([engine(0), engine(1)]), []
    found = both.run(WINDOWS, [0, 6], mirror=False, tick=ticks.append)
    for mean, a, b in zip(found, *parts, strict=True):
        assert torch.equal(mean, (a + b) / 2)
        assert not torch.equal(mean, a)
    assert ticks == [0.25, 0.5, 0.75, 1.0]
    assert (both.name, both.window, both.best_batch()) == ("torch, mean of 2 networks", TINY.window, 2)


def test_labels_of_a_scan_are_those_of_the_mean_and_the_record_names_all(rng: np.random.Generator) -> None:
    first, second, volume = tiny_checkpoint(0), tiny_checkpoint(1), ct_volume(rng)
    [answer] = Predictor(first, folds=[second], device="cpu").open(volume).segment(["liver"], Options(confidence=True))
    assert answer.record.weights["sha256"] == first.sha256
    assert [one["sha256"] for one in answer.record.weights["averaged_with"]] == [second.sha256]
    assert answer.record.engine["name"] == "torch, mean of 2 networks"
    [same] = Predictor(first, folds=[first], device="cpu").open(volume).segment(["liver"])
    [alone] = Predictor(first, device="cpu").open(volume).segment(["liver"])
    assert np.array_equal(same.labels, alone.labels)  # (a + a) / 2 is a
    assert "averaged_with" not in alone.record.weights


def test_packs_of_one_task_are_averaged_over_their_base() -> None:
    base = tiny_checkpoint()
    packed = [base.with_packs([made_pack(base, seed=seed)]) for seed in (0, 1)]
    parts = [Predictor(one, device="cpu").engine.run(WINDOWS, [11], mirror=False, tick=lambda s: None)[0] for one in packed]
    both = Predictor(packed[0], folds=packed[1:], device="cpu")
    [mean] = both.engine.run(WINDOWS, [11], mirror=False, tick=lambda s: None)
    assert torch.equal(mean, (parts[0] + parts[1]) / 2)


def test_other_tasks_or_another_network_are_refused() -> None:
    base = tiny_checkpoint()
    gland, bone = (base.with_packs([made_pack(base, replace(NEW, key=key))]) for key in ("gland", "bone"))
    with pytest.raises(WeightsError, match=r"must share network and tasks, .* only one of them knows 'bone'\. Name the folds"):
        Predictor(gland, folds=[bone], device="cpu")
    wider = tiny_checkpoint(0, NetworkConfig(window=(32, 64, 64), features=(3, 3, 4, 5, 6, 7)))
    with pytest.raises(WeightsError, match=r"their networks or tasks are described differently"):
        Predictor(base, folds=[wider], device="cpu")


def test_prompts_have_no_mean(rng: np.random.Generator) -> None:
    session = Predictor(tiny_checkpoint(0), folds=[tiny_checkpoint(1)], device="cpu").open(ct_volume(rng))
    with pytest.raises(OptionError, match=r"prompts are looked at in one network, these are 2\. Name one weights file"):
        session.prompt_maps(["liver"])
