"""What the tests of the application share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_checkpoint

from uniseg_app.cli import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``uniseg`` in this process: exit code, stdout, stderr."""

    def uniseg(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["uniseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return uniseg


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very narrow network, in a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_checkpoint().save(path)
    return path
