"""Browser tests: one Chromium for each module, and visitors of the module's ``server``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import shared_data
from browser import CHROMIUM, FLAGS, Server, Visitor, visiting


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser. It ends with the module: Playwright keeps an event loop, which others would meet."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, server: Server) -> Iterator[Callable[..., Visitor]]:
    """Opens the page of the module's server."""
    with visiting(chromium, server.url) as visit:
        yield visit


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of a trunk: a real one where there is one, else a synthetic one."""
    real = shared_data.ROOT / "real" / "example_ct.nii.gz"
    if real.is_file():
        return real
    from uniseg_model.io.nifti import write_image
    from uniseg_model.phantom import make_phantom

    volume = make_phantom("liver", 7, spacing_mm=(6.0, 4.0, 4.0)).volume
    path = tmp_path_factory.mktemp("scan") / "synthetic_ct.nii.gz"
    write_image(path, volume.array[0], volume)
    return path


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which knows the rules of accessibility."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("accessibility is looked at with the package axe-playwright-python")
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")
