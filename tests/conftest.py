"""What all tests share. Random numbers come from one fixed seed; nothing touches the network or the user's settings."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run (the day UniSeg appeared on arXiv)."""
    return np.random.default_rng(20230407)


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.delenv("UNISEG_WEIGHTS", raising=False)
    monkeypatch.setenv("UNISEG_SETTINGS", str(tmp_path_factory.mktemp("settings") / "settings.toml"))


@pytest.fixture
def rng_torch() -> torch.Generator:
    """The same, for torch."""
    return torch.Generator().manual_seed(20230407)
