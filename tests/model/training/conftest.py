"""A training small enough for a test: the real network, narrow, on coarse phantoms of two tasks with 1 and 4 channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uniseg_model.dataset import write_case
from uniseg_model.network.config import NetworkConfig
from uniseg_model.phantom import make_phantom
from uniseg_model.progress import ignore_progress
from uniseg_model.tasks import TaskRegistry, builtin_tasks
from uniseg_model.training.cache import Cache, PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.start import find_splits

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
SPACINGS = {"prostate": (6.0, 4.0, 4.0), "brain": (5.0, 5.0, 5.0)}


@pytest.fixture(scope="session")
def plan() -> Plan:
    known = builtin_tasks()
    tasks = TaskRegistry(replace(known[key], spacing_mm=spacing) for key, spacing in SPACINGS.items())
    return Plan(
        tasks, NARROW, iterations=12, epoch=6, batch=2, rate=1e-3, augmentation="light", validation_windows=2, save_every=4
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases of each task."""
    root = tmp_path_factory.mktemp("data")
    for key, spacing_mm in SPACINGS.items():
        for seed in range(3):
            phantom = make_phantom(key, seed, spacing_mm=spacing_mm)
            write_case(root / key, f"{key}_{seed}", phantom.volume, phantom.labels[key])
    return root


@pytest.fixture(scope="session")
def cases(plan: Plan, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[PreparedCase]]:
    """Those to learn from."""
    cache = Cache(tmp_path_factory.mktemp("cache"))
    splits = find_splits(data, plan)
    return cache.prepare_all({plan.tasks[key]: split.train for key, split in splits.items()}, ignore_progress)
