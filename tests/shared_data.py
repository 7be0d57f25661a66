"""Finds optional data that are not part of the project: golden numbers of the original and real scans.

They lie in a folder named by ``$UNISEG_TEST_DATA``, or in ``shared`` beside the checkout. A test that wants them is
skipped with the reason where they are not; the same properties are proved without them elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("UNISEG_TEST_DATA", Path(__file__).parents[2] / "shared"))


def shared(relative: str) -> Path:
    """The optional file or folder, or a skip."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(
            f"optional test data {relative} are not here (looked in $UNISEG_TEST_DATA or {ROOT.name}/ beside the checkout)"
        )
    return path
