"""What all tests share. Random numbers come from one fixed seed; nothing touches the network or the user's settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("UNISEG_ENGINE", "torch")  # what `auto` means: the reference; those who test another name it


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run (the day UniSeg appeared on arXiv)."""
    return np.random.default_rng(20230407)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNISEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.delenv("UNISEG_WEIGHTS", raising=False)
    monkeypatch.setenv("UNISEG_SETTINGS", str(tmp_path_factory.mktemp("settings") / "settings.toml"))


@pytest.fixture
def rng_torch() -> torch.Generator:
    """The same, for torch."""
    return torch.Generator().manual_seed(20230407)
