"""The whole page as people use it, in a real browser and with the embedded demo weights."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import (
    COMMAND_LINE,
    WITHOUT_WEBGL,
    Server,
    Visitor,
    colored,
    command_line,
    needs_a_browser,
    serving,
    until,
    violations,
    visiting,
)

pytestmark = needs_a_browser

BLUE = (0, 114, 178)  # liver
TASKS = ("liver", "spleen")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of `uniseg demo`, whose example is segmented for whoever comes."""
    with serving(tmp_path_factory.mktemp("server"), "-c", COMMAND_LINE, "demo", "--port", "0") as server:
        yield server


@pytest.fixture(scope="module")
def one(chromium: Any, server: Server) -> Iterator[Visitor]:
    """The same somebody in most tests: a page takes a browser without a graphics card long to open."""
    with visiting(chromium, server.url) as visit:
        yield visit()


@pytest.fixture
def answered(one: Visitor, scan: Path) -> Visitor:
    """Has dropped a scan and had two tasks segmented; sees all views, with the crosshair in the liver."""
    if one.title != scan.name or not one.volumes:
        one.upload(scan).segment(*TASKS).finish()
    return one.press("All").press("Reset").press("liver")


def test_the_demo_shows_its_example_segmented_without_being_asked(one: Visitor) -> None:
    one.page.locator("[aria-label=Volumes]").wait_for()
    one.wait().press("liver")
    assert one.title == "Example: Trunk CT (synthetic)"
    assert colored(one.picture(), BLUE).sum() > 1_500
    assert {"liver", "kidney", "vertebrae"} <= set(one.volumes)


def test_an_uploaded_scan_is_drawn(one: Visitor, scan: Path) -> None:
    before = one.wait().picture()
    one.upload(scan)
    after = one.picture()
    assert one.title == scan.name
    assert (np.abs(after - before).max(axis=2) > 40).mean() > 0.1  # of the picture
    assert (after.min(axis=2) > 60).sum() > 10_000


@pytest.mark.parametrize("view", ["Axial", "Coronal", "Sagittal", "3D"])
def test_what_was_found_is_seen_in_every_view(answered: Visitor, view: str) -> None:
    answered.press(view)
    assert colored(answered.picture(), BLUE).sum() > 500


def test_the_legend_hides_a_structure(answered: Visitor) -> None:
    answered.press("Show liver")
    assert colored(answered.picture(), BLUE).sum() == 0
    answered.press("Show liver")
    assert colored(answered.picture(), BLUE).sum() > 500


