"""Take the README's pictures of the web demo: light, dark, 3D, and on a phone.

    python assets/make_screenshots.py

Starts ``uniseg demo``, looks at it in Chromium, and writes ``web-*.png`` beside this file.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SHOTS: dict[str, tuple[dict[str, int], str, str]] = {  # size, theme, view
    "light": (DESK, "light", "All"), "dark": (DESK, "dark", "All"), "3d": (DESK, "dark", "3D"), "phone": (PHONE, "light", "All"),
}  # fmt: skip
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT_MS = 180_000


@contextmanager
def served() -> Iterator[str]:
    """The address of the page."""
    command = [Path(sys.executable).with_name("uniseg"), "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/", line)))
        finally:
            server.terminate()


def shoot(page: Any, view: str) -> Image.Image:
    """What is seen once the example is segmented."""
    page.wait_for_selector(".us-legend .us-item", timeout=WAIT_MS)
    page.get_by_role("button", name=view, exact=True).click()
    page.wait_for_timeout(3000)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def main() -> None:
    """Take all."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, (size, theme, view) in SHOTS.items():
            page = browser.new_page(viewport=size)
            page.goto(f"{url}?__theme={theme}", timeout=WAIT_MS)
            picture = shoot(page, view).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            picture.save(HERE / f"web-{name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
