"""What tests in a real browser share: the browser, the program in a process of its own, and somebody who visits its page."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uniseg_model.errors import UniSegError

LONG_MS = 120_000  # a software renderer on a busy core
LONG_S = LONG_MS / 1000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--disable-gpu-compositing", "--disable-gpu-rasterization"]  # fmt: skip
WITHOUT_WEBGL = """
    const get = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) { return kind === 'webgl2' ? null : get.call(this, kind, ...more); };
"""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
COMMAND_LINE = "from uniseg_app.cli import main; main()"


def _missing() -> list[str]:
    missing = [name for name in ("gradio", "playwright") if find_spec(name) is None]
    if not missing:
        from uniseg_app.web_demo.vendor import niivue_script

        try:
            niivue_script()
        except UniSegError:
            missing.append("NiiVue's script")
    return missing if CHROMIUM else [*missing, "chromium"]


MISSING = _missing()
needs_a_browser = pytest.mark.skipif(bool(MISSING), reason=f"browser tests need {', '.join(MISSING)}")


def colored(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(h, w) bool: the pixels with the hue of a colour, however mixed with grey."""
    spread = picture - picture.min(axis=2, keepdims=True)
    wanted = np.array(color) - min(color)
    return np.asarray(
        (spread.max(axis=2) > 40)
        & (np.abs(spread / spread.max(axis=2, keepdims=True).clip(1) - wanted / max(wanted)).max(axis=2) < 0.25)
    )


def until(is_so: Callable[[], Any], what: str, patience_s: float = LONG_S) -> None:
    """Wait for something that no page tells."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, f"it never happened that {what}"
        time.sleep(0.1)


class Shown:
    """A page with the viewer in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url, self.requests, self.errors = page, url, list[str](), list[str]()
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
        self.forget_state()
        return self.press(name).wait(state)

    def forget_state(self) -> None:
        """From now on `wait` waits for the next value."""
        self.page.evaluate("() => { document.querySelector('.us-viewer').dataset.state = 'old'; }")

    def run(self, script: str) -> Any:
        return self.page.evaluate(f"() => {{ const viewer = window.unisegViewer, nv = viewer.nv; return {script}; }}")

    @property
    def foreign_requests(self) -> list[str]:
        """What was asked of other machines."""
        return [request for request in self.requests if not request.startswith((self.url, "data:", f"blob:{self.url}"))]

    @property
    def place(self) -> list[float]:
        return [float(at) for at in self.run("viewer.position()")]

    @property
    def status(self) -> str:
        return " ".join(self.page.inner_text(".us-status").split())

    def picture(self, selector: str = ".us-viewer canvas") -> np.ndarray:
        """(h, w, 3) of the canvas, or of something else."""
        from PIL import Image

        shot = self.page.locator(selector).screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


