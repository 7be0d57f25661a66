"""The OpenVINO engine answers as torch does, outside ties; and it sends nothing and survives a damaged cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from packs_made import made_pack
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.engines import Engine
from uniseg_model.engines.choice import make_engine
from uniseg_model.engines.openvino_quietly import is_installed
from uniseg_model.engines.rules import Given, Mixed, PromptChoice, Read, Shuffled
from uniseg_model.errors import MissingPackageError, ModalityError, OptionError
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor, load_model
from uniseg_model.progress import Cancelled

if not is_installed():
    pytest.skip('OpenVINO is not installed: pip install "uniseg-app[cpu]"', allow_module_level=True)

TIED = 2e-5


@pytest.fixture(scope="module")
def packed() -> Checkpoint:
    base = tiny_checkpoint()
    return base.with_packs([made_pack(base)])


@pytest.fixture(scope="module")
def both(packed: Checkpoint) -> tuple[Engine, Engine]:
    """OpenVINO and torch."""
    return engine(packed, "openvino"), engine(packed, "torch")


def engine(checkpoint: Checkpoint, name: str) -> Engine:
    return make_engine(checkpoint, name, "cpu", "auto")[0]


def windows(n: int = 1, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, *TINY.window, generator=torch.Generator().manual_seed(n + channels))


def answers(of: Engine, given: torch.Tensor, prompts: Sequence[PromptChoice], mirror: bool = False) -> list[np.ndarray]:
    return [answer.numpy() for answer in of.run(given, prompts, mirror=mirror, tick=lambda share: None)]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """The same labels wherever the two best classes are further apart than a tie, and nearly the same probabilities."""
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == np.float32
        second, best = np.sort(b, axis=1)[:, -2:].swapaxes(0, 1)
        clear = best - second > TIED
        assert clear.mean() > 0.99
        assert np.array_equal(a.argmax(1)[clear], b.argmax(1)[clear])
        assert np.abs(a - b).max() < TIED


@pytest.mark.parametrize(("channels", "places"), [(1, [0, 6]), (2, [10]), (4, [9])])
def test_every_stem_and_task_answers_as_in_torch(both: tuple[Engine, Engine], channels: int, places: list[int]) -> None:
    assert_equal(*(answers(of, windows(channels=channels), places) for of in both))


def test_a_batch_of_two_mirrored_answers_as_in_torch(both: tuple[Engine, Engine]) -> None:
    found, wanted = (answers(of, windows(2), [0, 6], mirror=True) for of in both)
    assert_equal(found, wanted)
    assert np.abs(found[0] - found[1]).max() > 0.01  # another task is another answer


def test_a_pack_answers_as_in_torch_beside_the_others_and_alone(both: tuple[Engine, Engine]) -> None:
    for places in ([11], [11, 0], [0, 11, 6]):
        assert_equal(*(answers(of, windows(), places) for of in both))


@pytest.mark.parametrize("rule", [
    Mixed(((0, 0.5), (6, 0.5))), Mixed(), Shuffled(3, 7), Given(np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 2, 2)), Read(Mixed(((0, 1.0),)), 11),
], ids=["mixed", "none", "shuffled", "given", "a pack reads another's"])  # fmt: skip
def test_rules_of_prompts_are_heard(both: tuple[Engine, Engine], rule: PromptChoice) -> None:
    assert_equal(*(answers(of, windows(), [rule, 0], mirror=isinstance(rule, Shuffled)) for of in both))
