"""The page of ``uniseg prompts`` in a real browser: pointer and keyboard read the right numbers, and nothing is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import needs_a_browser
from tiny import ct_volume, tiny_checkpoint

from uniseg_model.predictor import Predictor, describe_weights
from uniseg_model.prompts.charts import View
from uniseg_model.prompts.inspection import Inspection
from uniseg_model.prompts.learned import learned_prompts

pytestmark = needs_a_browser


@pytest.fixture(scope="module")
def inspection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inspection, Path]:
    model = Predictor(tiny_checkpoint(), device="cpu")
    maps = model.open(ct_volume(np.random.default_rng(1), (40, 40, 28))).prompt_maps(["liver", "colon", "spleen"])
    found = Inspection(describe_weights(model.checkpoint), learned_prompts(model.checkpoint), tuple(maps))
    folder = tmp_path_factory.mktemp("page")
    found.write(folder)
    return found, folder / "prompts.html"


@pytest.fixture
def page(chromium: Any, inspection: tuple[Inspection, Path]) -> Iterator[Any]:
    with chromium.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto(inspection[1].as_uri())
        yield page
        assert said == []


def test_pointer_and_keys_read_the_maps_cells(page: Any, inspection: tuple[Inspection, Path]) -> None:
    """The tiny network's map has 3 slices of 3 x 2 cells; the middle slice is shown first."""
    maps = inspection[0].maps[0]
    values = View.of(maps.affine, maps.array.shape[1:]).slices(maps.of("colon"))
    stack, reading = page.locator(".slices[data-values]").nth(1), page.locator(".volume .reading").first
    box = stack.bounding_box()
    stack.hover(position={"x": box["width"] * 0.75, "y": box["height"] / 6})
    assert reading.inner_text().startswith(f"colon: {float(f'{values[1, 0, 1]:.3g}'):g} (")
    page.mouse.move(0, 0)
    stack.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageUp")
    assert reading.inner_text().startswith(f"colon: {float(f'{values[2, 1, 1]:.3g}'):g} (")
    assert "slice 3 of 3, at S" in page.locator(".slider output").first.inner_text()


def test_keys_walk_through_a_matrix(page: Any) -> None:
    page.locator(".matrix td[data-said]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    heads = page.locator(".matrix").first.locator("tbody th").all_inner_texts()
    assert page.locator(".scroll + .reading").first.inner_text().startswith(f"{heads[1]} and {heads[0]}: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_axe_finds_nothing(
    chromium: Any, inspection: tuple[Inspection, Path], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(inspection[1].as_uri())
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert axe.Axe().run(page).response["violations"] == []
