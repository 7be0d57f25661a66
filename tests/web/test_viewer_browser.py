"""The viewer as a person meets it: in a real browser, with the picture looked at pixel by pixel."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uniseg_model.phantom import make_phantom

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in ("gradio", "playwright") if find_spec(name) is None] + ([] if CHROMIUM else ["chromium"])
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"browser tests need {', '.join(MISSING)}")

FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # fmt: skip
LONG_MS = 120_000  # a software renderer on a busy core
BLUE, YELLOW = (0, 114, 178), (240, 228, 66)  # liver and tumour
VIEWS = ("All", "Axial", "Coronal", "Sagittal", "3D")


class Shown:
    """A page with the viewer in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.requests, self.errors = page, list[str](), list[str]()
        page.set_default_timeout(LONG_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)

    def wait(self, state: str = "ready") -> Shown:
        self.page.wait_for_selector(f'.us-viewer[data-state="{state}"]')
        self.page.wait_for_timeout(300)
        return self

    def press(self, name: str) -> Shown:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_timeout(300)
        return self

    def send(self, name: str, state: str = "ready") -> Shown:
        """Press a button that has the server send another value, and wait until that is shown."""
        self.page.evaluate("() => { document.querySelector('.us-viewer').dataset.state = 'old'; }")
        return self.press(name).wait(state)

    def run(self, script: str) -> Any:
        return self.page.evaluate(f"() => {{ const viewer = window.unisegViewer, nv = viewer.nv; return {script}; }}")

    @property
    def place(self) -> list[float]:
        return [float(at) for at in self.run("viewer.position()")]

    @property
    def status(self) -> str:
        return " ".join(self.page.inner_text(".us-status").split())

    def picture(self) -> np.ndarray:
        """(h, w, 3) of the canvas."""
        from PIL import Image

        shot = self.page.locator(".us-viewer canvas").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def colored(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(h, w) bool: the pixels with the hue of a colour, however mixed with grey."""
    spread = picture - picture.min(axis=2, keepdims=True)
    wanted = np.array(color) - min(color)
    return np.asarray(
        (spread.max(axis=2) > 40)
        & (np.abs(spread / spread.max(axis=2, keepdims=True).clip(1) - wanted / max(wanted)).max(axis=2) < 0.25)
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "gradio"), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("viewer_page.py")
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        log.seek(0)
        assert line, f"the page did not start: {log.read()}"
        yield line
        server.terminate()
        server.wait(10)
        server.stdout.close()


@pytest.fixture(scope="module")
def open_page(url: str) -> Iterator[Callable[..., Shown]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)

        def open_page(width: int = 1100, height: int = 900, script: str = "") -> Shown:
            page = browser.new_page(viewport={"width": width, "height": height})
            if script:
                page.add_init_script(script)
            return Shown(page, url)

        yield open_page
        browser.close()


@pytest.fixture(scope="module")
def one_page(open_page: Callable[..., Shown]) -> Shown:
    return open_page().wait()


@pytest.fixture
def shown(one_page: Shown) -> Iterator[Shown]:
    """The page as it came: whole labels, all views, the crosshair in the middle. No error may happen in it."""
    if one_page.page.get_attribute(".us-viewer", "data-state") != "ready":
        one_page.send("Whole")
    yield one_page.press("All").press("Reset")
    assert one_page.errors == []


def test_the_image_is_drawn_and_goes(shown: Shown) -> None:
    bright = int((shown.picture().min(axis=2) > 60).sum())
    assert bright > 10_000
    shown.send("Nothing", "empty")
    assert (shown.picture() > 60).sum() < 2_000  # "No image yet."
    assert "No image yet" in shown.page.inner_text(".us-message")
    shown.page.locator(".us-viewer canvas").click()  # an empty picture minds neither mouse
    shown.page.locator(".us-viewer canvas").press("ArrowUp")  # nor keys
    shown.send("Whole")
    assert (shown.picture().min(axis=2) > 60).sum() == pytest.approx(bright, rel=0.05)


@pytest.mark.parametrize("view", VIEWS)
def test_structures_are_seen_in_their_colors_in_every_view(shown: Shown, view: str) -> None:
    shown.press("liver tumour").press(view)
    picture = shown.picture()
    assert colored(picture, BLUE).sum() > 1_500
    if view != "3D":  # there it lies inside the liver
        assert colored(picture, YELLOW).sum() > 100


@pytest.mark.parametrize("view", ["All", "3D"])
def test_a_hidden_structure_is_gone_and_the_others_stay(shown: Shown, view: str) -> None:
    shown.press("liver tumour").press(view)
    before = shown.picture()
    shown.press("Show liver")
    after = shown.picture()
    assert colored(before, BLUE).sum() > 1_500
    assert colored(after, BLUE).sum() == 0
    assert colored(after, YELLOW).sum() > 20
    shown.press("Show liver")
    assert colored(shown.picture(), BLUE).sum() == pytest.approx(colored(before, BLUE).sum(), rel=0.05)


def test_the_outline_of_a_hidden_structure_is_hidden_too(shown: Shown) -> None:
    shown.press("Outlines").press("Axial")
    lined = colored(shown.picture(), BLUE).sum()
    shown.press("Show liver")
    assert lined > 500
    assert colored(shown.picture(), BLUE).sum() == 0
    shown.press("Show liver").press("Outlines")


def test_new_labels_leave_the_image_the_view_and_the_crosshair_alone(shown: Shown) -> None:
    shown.press("R | L radiological").press("liver tumour").press("Axial")
    facts = "[nv.volumes[0].id, nv.opts.sliceType, nv.scene.pan2Dxyzmm.join(), nv.volumes.length]"
    place, before, loaded = shown.place, shown.run(facts), len(image_requests(shown))
    blue = colored(shown.picture(), BLUE).sum()
    shown.send("Preview")
    assert (shown.place, shown.run(facts), len(image_requests(shown))) == (place, before, loaded)
    assert 0 < colored(shown.picture(), BLUE).sum() < 0.8 * blue
    shown.send("Whole").press("L | R neurological")  # the convention has stayed, too
    assert colored(shown.picture(), BLUE).sum() == pytest.approx(blue, rel=0.05)


def image_requests(shown: Shown) -> list[str]:
    return [url for url in shown.requests if url.endswith("image.nii.gz")]


def test_the_status_names_place_value_and_structure_under_the_crosshair(shown: Shown) -> None:
    phantom = make_phantom("liver", 100, spacing_mm=(8.0, 6.0, 6.0))
    for name, value in (("liver", 1), ("liver tumour", 2)):
        shown.press(name)
        z, y, x = np.rint(np.linalg.inv(phantom.volume.affine) @ [*shown.place, 1])[:3].astype(int)
        assert phantom.labels["liver"][z, y, x] == value
        (r, a, s), hu = shown.place, round(float(phantom.volume.array[0, z, y, x]))
        place = ", ".join(f"{names[at >= 0]} {abs(at):.1f}" for names, at in zip(("LR", "PA", "IS"), (r, a, s), strict=True))
        assert shown.status == f"{place} mm {hu} HU {name}"
    assert shown.page.get_attribute(".us-status", "aria-live") == "polite"


def test_the_patients_right_is_on_the_left_until_told_otherwise(shown: Shown) -> None:
    shown.press("Axial")
    sides = []
    for name in ("R | L radiological", "L | R neurological"):
        columns = np.argwhere(colored(shown.picture(), BLUE))[:, 1]
        sides.append(float(columns.mean() / shown.picture().shape[1]))
        shown.press(name)
    assert sides[0] < 0.5 < sides[1]  # the liver is on the right
    assert sides[0] == pytest.approx(1 - sides[1], abs=0.02)


def test_keys_move_the_crosshair_as_the_picture_lies(shown: Shown) -> None:
    shown.press("liver tumour").press("Axial")
    shown.page.locator(".us-viewer canvas").focus()
    moved = []
    for key in ("ArrowRight", "ArrowUp", "PageUp"):
        before = shown.place
        shown.page.keyboard.press(key)
        moved.append([round(b - a, 3) for a, b in zip(before, shown.place, strict=True)])
    assert moved == [[-6, 0, 0], [0, 6, 0], [0, 0, 8]]


def test_other_components_learn_and_set_the_place(shown: Shown) -> None:
    shown.press("liver tumour")
    place = shown.place
    shown.press("Where").press("Reset")
    assert shown.place != place
    shown.press("Go")
    assert shown.place == pytest.approx(place)


def test_the_right_button_changes_the_window_and_reset_brings_it_back(shown: Shown) -> None:
    shown.press("Axial")
    window = "[nv.volumes[0].cal_min, nv.volumes[0].cal_max]"
    assert shown.run(window) == [-60, 160]
    box = shown.page.locator(".us-viewer canvas").bounding_box()
    assert box
    shown.page.mouse.move(box["x"] + 300, box["y"] + 200)
    shown.page.mouse.down(button="right")
    shown.page.mouse.move(box["x"] + 340, box["y"] + 260, steps=4)
    shown.page.mouse.up(button="right")
    assert shown.run(window) != [-60, 160]
    shown.send("Preview").send("Whole")
    assert shown.run(window) != [-60, 160]  # new labels do not touch it
    shown.press("Reset")
    assert shown.run(window) == [-60, 160]


def test_opacity_is_the_readers_choice(shown: Shown) -> None:
    shown.press("Axial")
    slider = shown.page.locator(".us-opacity input")
    slider.fill("0")
    shown.page.wait_for_timeout(500)
    assert colored(shown.picture(), BLUE).sum() == 0
    slider.fill("50")
    shown.page.wait_for_timeout(500)
    assert colored(shown.picture(), BLUE).sum() > 1_500


def test_nothing_is_asked_of_other_machines(shown: Shown, url: str) -> None:
    assert [request for request in shown.requests if not request.startswith((url, "data:", f"blob:{url}"))] == []
    assert len(image_requests(shown)) >= 1


def test_a_phone_shows_it_without_scrolling_sideways(open_page: Callable[..., Shown]) -> None:
    phone = open_page(360, 740).wait()
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [element.bounding_box() for element in phone.page.locator(".us-viewer button, .us-viewer input").all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
    assert colored(phone.picture(), BLUE).sum() > 500
    assert phone.errors == []
    phone.page.close()


def test_without_webgl_the_page_says_so_and_tells_the_server(open_page: Callable[..., Shown]) -> None:
    script = "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = function (kind, ...more) { return kind === 'webgl2' ? null : get.call(this, kind, ...more); };"
    poor = open_page(script=script).wait("unavailable")
    assert re.search("does not offer WebGL2", poor.page.inner_text(".us-message"))
    poor.page.wait_for_function("document.querySelector('textarea, input[type=text]').value === 'no WebGL2 here'")
    assert poor.errors == []
    poor.page.close()
