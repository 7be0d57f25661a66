"""What the tests of the application share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_checkpoint


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very narrow network, in a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_checkpoint().save(path)
    return path
