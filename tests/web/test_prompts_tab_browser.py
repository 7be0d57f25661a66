"""The Prompts tab as people use it, in a real browser and with the embedded demo weights."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import COMMAND_LINE, WITHOUT_WEBGL, Server, Visitor, colored, needs_a_browser, serving, until, visiting

from uniseg_app.examples import EXAMPLES

pytestmark = needs_a_browser

ORANGE, SKY = (230, 159, 0), (86, 180, 233)  # only after, only before
LEAVING_WHEN_TOLD = """
import sys, threading, time
from pathlib import Path
from uniseg_app.web_demo import app

def when_told(call, every_s):
    def wait():
        while not Path(sys.argv[1]).exists():
            time.sleep(0.1)
        call()
    threading.Thread(target=wait, daemon=True).start()

app._IDLE_S, app._repeat = 0.0, when_told
app.serve(app.WebRequest(port=0), lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page, which segments nothing by itself."""
    with serving(tmp_path_factory.mktemp("server"), "-c", COMMAND_LINE, "web", "--port", "0") as server:
        yield server


class Onlooker:
    """Somebody on the Prompts tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.page.get_by_role("tab", name="Prompts").click()

    def learned(self) -> Onlooker:
        self.page.locator(".us-report .matrix").first.wait_for()
        return self

    def look_at(self, view: str) -> Onlooker:
        self.page.get_by_role("radio", name=view, exact=True).check()
        return self

    def viewer_ready(self) -> Onlooker:
        self.page.locator('.us-prompts .us-viewer[data-state="ready"]').wait_for()
        self.page.wait_for_timeout(500)
        return self

    def press(self, name: str) -> Onlooker:
        self.page.get_by_role("button", name=name, exact=True).click()
        return self

    def done(self, words: str = "Done.") -> Onlooker:
        self.page.locator(".us-prompts .us-done", has_text=words).wait_for()
        return self

    def read_prompts(self) -> Onlooker:
        return self.look_at("This image").viewer_ready().press("Read the prompts").done()

    def choose(self, label: str, option: str) -> Onlooker:
        self.page.get_by_label(label, exact=True).first.click()
        self.page.locator(f"li[role=option][aria-label={option!r}]").click()
        return self

    def picture(self) -> np.ndarray:
        return self.visitor.picture(".us-prompts .us-viewer canvas")

    @property
    def status(self) -> str:
        return " ".join(self.page.inner_text(".us-prompts .us-status").split())

    def changes(self) -> dict[str, list[str]]:
        """The table of what changed, by structure."""
        rows = self.page.locator("[aria-label='What changed'] tbody tr").all()
        return {row.locator("th").inner_text().strip(): row.locator("td").all_inner_texts() for row in rows}


@pytest.fixture(scope="module")
def one(chromium: Any, server: Server) -> Iterator[Onlooker]:
    with visiting(chromium, server.url) as visit:
        yield Onlooker(visit().wait()).learned()


@pytest.fixture
def onlooker(one: Onlooker) -> Onlooker:
    """The same somebody in all tests, to whom nothing has happened but looks."""
    return one.look_at("What the weights learned").learned()


def test_what_the_weights_learned_is_shown_without_being_asked(onlooker: Onlooker, tmp_path: Path) -> None:
    """All eleven tasks stand beside each other, the pointer reads a value, and the file behind the picture holds it."""
    page = onlooker.page
    boxes = [stack.bounding_box() for stack in page.locator(".us-report .stack").all()]
    assert len(boxes) == 11
    assert not [1 for a, b in combinations(boxes, 2) if overlap(a, b)]
    page.locator(".us-report .matrix td[data-said]").nth(1).hover()
    told = page.locator(".us-report .scroll + .reading").first.inner_text()
    pair, value = told.split(": ")
    with page.expect_download() as download:
        page.get_by_role("link", name="learned_correlation.csv").click()
    download.value.save_as(tmp_path / "matrix.csv")
    rows = {row["task"]: row for row in csv.DictReader((tmp_path / "matrix.csv").read_text(encoding="utf-8").splitlines())}
    a, b = (name.replace(" ", "_") for name in pair.split(" and "))
    assert f"{float(rows[a][b]):.3f}" == value
    page.get_by_role("radio", name="Each its own").check()
    page.locator(".us-report .stack figcaption", has_text="liver, ±").wait_for()


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(a[at] < b[at] + b[side] - 1 and b[at] < a[at] + a[side] - 1 for at, side in (("x", "width"), ("y", "height")))


def test_a_prompt_is_shown_over_the_scan_and_read_at_the_crosshair(onlooker: Onlooker) -> None:
    onlooker.look_at("This image").viewer_ready()
    before = onlooker.picture()
    onlooker.press("Read the prompts").done().viewer_ready()
    after = onlooker.picture()
    assert np.ptp(before) > 100  # the scan
    spread = after.max(axis=2) - after.min(axis=2)
    assert (spread > 25).mean() > 0.1  # in colours
    assert (before.max(axis=2) - before.min(axis=2) > 25).mean() < 0.01
    place = [float(at) for at in onlooker.page.evaluate("document.querySelector('.us-prompts .us-viewer').viewer.position()")]
    assert f"prompt: {prompt_at(place):.3g}" in onlooker.status
    assert onlooker.page.locator(".us-report .two .matrix").count() == 4  # this image's beside the learned, each in two ways
    assert "do not compare its level" in onlooker.page.inner_text(".us-report .caution")
    onlooker.choose("Minus", "Spleen")
    onlooker.page.locator(".us-prompts .us-legend", has_text="difference of prompts").wait_for()


def prompt_at(place: list[float]) -> float:
    """The liver's prompt in the cell that holds a place of the first example, as the library gives it."""
    from uniseg_model.predictor import load_model

    maps = load_model(device="cpu").open(EXAMPLES[0].volume()).prompt_maps()[0]
    z, y, x = np.rint((np.linalg.inv(maps.affine) @ [*place, 1.0])[:3]).astype(int)
    return float(maps.of("liver")[z, y, x])


def test_another_prompt_at_one_window_changes_the_answer(onlooker: Onlooker, tmp_path: Path) -> None:
    onlooker.look_at("What changes if").viewer_ready().press("Show what changes").done().viewer_ready()
    found = onlooker.changes()
    assert list(found) == ["liver", "liver tumour"]
    before, after, change, dice, _ = found["liver"]
    assert number(before) > 100
    assert number(change) == pytest.approx(number(after) - number(before), abs=0.11)
    assert float(dice) < 0.2
    seen = onlooker.picture()
    assert colored(seen, SKY).sum() > 500
    with onlooker.page.expect_download() as download:
        onlooker.press("Table (.csv)")
    download.value.save_as(tmp_path / "what_if.csv")
    rows = list(csv.DictReader((tmp_path / "what_if.csv").read_text(encoding="utf-8").splitlines()))
    assert f"{float(rows[0]['before_ml']):,.1f}" == before
    onlooker.look_at("Probability change")
    onlooker.page.locator(".us-prompts .us-legend", has_text="change of probability").wait_for()
    assert "1 is the same answer" in onlooker.page.inner_text(".us-report")


def number(text: str) -> float:
    return float(text.replace(",", "").replace("\u2212", "-"))


def test_a_prompt_for_another_kind_of_image_carries_its_caution(onlooker: Onlooker) -> None:
    onlooker.look_at("What changes if").viewer_ready().choose("The other task", "Brain tumour (for another kind of image)")
    onlooker.press("Show what changes").done()
    onlooker.page.locator(".us-report .caution", has_text="is not silent").wait_for()


def test_sensitivity_is_shown_with_what_it_is_not(onlooker: Onlooker) -> None:
    onlooker.look_at("Sensitivity").viewer_ready().press("Work it out").done().viewer_ready()
    assert "sensitivity of liver: " in onlooker.status
    assert "no explanation" in onlooker.page.inner_text(".us-report .caution")


def test_a_cancelled_sheet_leaves_the_tab_ready(onlooker: Onlooker, tmp_path: Path) -> None:
    onlooker.look_at("Contact sheet").press("Draw the sheet")
    onlooker.page.locator(".us-prompts [role=status]", has_text="Segmenting: window").wait_for()
    onlooker.press("Cancel").done("Cancelled.")
    assert onlooker.visitor.is_enabled("Draw the sheet")
    for box in onlooker.page.locator(".us-prompts .us-tasks input").all():
        box.set_checked(box.get_attribute("name") == "spleen")
    onlooker.press("Draw the sheet").done()
    assert onlooker.page.locator(".us-report .sheet").bounding_box()["width"] > 300
    assert onlooker.visitor.download("Picture (.pdf)", tmp_path).read_bytes()[:5] == b"%PDF-"


def test_without_an_image_it_says_so_and_offers_one(chromium: Any, tmp_path: Path) -> None:
    """The tab was open so long that its scan was removed."""
    told = tmp_path / "told"
    with serving(tmp_path, "-c", LEAVING_WHEN_TOLD, str(told)) as server, visiting(chromium, server.url) as visit:
        onlooker = Onlooker(visit().wait()).learned().look_at("This image").viewer_ready()
        told.touch()
        until(lambda: not server.visits, "the visit was over")
        onlooker.press("Read the prompts")
        onlooker.page.locator(".us-prompts .us-trouble", has_text="the scan is not here any more").wait_for()
        onlooker.look_at("Contact sheet").look_at("This image")
        onlooker.page.locator(".us-prompts .us-done", has_text="No image is open").wait_for()
        onlooker.page.locator(".us-prompts .us-examples button", has_text="Prostate").click()
        onlooker.page.locator(".us-prompts .us-image", has_text="Example: Prostate").wait_for()


def test_a_phone_shows_every_view_without_scrolling_sideways(visit: Callable[..., Visitor]) -> None:
    phone = Onlooker(visit(width=390, height=844).wait()).learned()
    for view in ("This image", "What changes if", "Sensitivity", "Contact sheet", "What the weights learned"):
        phone.look_at(view)
        phone.page.wait_for_timeout(700)
        assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390, view


def test_the_keyboard_reaches_views_and_values(onlooker: Onlooker) -> None:
    page = onlooker.page
    page.get_by_role("radio", name="What the weights learned").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Read the prompts").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.locator(".us-report .stack").first.wait_for()
    page.locator(".us-report .slices[tabindex]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".us-report .volume .reading").inner_text().startswith("liver: ")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("liver, 2 slices")


def test_without_webgl_tables_and_stacks_are_shown(visit: Callable[..., Visitor]) -> None:
    visitor = visit(script=WITHOUT_WEBGL)
    visitor.plain_slice()
    onlooker = Onlooker(visitor).learned().look_at("This image").press("Read the prompts").done()
    assert "does not offer WebGL2" in onlooker.page.inner_text(".us-report")
    assert onlooker.page.locator(".us-report .two .matrix").count() == 4
