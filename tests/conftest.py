"""What all tests share. Random numbers come from one fixed seed; nothing touches the network or the user's settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("UNISEG_ENGINE", "torch")  # what `auto` means: the reference; those who test another name it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those in a browser first: they take longest, and no process shall be left with them while another has nothing to do."""
    items.sort(key=lambda item: "browser" not in item.path.name)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run (the day UniSeg appeared on arXiv)."""
    return np.random.default_rng(20230407)


@pytest.fixture(scope="session")
def _new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes an empty folder; `mktemp` would look at all of thousands before each."""
    parent, number = tmp_path_factory.mktemp("settings"), count()

    def new_folder() -> Path:
        (folder := parent / str(next(number))).mkdir()
        return folder

    return new_folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNISEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, _new_folder: Callable[[], Path]) -> None:
    monkeypatch.delenv("UNISEG_WEIGHTS", raising=False)
    monkeypatch.setenv("UNISEG_SETTINGS", str(_new_folder() / "settings.toml"))


@pytest.fixture
def rng_torch() -> torch.Generator:
    """The same, for torch."""
    return torch.Generator().manual_seed(20230407)