class Visitor(Shown):
    """Somebody on the whole page."""

    def press(self, name: str) -> Visitor:
        from playwright.sync_api import TimeoutError as TimedOut

        try:
            super().press(name)
        except TimedOut:
            raise AssertionError(f"{name} could not be pressed: {self.page.inner_text('.us-run')!r}") from None
        return self

    def example(self, word: str) -> Visitor:
        """Take the example whose name holds that word, and wait until it is shown."""
        self.forget_state()
        self.page.locator(".us-examples button", has_text=word).click()
        self.wait()
        return self

    def give(self, *files: Path) -> None:
        """Drop files into the page."""
        self.page.set_input_files(".us-upload input[type=file]", files)

    def upload(self, *files: Path) -> Visitor:
        """Drop a scan, and wait until it is shown."""
        self.forget_state()
        self.give(*files)
        self.wait()
        return self

    def refused(self, *files: Path, why: str) -> str:
        """Drop files, and wait for the reason why they are not taken."""
        self.give(*files)
        return self.trouble(why)

    def trouble(self, why: str) -> str:
        """The message that tells of an error, once it holds some words."""
        return str(self._said(".us-trouble[role=alert]", why).inner_text())

    def _said(self, where: str, words: str) -> Any:
        from playwright.sync_api import TimeoutError as TimedOut

        message = self.page.locator(where, has_text=words)
        try:
            message.wait_for()
        except TimedOut:
            raise AssertionError(f"the page did not say {words!r} but {self.page.inner_text('.us-run')!r}") from None
        return message

    def noted(self, words: str) -> Visitor:
        """Wait until the page says so under the place for files."""
        self._said(".us-note[role=alert]", words)
        return self

    def told(self, words: str) -> Visitor:
        """Wait until the page says so under its buttons."""
        self._said(".us-run [role=status]", words)
        return self

    def tick(self, *tasks: str) -> Visitor:
        """Tick these tasks and no others."""
        boxes = self.page.locator(".us-tasks input[type=checkbox]")
        for box in boxes.all():
            box.set_checked(box.get_attribute("name") in tasks)
        return self

    def slow(self) -> Visitor:
        """Choose what takes longest: windows close together, and all once more, mirrored."""
        return self.work("Exact", step="0.25", agreement=True)

    def work(self, title: str, step: str = "As chosen above", *, agreement: bool = False) -> Visitor:
        """Choose how much work it may be."""
        choice = self.page.get_by_role("radio", name=f"{title}. ")
        if not choice.is_visible():
            self.more_options()
        choice.check()
        self.page.get_by_role("radio", name=step, exact=True).check()
        self.page.get_by_role("checkbox", name="Agreement").set_checked(agreement)
        return self

    def cost_told(self, words: str) -> Visitor:
        """Wait until the page says that a run will take so much."""
        self._said(".us-cost", words)
        return self

    def more_options(self) -> None:
        """Open what is rarely needed."""
        self.page.get_by_role("button", name="More options").click()  # an arrow is part of its name

    def segment(self, *tasks: str) -> Visitor:
        """Ask for these tasks; see `finish`."""
        self.tick(*tasks).press("Segment")
        return self

    def segment_next(self, *tasks: str) -> Visitor:
        """The same after another run, and once more where nothing comes of it.

        Gradio 6 loses a press in the moment in which the run before ends, which a busy machine draws out.
        """
        from playwright.sync_api import TimeoutError as TimedOut

        status = "document.querySelector('.us-run [role=status]')?.innerText"
        before = self.page.evaluate(status)
        self.segment(*tasks)
        try:
            self.page.wait_for_function(f"before => {status} !== before", arg=before, timeout=30_000)
        except TimedOut:
            self.press("Segment")
        return self

    def segment_slowly(self) -> Visitor:
        """Ask for every task that is offered, in the way that takes longest: time enough to do something meanwhile.

        In one plane, because without a graphics card all of them leave a busy machine no time for anything else.
        """
        self.press("Axial")
        offered = self.page.locator(".us-tasks input[type=checkbox]").all()
        return self.slow().segment(*(str(box.get_attribute("name")) for box in offered))

    def finish(self) -> Visitor:
        """Wait for the end of what `segment` began."""
        self.told("Done in")
        self.wait()
        return self

    def is_enabled(self, name: str) -> bool:
        return bool(self.page.get_by_role("button", name=name, exact=True).is_enabled())

    def plain_slice(self, after: str = "") -> np.ndarray:
        """(h, w, 3) of the slice that browsers without WebGL show; after: its address before, to wait for another."""
        shown = ".us-slice"
        self.page.wait_for_function(
            f"before => {{ const shown = document.querySelector('{shown}'); return shown?.complete && shown.src !== before; }}",
            arg=after,
        )
        return self.picture(shown)

    @property
    def slice_address(self) -> str:
        """Of the slice that is shown now."""
        return str(self.page.get_attribute(".us-slice", "src"))

    def download(self, name: str, folder: Path) -> Path:
        """Press a download button; where the file is now."""
        with self.page.expect_download() as download:
            self.press(name)
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    @property
    def note(self) -> str:
        return str(self.page.inner_text(".us-note"))

    @property
    def title(self) -> str:
        return str(self.page.inner_text(".us-image strong"))

    @property
    def volumes(self) -> dict[str, str]:
        """The table: what it says of each structure's volume."""
        rows = self.page.locator("[aria-label=Volumes] tbody tr").all()
        return {row.locator("th").inner_text().split("\n")[0]: row.locator("td").first.inner_text() for row in rows}


