"""Tiny but real networks and images for tests: the published architecture, narrow, with random weights."""

from __future__ import annotations

import numpy as np

from uniseg_model.checkpoint import Checkpoint, untrained
from uniseg_model.network.config import NetworkConfig
from uniseg_model.volume import Volume

TINY = NetworkConfig(window=(32, 64, 64), features=(2, 3, 4, 5, 6, 7))


def tiny_checkpoint(seed: int = 0, config: NetworkConfig = TINY) -> Checkpoint:
    """Random weights under which the classes differ and the task matters."""
    return untrained(config, seed)


def ct_volume(rng: np.random.Generator, shape: tuple[int, int, int] = (20, 24, 28), spacing_mm: float = 3.0) -> Volume:
    """A made-up CT (1, Z, Y, X) with air, fat and something dense, in RAS."""
    array = rng.normal(40, 30, (1, *shape)).astype(np.float32)
    array[:, :, :4] = -1000
    array[:, 8:12, 10:14, 10:14] = 400
    affine = np.array([[0, 0, spacing_mm, -30], [0, spacing_mm, 0, -20], [spacing_mm, 0, 0, 5], [0, 0, 0, 1.0]])
    return Volume(array, affine)
