"""Take the README's pictures of the web demo: light, dark, 3D, on a phone, and what its Prompts tab shows.

    python assets/make_screenshots.py [NAME...]

Starts ``uniseg demo``, for the Prompts tab ``uniseg web``, looks at it in Chromium, and writes ``web-NAME.png`` beside this file; without
names all of them.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SHOTS: dict[str, tuple[dict[str, int], str, str]] = {  # size, theme, view
    "light": (DESK, "light", "All"), "dark": (DESK, "dark", "All"), "3d": (DESK, "dark", "3D"), "phone": (PHONE, "light", "All"),
}  # fmt: skip
TALL = {"width": 1280, "height": 1040}  # with what stands below the viewer
PROMPTS: dict[str, tuple[dict[str, int], str, str]] = {  # size, view, button
    "prompts-learned": (TALL | {"height": 1120}, "What the weights learned", ""), "prompts-image": (TALL, "This image", "Read the prompts"),
    "prompts-if": (TALL, "What changes if", "Show what changes"),
}  # fmt: skip
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT_MS = 180_000


@contextmanager
def served(command: str) -> Iterator[str]:
    """The address of the page."""
    line = [Path(sys.executable).with_name("uniseg"), command, "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/", line)))
        finally:
            server.terminate()


def shoot(page: Any, view: str) -> Image.Image:
    """What is seen once the example is segmented."""
    page.wait_for_selector(".us-legend .us-item")
    page.get_by_role("button", name=view, exact=True).click()
    return picture(page)


def shoot_prompts(page: Any, view: str, button: str) -> Image.Image:
    """What a view of the Prompts tab shows once its button was pressed; the other task is the spleen."""
    page.wait_for_selector('.us-viewer[data-state="ready"]')
    page.get_by_role("tab", name="Prompts").click()
    page.locator(".us-report .matrix").first.wait_for()
    page.get_by_role("radio", name=view, exact=True).check()
    if view == "What changes if":
        page.get_by_label("The other task", exact=True).click()
        page.locator("li[role=option][aria-label=Spleen]").click()
    if button:
        page.locator('.us-prompts .us-viewer[data-state="ready"]').wait_for()
        page.get_by_role("button", name=button, exact=True).click()
        page.locator(".us-prompts .us-done", has_text="Done.").wait_for()
        page.mouse.move(0, 0)
    return picture(page)


def picture(page: Any) -> Image.Image:
    """The page, once nothing moves any more."""
    page.wait_for_timeout(3000)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save(shown: Image.Image, name: str) -> None:
    """Few colours do, if none is far from its own."""
    few = shown.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(HERE / f"web-{name}.png", optimize=True)


@contextmanager
def opened(browser: Any, url: str, size: dict[str, int], theme: str = "light") -> Iterator[Any]:
    """The page for somebody new."""
    page = browser.new_page(viewport=size)
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{url}?__theme={theme}")
    yield page
    page.close()


def main(names: Sequence[str]) -> None:
    """Take these, or all."""
    shots, prompts = ({name: how for name, how in table.items() if not names or name in names} for table in (SHOTS, PROMPTS))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=FLAGS)
        with served("demo") if shots else nullcontext("") as url:
            for name, (size, theme, view) in shots.items():
                with opened(browser, url, size, theme) as page:
                    save(shoot(page, view), name)
        with served("web") if prompts else nullcontext("") as url:
            for name, (size, view, button) in prompts.items():
                with opened(browser, url, size) as page:
                    save(shoot_prompts(page, view, button), name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
