"""The embedded demo weights: what they are, and that they find what they were taught, under the prompt that asks for it."""

from __future__ import annotations

import numpy as np
import pytest

from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.evaluation import dice
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Predictor, embedded_weights
from uniseg_model.tasks import builtin_tasks

SEED = 101  # of no phantom that was trained on, nor one of those the published table is of


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return load_checkpoint(embedded_weights(), verify=True)


def test_they_say_what_they_are_and_are_small(demo: Checkpoint) -> None:
    assert (demo.about.kind, demo.about.licence) == ("demo", "Apache-2.0")
    assert list(demo.tasks) == list(builtin_tasks())
    assert embedded_weights().stat().st_size < 12e6
    assert not demo.about.mirrored  # so that nobody's GPU mirrors by default


def test_one_scan_gets_another_answer_under_each_prompt(demo: Checkpoint) -> None:
    phantom = make_phantom("liver", SEED)
    keys = ["liver", "spleen", "vertebrae"]
    answers = Predictor(demo, device="cpu").open(phantom.volume).segment(keys)
    for answer in answers:
        own = dice(answer.labels == 1, phantom.labels[answer.task.key] == 1)
        others = [dice(answer.labels == 1, phantom.labels[key] == 1) for key in keys if key != answer.task.key]
        assert own > 0.8, f"{answer.task.key}: {own:.2f}"
        assert max(others) < 0.1


@pytest.mark.parametrize("key", ["prostate", "brain", "whole_body"])
def test_the_other_families_are_found_too(demo: Checkpoint, key: str) -> None:
    phantom = make_phantom(key, SEED)
    [answer] = Predictor(demo, device="cpu").open(phantom.volume).segment([key])
    assert dice(answer.labels > 0, phantom.labels[key] > 0) > 0.8
    assert answer.labels.dtype == np.uint8