def violations(visitor: Visitor, axe: str) -> list[str]:
    """What is against the rules of accessibility, and where. axe: the script that knows them."""
    visitor.page.mouse.move(0, 0)  # what is under the mouse has other colours
    visitor.page.wait_for_timeout(500)
    if not visitor.page.evaluate("'axe' in window"):
        visitor.page.evaluate(axe)
    found = visitor.page.evaluate("tags => axe.run(document, {runOnly: tags})", WCAG)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]
    ]


@contextmanager
def visiting(chromium: Any, url: str) -> Iterator[Callable[..., Visitor]]:
    """Opens the page, each time as somebody else. In none of them may go wrong anything, or be asked anything of other machines."""
    visitors = list[Visitor]()

    def visit(query: str = "", width: int = 1280, height: int = 900, script: str = "") -> Visitor:
        page = chromium.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
        if script:
            page.add_init_script(script)
        visitors.append(Visitor(page, url + query))
        visitors[-1].url = url
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.page.close()
    errors = [error for visitor in visitors for error in visitor.errors]
    assert errors == [], errors
    requests = [request for visitor in visitors for request in visitor.foreign_requests]
    assert requests == [], requests


def command_line(*arguments: str | Path) -> None:
    """What ``uniseg`` does, in this process: it has its libraries already."""
    from uniseg_app.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNISEG_ENGINE", raising=False)
        patch.setattr(sys, "argv", ["uniseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code, f"uniseg ended with {stop.value.code}"


class Server:
    """The program as a process, whose files all lie in one folder; see `begin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        own = {"HOME": folder, "XDG_STATE_HOME": folder / "state", "TMPDIR": self.temporary, "UNISEG_SETTINGS": folder / "settings.toml"}  # fmt: skip
        self.environment = {**os.environ, **{name: str(path) for name, path in own.items()}, "PYTHONUNBUFFERED": "1"}
        for name in ("UNISEG_WEIGHTS", "UNISEG_ENGINE"):  # computed as users' scans are, which is fastest, too
            self.environment.pop(name, None)

    def begin(self, *arguments: str) -> Server:
        """Start it, look at it at once, and wait until the page is made. arguments: of Python."""
        import httpx

        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=log,
                                            text=True, env=self.environment)  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Starting. The page comes at "), f"the page did not start: {line}{self.log}"
        self.url = line.split()[5]
        self.seen_early = httpx.get(self.url, timeout=60)
        line = self.process.stdout.readline()
        assert line.startswith(f"The page is at {self.url} "), f"the page did not start: {line}{self.log}"
        return self

    @property
    def log(self) -> str:
        """What it said on stderr."""
        return (self.folder / "log").read_text()

    @property
    def port(self) -> str:
        return self.url.rstrip("/").rpartition(":")[2]

    @property
    def visits(self) -> set[Path]:
        """The private folders of open tabs."""
        return {path for path in self.temporary.glob("uniseg/uniseg-web-*/*") if path.name != "uploads"}

    @property
    def last_job(self) -> str:
        """How the job that began last stands, as the log of jobs has it."""
        with closing(sqlite3.connect(self.folder / "state" / "uniseg" / "jobs.sqlite")) as database:
            (state,) = database.execute("SELECT state FROM jobs ORDER BY began_s DESC LIMIT 1").fetchone()
        return str(state)

    def end(self) -> None:
        """As Ctrl-C or the system ends it."""
        self.process.terminate()
        self._wait()

    def crash(self) -> None:
        """End it without letting it do anything about it."""
        self.process.kill()
        self._wait()

    def _wait(self) -> None:
        assert self.process.stdout is not None
        try:
            self.process.wait(LONG_S / 2)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def files(self, name: str = "*") -> list[Path]:
        """All files of that name where temporary files lie."""
        return [path for path in self.temporary.rglob(name) if path.is_file()]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Server]:
    """The program while the block lasts; nothing may have gone wrong inside."""
    server = Server(folder).begin(*arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()
    assert "Traceback" not in server.log, server.log
