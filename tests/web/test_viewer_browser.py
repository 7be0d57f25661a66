"""The viewer as a person meets it: in a real browser, with the picture looked at pixel by pixel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import WITHOUT_WEBGL, Shown, colored, needs_a_browser

from uniseg_model.phantom import make_phantom

pytestmark = needs_a_browser

BLUE, YELLOW = (0, 114, 178), (240, 228, 66)  # liver and tumour
VIEWS = ("All", "Axial", "Coronal", "Sagittal", "3D")


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
def open_page(chromium: Any, url: str) -> Callable[..., Shown]:
    def open_page(width: int = 1100, height: int = 900, script: str = "") -> Shown:
        page = chromium.new_page(viewport={"width": width, "height": height})
        if script:
            page.add_init_script(script)
        return Shown(page, url)

    return open_page


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


def test_nothing_is_asked_of_other_machines(shown: Shown) -> None:
    assert shown.foreign_requests == []
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
    poor = open_page(script=WITHOUT_WEBGL).wait("unavailable")
    assert re.search("does not offer WebGL2", poor.page.inner_text(".us-message"))
    poor.page.wait_for_function("document.querySelector('textarea, input[type=text]').value === 'no WebGL2 here'")
    assert poor.errors == []
    poor.page.close()
