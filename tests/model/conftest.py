"""What tests of the model share: a narrow one on the CPU, and a CT for it."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_model.predictor import Predictor
from uniseg_model.volume import Volume


@pytest.fixture(scope="module")
def model() -> Predictor:
    return Predictor(tiny_checkpoint(), device="cpu")


@pytest.fixture
def ct(rng: np.random.Generator) -> Volume:
    return ct_volume(rng)