def test_the_download_equals_what_the_command_line_writes(answered: Visitor, scan: Path, tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    with zipfile.ZipFile(answered.download("All results (.zip)", tmp_path)) as archive:
        archive.extractall(tmp_path / "page")
    command_line("segment", scan, "--task", ",".join(TASKS), "--confidence", "--out", tmp_path / "line")
    names = sorted(path.name for path in (tmp_path / "line").glob("*.nii.gz"))
    assert names == ["liver.nii.gz", "merged.nii.gz", "spleen.nii.gz"]
    assert names == sorted(path.name for path in (tmp_path / "page").glob("*.nii.gz"))
    for name in names:
        page, line, image = (nib.load(path) for path in (tmp_path / "page" / name, tmp_path / "line" / name, scan))
        assert page.get_data_dtype() == line.get_data_dtype()
        np.testing.assert_array_equal(np.asarray(page.dataobj), np.asarray(line.dataobj), err_msg=name)
        np.testing.assert_array_equal(page.affine, image.affine)
        np.testing.assert_array_equal(page.affine, line.affine)


def test_the_table_says_what_the_csv_file_says(answered: Visitor, tmp_path: Path) -> None:
    with answered.download("Volumes (.csv)", tmp_path).open(encoding="utf-8", newline="") as file:
        rows = {row["structure"]: float(row["volume_ml"]) for row in csv.DictReader(file)}
    assert answered.volumes == {name: f"{ml:,.1f}" if ml else "not found" for name, ml in rows.items()}
    assert set(rows) == {"liver", "liver tumour", "spleen"}


def test_nothing_is_asked_of_other_machines(answered: Visitor) -> None:
    assert len(answered.requests) > 20
    assert answered.foreign_requests == []


def test_a_cancelled_run_leaves_the_page_ready_for_the_next(one: Visitor) -> None:
    one.wait().page.locator("[aria-label=Volumes]").wait_for()  # the example is not being segmented any more
    one.example("Trunk CT").segment_slowly().told("Segmenting: window")
    assert not one.is_enabled("Segment")
    one.press("Cancel").told("Cancelled.")
    assert one.is_enabled("Segment")
    assert not one.is_enabled("Cancel")
    assert one.volumes == {}
    one.work("Fast").segment_next("spleen").finish()
    assert len(one.volumes) >= 1


def test_how_much_work_is_told_before_and_after_the_run_and_in_its_record(one: Visitor, tmp_path: Path) -> None:
    if one.title != "Example: Trunk CT (synthetic)":
        one.example("Trunk CT")
    one.wait().tick("spleen").work("Exact").cost_told("8 windows")
    one.work("Fast", step="0.25").cost_told("14 windows")
    one.work("Fast").cost_told("6 windows").segment_next("spleen").finish()
    one.told(", without mirroring, step 0.75.")
    with zipfile.ZipFile(one.download("All results (.zip)", tmp_path)) as archive:
        options = json.loads(archive.read("run.json"))["options"]
    assert (options["step"], options["mirror"], options["body_share"]) == (0.75, False, 0.05)


def test_two_people_wait_for_each_other_and_see_nothing_of_each_other(
    one: Visitor, visit: Callable[..., Visitor], scan: Path
) -> None:
    other = visit().wait()
    other.example("Prostate")
    one.wait().upload(scan).segment_slowly().told("Segmenting: window")
    other.segment("prostate").told("Waiting for 1 other run")
    one.press("Cancel").told("Cancelled.").work("Fast").segment_next("spleen")
    other.finish()
    one.finish()
    assert (one.title, set(one.volumes)) == (scan.name, {"spleen"})
    assert set(other.volumes) == {"prostate"}
    assert one.page.locator(".us-legend .us-item").all_inner_texts() == ["spleen"]
    assert other.page.locator(".us-legend .us-item").all_inner_texts() == ["prostate"]
    assert scan.name not in other.page.content()


def test_a_phone_shows_everything_without_scrolling_sideways(visit: Callable[..., Visitor]) -> None:
    phone = visit(width=390, height=844)
    phone.page.locator("[aria-label=Volumes]").wait_for()
    phone.wait()
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [element.bounding_box() for element in phone.page.locator(".us-viewer button:visible, .us-viewer input").all()]
    assert [box for box in boxes if not (box and box["x"] >= 0 and box["x"] + box["width"] <= 390)] == []
    phone.page.get_by_role("button", name="Segment", exact=True).click(trial=True)  # nothing lies over it


def test_without_webgl_plain_slices_show_the_same(visit: Callable[..., Visitor], scan: Path, axe: str) -> None:
    visitor = visit(script=WITHOUT_WEBGL)
    visitor.plain_slice()
    before = visitor.slice_address
    visitor.give(scan)
    first, before = visitor.plain_slice(after=before), visitor.slice_address
    visitor.page.get_by_label("range slider for Slice").press("End")
    last = visitor.plain_slice(after=before)
    assert (np.abs(last - first).max(axis=2) > 40).mean() > 0.02
    assert colored(last, BLUE).sum() == 0
    visitor.segment("liver").told("Done in")
    visitor.page.get_by_role("radio", name="coronal").check()
    until(lambda: colored(visitor.plain_slice(), BLUE).sum() > 500, "the liver was seen in the coronal slice")
    assert violations(visitor, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_can_be_used_by_everybody(visit: Callable[..., Visitor], axe: str, theme: str) -> None:
    visitor = visit(f"?__theme={theme}")
    visitor.page.locator("[aria-label=Volumes]").wait_for()
    visitor.more_options()
    visitor.page.locator(".us-about-tasks summary").click()
    visitor.segment().trouble("no task is ticked")
    assert violations(visitor, axe) == []
    visitor.page.get_by_role("tab", name="About").click()
    assert violations(visitor, axe) == [], "About"
