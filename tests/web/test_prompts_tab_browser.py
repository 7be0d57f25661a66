"""The Prompts tab as people use it, in a real browser and with the embedded demo weights, on a scan of one window."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import WITHOUT_WEBGL, Server, Visitor, colored, needs_a_browser, serving, until, violations, visiting

from uniseg_app.examples import EXAMPLES

pytestmark = needs_a_browser

BLUE, SKY = (0, 114, 178), (86, 180, 233)  # liver, only before
VERBS = {"This image": "Read the prompts", "What changes if": "Show what changes", "Sensitivity": "Work it out",
         "Contact sheet": "Draw the sheet"}  # fmt: skip
LEAVING_WHEN_TOLD = """
import sys, threading, time
from pathlib import Path
from uniseg_app.web_demo import app

def when_told(call, every_s):
    told = Path(sys.argv[1])
    def wait():
        while True:
            time.sleep(0.1)
            if told.exists():
                call()
                told.unlink()
    threading.Thread(target=wait, daemon=True).start()

app._IDLE_S, app._repeat = 0.0, when_told
app.serve(app.WebRequest(port=0), lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file exists, the server takes everybody for gone."""
    return tmp_path_factory.mktemp("told") / "leave"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, told: Path) -> Iterator[Server]:
    """The page, which segments nothing by itself."""
    with serving(tmp_path_factory.mktemp("server"), "-c", LEAVING_WHEN_TOLD, str(told)) as server:
        yield server


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the first example that is around its liver, as much as one window holds: 160 x 360 x 382.5 mm."""
    from uniseg_model.io.nifti import write_image
    from uniseg_model.volume import Volume

    whole = EXAMPLES[0].volume()
    shift = np.eye(4)
    shift[:3, 3] = [24, 0, 11]
    part = Volume(np.ascontiguousarray(whole.array[:, 24:56, :, 11:164]), whole.affine @ shift)
    path = tmp_path_factory.mktemp("scan") / "liver.nii.gz"
    write_image(path, part.array[0], part)
    return path


class Onlooker:
    """Somebody on the Prompts tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        self.tab("Prompts").learned()

    def tab(self, name: str) -> Onlooker:
        self.page.get_by_role("tab", name=name).click()
        return self

    def knows(self, title: str) -> Onlooker:
        """Wait until the tab offers what suits this image."""
        self.page.locator(".us-prompts .us-image strong", has_text=title).wait_for()
        return self

    def learned(self) -> Onlooker:
        self.page.locator(".us-report .matrix").first.wait_for()
        return self

    def look_at(self, view: str) -> Onlooker:
        """A view, once its button is there: all of a view comes together."""
        self.page.get_by_role("radio", name=view, exact=True).check()
        if view in VERBS:
            self.page.get_by_role("button", name=VERBS[view], exact=True).wait_for()
        return self

    def choose_layer(self, layer: str) -> Onlooker:
        self.page.get_by_role("radio", name=layer, exact=True).check()
        return self

    def viewer_ready(self) -> Onlooker:
        self.page.locator('.us-prompts .us-viewer[data-state="ready"]').wait_for()
        return self

    def only(self, plane: str) -> Onlooker:
        """One plane: without a graphics card 3D leaves a busy machine no time for anything else."""
        self.page.locator(".us-prompts .us-viewer .us-views button", has_text=plane).click()
        return self

    def press_key(self, key: str) -> Onlooker:
        self.page.locator(".us-prompts .us-viewer canvas").press(key)
        return self

    def press(self, name: str) -> Onlooker:
        self.page.get_by_role("button", name=name, exact=True).click()
        return self

    def run(self, view: str) -> Onlooker:
        """Press the view's button, and wait for what comes of it."""
        return self.press(VERBS[view]).done()

    def done(self, words: str = "Done.") -> Onlooker:
        self.page.locator(".us-prompts .us-done", has_text=words).wait_for()
        return self

    def legend(self, words: str) -> Onlooker:
        self.page.locator(".us-prompts .us-legend", has_text=words).wait_for()
        return self

    def choose(self, label: str, option: str) -> Onlooker:
        self.page.get_by_label(label, exact=True).first.click()
        self.page.locator(f"li[role=option][aria-label={option!r}]").click()
        return self

    def picture(self) -> np.ndarray:
        return self.visitor.picture(".us-prompts .us-viewer canvas")

    def sees(self, color: tuple[int, int, int], what: str) -> None:
        until(lambda: colored(self.picture(), color).sum() > 500, f"{what} was seen")

    @property
    def place(self) -> list[float] | None:
        """Where this tab's crosshair is."""
        found = self.page.evaluate("document.querySelector('.us-prompts .us-viewer')?.viewer?.position() ?? null")
        return found and [float(at) for at in found]

    @property
    def status(self) -> str:
        return " ".join(self.page.inner_text(".us-prompts .us-status").split())

    def changes(self) -> dict[str, list[str]]:
        """The table of what changed, by structure."""
        rows = self.page.locator("[aria-label='What changed'] tbody tr").all()
        return {row.locator("th").inner_text().strip(): row.locator("td").all_inner_texts() for row in rows}


def opened(visit: Callable[..., Visitor], scan: Path, query: str = "") -> Onlooker:
    """Somebody who has dropped the scan and gone to the Prompts tab."""
    return Onlooker(visit(query).wait().press("Axial").upload(scan))


@pytest.fixture(scope="module")
def one(chromium: Any, server: Server, scan: Path) -> Iterator[Onlooker]:
    with visiting(chromium, server.url) as visit:
        yield opened(visit, scan)


@pytest.fixture
def onlooker(one: Onlooker, scan: Path) -> Onlooker:
    """The same somebody in all tests, to whom nothing has happened but looks at this scan."""
    if one.page.locator(".us-prompts .us-image strong").inner_text() != scan.name:
        one.tab("Segment").visitor.upload(scan)
        one.tab("Prompts").knows(scan.name)
    return one.look_at("What the weights learned").learned()


INK = "getComputedStyle(document.querySelector('.us-prompts')).color"


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
    page.get_by_role("radio", name="One for all").check()


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(a[at] < b[at] + b[side] - 1 and b[at] < a[at] + a[side] - 1 for at, side in (("x", "width"), ("y", "height")))


def test_a_prompt_is_shown_over_the_scan_and_read_at_the_crosshair(onlooker: Onlooker, scan: Path) -> None:
    onlooker.look_at("This image").viewer_ready()
    until(lambda: np.ptp(onlooker.picture()) > 100, "the scan was drawn")
    assert color_share(onlooker.picture()) < 0.01
    onlooker.run("This image").legend("prompt")
    until(lambda: color_share(onlooker.picture()) > 0.1, "the map was drawn")
    onlooker.press_key("PageUp").press_key("PageUp")  # the middle of the image is where cells meet
    assert onlooker.place is not None
    assert f"prompt: {prompt_at(scan, onlooker.place):.3g}" in onlooker.status
    assert onlooker.page.locator(".us-report .two .matrix").count() == 4  # this image's beside the learned, each in two ways
    assert "do not compare its level" in onlooker.page.inner_text(".us-report .caution")
    onlooker.choose("Minus", "Spleen").legend("difference of prompts")


def color_share(picture: np.ndarray) -> float:
    """How much of a picture is not grey."""
    return float((np.ptp(picture, axis=2) > 25).mean())


def prompt_at(scan: Path, place: list[float]) -> float:
    """The liver's prompt in the cell that holds a place, as the library gives it."""
    from uniseg_model import load_model, read_volume

    maps = load_model(device="cpu").open(read_volume(scan)).prompt_maps(["liver"])[0]
    z, y, x = np.rint((np.linalg.inv(maps.affine) @ [*place, 1.0])[:3]).astype(int)
    return float(maps.of("liver")[z, y, x])


def test_another_prompt_at_one_window_changes_the_answer(onlooker: Onlooker, tmp_path: Path) -> None:
    onlooker.look_at("What changes if").viewer_ready().only("Axial").run("What changes if").legend("only before")
    found = onlooker.changes()
    assert list(found) == ["liver", "liver tumour"]
    before, after, change, dice, _ = found["liver"]
    assert number(before) > 100
    assert number(change) == pytest.approx(number(after) - number(before), abs=0.11)
    assert float(dice) < 0.2
    onlooker.sees(SKY, "what the other prompt does not find")
    onlooker.choose_layer("Before").sees(BLUE, "the liver")
    with onlooker.page.expect_download() as download:
        onlooker.press("Table (.csv)")
    download.value.save_as(tmp_path / "what_if.csv")
    rows = list(csv.DictReader((tmp_path / "what_if.csv").read_text(encoding="utf-8").splitlines()))
    assert f"{float(rows[0]['before_ml']):,.1f}" == before
    onlooker.choose_layer("Probability change").legend("change of probability")
    assert "1 is the same answer" in onlooker.page.inner_text(".us-report")
    onlooker.choose_layer("Difference").legend("only before")


def number(text: str) -> float:
    return float(text.replace(",", "").replace("\u2212", "-"))


def test_a_blend_follows_its_slider(onlooker: Onlooker) -> None:
    """At its right end it is the other prompt, at its left end the own one; nobody presses the button again."""
    onlooker.look_at("What changes if").viewer_ready().only("Axial").choose(
        "Its decoder is told", "A blend with another task's"
    )
    slider = onlooker.page.get_by_label("range slider for Share of the other prompt")
    slider.wait_for()
    onlooker.run("What changes if")
    onlooker.page.locator(".us-report h2", has_text="50% of the prompt of").wait_for()
    box = slider.bounding_box()
    for share, at in (("100%", box["width"] - 1), ("0%", 1)):
        slider.click(position={"x": at, "y": box["height"] / 2})
        onlooker.page.locator(".us-report h2", has_text=f": {share} of the prompt of").wait_for()
    before, after, _, dice, _ = onlooker.changes()["liver"]
    assert (before, float(dice)) == (after, 1.0)
    onlooker.choose("Its decoder is told", "Another task's prompt")


def test_a_prompt_for_another_kind_of_image_carries_its_caution(onlooker: Onlooker) -> None:
    onlooker.look_at("What changes if").viewer_ready().choose("The other task", "Brain tumour (for another kind of image)")
    onlooker.press("Show what changes")
    onlooker.page.locator(".us-report .caution", has_text="is not silent").wait_for()
    onlooker.choose("The other task", "Kidneys and tumour")


def test_sensitivity_is_shown_with_what_it_is_not(onlooker: Onlooker) -> None:
    onlooker.look_at("Sensitivity").viewer_ready().run("Sensitivity").legend("sensitivity of liver")
    until(lambda: "sensitivity of liver: " in onlooker.status, "the value at the crosshair was told")
    assert "no explanation" in onlooker.page.inner_text(".us-report .caution")


def test_a_sheet_shows_the_image_under_each_ticked_prompt(onlooker: Onlooker, tmp_path: Path) -> None:
    onlooker.look_at("Contact sheet")
    for box in onlooker.page.locator(".us-prompts .us-tasks input").all():
        box.set_checked(box.get_attribute("name") == "spleen")
    onlooker.run("Contact sheet")
    onlooker.page.locator(".us-report .sheet").wait_for()
    assert onlooker.page.locator(".us-report .sheet").bounding_box()["width"] > 300
    assert onlooker.visitor.download("Picture (.pdf)", tmp_path).read_bytes()[:5] == b"%PDF-"


def test_both_tabs_have_one_crosshair(onlooker: Onlooker) -> None:
    """Three steps of 5 mm up in the one, one of 2.5 mm to the patient's left in the other."""
    segment = onlooker.look_at("This image").viewer_ready().tab("Segment").visitor
    canvas = segment.page.locator(".us-viewer canvas").first
    canvas.press("PageUp")  # to the middle of a voxel
    right, anterior, superior = segment.place
    for _ in range(3):
        canvas.press("PageUp")
    assert segment.place == pytest.approx([right, anterior, superior + 15], abs=0.01)
    onlooker.tab("Prompts")
    until(lambda: onlooker.place == pytest.approx(segment.place, abs=0.01), "the crosshair came along")
    onlooker.press_key("ArrowRight")
    until(lambda: onlooker.place == pytest.approx([right - 2.5, anterior, superior + 15], abs=0.01), "it went on from there")
    onlooker.tab("Segment")
    until(lambda: segment.place == pytest.approx(onlooker.place, abs=0.01), "the crosshair came back")
    onlooker.tab("Prompts")


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


@pytest.mark.parametrize("view", VERBS)
def test_nothing_on_the_left_lies_over_anything_else(onlooker: Onlooker, view: str) -> None:
    onlooker.look_at(view)
    parts = onlooker.page.locator(".us-prompts .us-left > *:visible").all()
    boxes = [box for part in parts if (box := part.bounding_box()) and box["height"] > 0]
    assert len(boxes) > 2
    assert not [1 for a, b in combinations(boxes, 2) if overlap(a, b)]
    assert onlooker.page.get_by_role("button", name=VERBS[view], exact=True).bounding_box()["y"] < 800


def test_a_phone_shows_every_view_without_scrolling_sideways(onlooker: Onlooker) -> None:
    page = onlooker.page
    page.set_viewport_size({"width": 390, "height": 844})
    for view in (*VERBS, "What the weights learned"):
        onlooker.look_at(view)
        if view not in VERBS:
            onlooker.learned()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page.set_viewport_size({"width": 1280, "height": 900})


def test_every_view_can_be_used_by_everybody_in_light_and_dark(onlooker: Onlooker, axe: str) -> None:
    """Nothing is against the rules in any view, with all there is to be seen."""
    assert violations(onlooker.visitor, axe) == []
    for view in VERBS:
        onlooker.look_at(view).run(view)
        onlooker.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        light = onlooker.page.evaluate(INK)
        assert violations(onlooker.visitor, axe) == [], view
        onlooker.page.evaluate("document.body.classList.toggle('dark')")  # as the page does when it begins
        assert onlooker.page.evaluate(INK) != light
        assert violations(onlooker.visitor, axe) == [], f"{view}, dark"
        onlooker.page.evaluate("document.body.classList.toggle('dark')")


def test_a_scan_that_was_removed_is_missed_and_another_is_offered(onlooker: Onlooker, server: Server, told: Path) -> None:
    """The tab was open so long that its scan was removed."""
    onlooker.look_at("This image").viewer_ready()
    told.touch()
    until(lambda: not server.visits, "the visit was over")
    onlooker.press("Read the prompts")
    onlooker.page.locator(".us-prompts .us-trouble", has_text="the scan is not here any more").wait_for()
    onlooker.look_at("Contact sheet").look_at("This image")
    onlooker.page.locator(".us-prompts .us-done", has_text="No image is open").wait_for()
    onlooker.page.locator(".us-prompts .us-examples button", has_text="Prostate").click()
    onlooker.page.locator(".us-prompts .us-image", has_text="Example: Prostate").wait_for()


def test_a_cancelled_sheet_leaves_the_tab_ready(onlooker: Onlooker) -> None:
    """Of the first example, which takes long enough."""
    onlooker.tab("Segment").visitor.example("Trunk CT")
    onlooker.tab("Prompts").knows("Trunk CT").look_at("Contact sheet").press("Draw the sheet")
    onlooker.page.locator(".us-prompts [role=status]", has_text="Segmenting: window").wait_for()
    onlooker.press("Cancel").done("Cancelled.")
    assert onlooker.visitor.is_enabled("Draw the sheet")
    onlooker.look_at("What changes if").run("What changes if")
    assert list(onlooker.changes()) == ["liver", "liver tumour"]


def test_without_webgl_tables_and_stacks_are_shown(visit: Callable[..., Visitor], scan: Path) -> None:
    visitor = visit(script=WITHOUT_WEBGL)
    visitor.plain_slice()
    before = visitor.slice_address
    visitor.give(scan)
    visitor.plain_slice(after=before)
    onlooker = Onlooker(visitor).look_at("This image").run("This image")
    assert "does not offer WebGL2" in onlooker.page.inner_text(".us-report")
    assert onlooker.page.locator(".us-report .two .matrix").count() == 4
    assert onlooker.page.locator(".us-report .stack").first.is_visible()
    onlooker.look_at("What changes if").run("What changes if")
    assert number(onlooker.changes()["liver"][0]) > 100
