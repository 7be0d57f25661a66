"""What goes wrong on the page, in a real browser: bad files, wrong presses, people who leave, and a program that ends."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Server, Visitor, needs_a_browser, serving, until, visiting
from test_uploads import nifti, slice_of, zipped

pytestmark = needs_a_browser

SMALL_UPLOADS = """
import sys
from uniseg_app.web_demo.app import WebRequest, serve
serve(WebRequest(port=int(sys.argv[1]), most_upload_mb=1), lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page, which takes one megabyte at most."""
    with serving(tmp_path_factory.mktemp("server"), "-c", SMALL_UPLOADS, "0") as server:
        yield server


@pytest.fixture(scope="module")
def one(chromium: Any, server: Server) -> Iterator[Visitor]:
    with visiting(chromium, server.url) as visit:
        yield visit().wait()


@pytest.fixture
def visitor(one: Visitor) -> Visitor:
    """The same somebody in most tests, who has taken the first example and sees one plane of it."""
    if one.title != "Example: Trunk CT (synthetic)":
        one.example("Trunk CT")
    return one.press("Axial")


@pytest.fixture
def dropped(one: Visitor, tmp_path: Path) -> Callable[..., str]:
    """Drops a file of some name and content; the page tells why not, and can be used afterwards."""

    def drop(name: str, content: bytes, why: str) -> str:
        before = one.title
        (path := tmp_path / name).write_bytes(content)
        told = one.refused(path, why=why)
        assert one.title == before
        one.upload(good_scan(tmp_path))
        assert one.title == "good.nii.gz"
        return told

    return drop


def good_scan(folder: Path, name: str = "good.nii.gz") -> Path:
    path = folder / name
    path.write_bytes(nifti(40, (40, 40, 20)))
    return path


def huge() -> bytes:
    """A header of 4000 x 4000 x 4000 voxels, and next to nothing behind it."""
    content = bytearray(nifti(suffix=".nii"))
    struct.pack_into("<8h", content, 40, 3, 4000, 4000, 4000, 1, 1, 1, 1)
    return gzip.compress(bytes(content))


BAD = {
    "notes.txt": (b"a report", "of a kind that is not known here"),
    "slice.png": (b"\x89PNG\r\n\x1a\n" + bytes(200), "a 2-D picture"),
    "cut.nii.gz": (nifti(3, (60, 60, 60))[:-40], "cut.nii.gz"),
    "flat.nii.gz": (nifti(3, (60, 60)), "flat.nii.gz"),
    "huge.nii.gz": (huge(), "4000 x 4000 x 4000"),
    "evil.zip": (zipped({"../evil.nii.gz": nifti(3)}), "evil.nii.gz"),
}


def test_who_comes_before_the_page_is_made_is_told_so(server: Server) -> None:
    assert server.seen_early.status_code == 503
    assert "UniSeg is starting" in server.seen_early.text


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_words_and_the_next_good_one_is_taken(dropped: Callable[..., str], name: str) -> None:
    content, why = BAD[name]
    told = dropped(name, content, why)
    assert "/" not in told.replace("/image pair", "").replace("../", "")  # no place on the server


def test_a_scan_over_the_limit_is_refused_in_words(one: Visitor, tmp_path: Path, rng: np.random.Generator) -> None:
    (path := tmp_path / "large.nii.gz").write_bytes(rng.bytes(1_500_000))
    one.give(path)
    one.noted("1.5 MB are too much for this server: it takes 1 MB at once.")
    one.upload(good_scan(tmp_path))
    assert one.title == "good.nii.gz"


def test_a_page_that_is_loaded_anew_says_what_it_has_forgotten(one: Visitor, tmp_path: Path) -> None:
    one.upload(good_scan(tmp_path, "mine.nii.gz"))
    one.page.reload()
    one.noted("The page was loaded anew, and mine.nii.gz is not here any more: drop it again.")
    one.wait().upload(good_scan(tmp_path, "mine.nii.gz"))
    assert one.note == ""


def test_of_two_channels_only_tasks_of_two_channels_are_offered(one: Visitor, tmp_path: Path) -> None:
    (path := tmp_path / "two.nii.gz").write_bytes(nifti(40, (40, 40, 20, 2)))
    one.upload(path)
    offered = [box.get_attribute("name") for box in one.page.locator(".us-tasks input[type=checkbox]").all()]
    assert offered == ["whole_body"]
    assert "2 channels" in one.page.inner_text(".us-image")


def test_of_two_series_the_page_asks_which(one: Visitor, tmp_path: Path) -> None:
    slices = {f"{series}-{k}.dcm": slice_of(k, series) for series, n in (("1", 4), ("2", 6)) for k in range(n)}
    (path := tmp_path / "study.zip").write_bytes(zipped(slices))
    one.give(path)
    one.told("There are 2 series. Choose one.")
    one.forget_state()
    one.page.get_by_label("Which series?").click()
    one.page.get_by_role("option", name="Body 2: 6 slices, CT").click()
    one.wait()
    assert "5 × 3 × 6 voxels of 0.75 × 0.5 × 2.5 mm" in one.page.inner_text(".us-image")
    assert not one.page.get_by_label("Which series?").is_visible()


def test_without_a_tick_nothing_runs(visitor: Visitor) -> None:
    visitor.segment().trouble("no task is ticked")
    visitor.segment("spleen").finish()
    assert visitor.page.locator(".us-trouble").count() == 0


def test_pressing_cancel_twice_cancels_once(visitor: Visitor) -> None:
    visitor.segment_slowly().told("Segmenting: window")
    visitor.page.get_by_role("button", name="Cancel", exact=True).dblclick()
    visitor.told("Cancelled.")
    visitor.work("Fast").segment_next("spleen").finish()


def test_who_closes_the_tab_cancels_the_run(visit: Callable[..., Visitor], server: Server) -> None:
    before = server.visits
    visitor = visit().wait()
    visitor.segment_slowly().told("Segmenting: window")
    (folder,) = server.visits - before
    assert server.last_job == "running"
    visitor.page.close()
    until(lambda: server.last_job == "cancelled", "the run was cancelled")
    until(lambda: not folder.exists(), "the private folder was removed")


def test_who_closes_the_tab_leaves_no_scan_behind(visit: Callable[..., Visitor], server: Server, tmp_path: Path) -> None:
    before = server.visits
    visitor = visit().wait().upload(good_scan(tmp_path, "theirs.nii.gz"))
    (folder,) = server.visits - before
    assert server.files("theirs.nii.gz") != []
    visitor.page.close()
    until(lambda: not folder.exists(), "the private folder was removed")
    assert server.files("theirs.nii.gz") == []


def test_after_a_crash_the_page_says_what_was_lost_and_works(
    visitor: Visitor, visit: Callable[..., Visitor], server: Server
) -> None:
    visitor.tick().segment_slowly().told("Segmenting: window")
    server.crash()
    visitor.page.get_by_text("Connection to the server was lost").first.wait_for()
    server.begin("-c", SMALL_UPLOADS, server.port)
    newcomer = visit().wait()
    newcomer.told("The program ended last time while this ran: liver, kidney, ")
    newcomer.segment("spleen").finish()
    assert list(newcomer.volumes) == ["spleen"]
    visitor.told("The program ended last time while this ran: liver, kidney, ")  # the page has loaded itself anew
    assert visitor.is_enabled("Segment")


def test_a_program_that_ends_leaves_nothing_of_a_scan(one: Visitor, server: Server, tmp_path: Path) -> None:
    """The last one here: nobody is served after it."""
    one.upload(good_scan(tmp_path))
    assert server.files("good.nii.gz") != []
    server.end()
    assert server.files() == []
