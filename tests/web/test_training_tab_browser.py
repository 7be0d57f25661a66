"""The Training tab as people use it, in a real browser, with the embedded demo weights: from a folder with a fault to a task in use.

The task is the spleen with a rim of two voxels: its nearest old task finds most of it, and every step makes it better.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import COMMAND_LINE, Server, Visitor, needs_a_browser, serving, until, violations, visiting
from scipy import ndimage

from uniseg_app.training_runs import TrainingRuns
from uniseg_model.dataset import write_case, write_description
from uniseg_model.io import read_labels, write_map
from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import Label, Task

pytestmark = needs_a_browser

RIM = Task("rim", "Spleen and rim", ("CT",), (Label("rim", "#0072B2"),), (5.0, 4.0, 4.0), ("hu",))
PATIENCE_S = 600.0  # for real steps beside a browser without a graphics card
QUICK = 'batch = 1\nepoch = 1\nsave_every = 1\nvalidation_windows = 1\naugmentation = "none"\nwarm_up = 1\nrate = 0.01'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's folder with one data set of two cases, in one of which the labels are a little off whole numbers."""
    root = tmp_path_factory.mktemp("root")
    for seed in (3, 4):
        phantom = make_phantom("spleen", seed, spacing_mm=(5.0, 4.0, 4.0))
        labels = ndimage.binary_dilation(phantom.labels["spleen"] > 0, iterations=2).astype(np.uint8)
        write_case(root / "rim", f"case_{seed}", phantom.volume, labels)
        write_map(root / f"case_{seed}_corrected.nii.gz", labels, phantom.volume.affine)  # what a person would have drawn
    write_description(root / "rim", RIM)
    path = root / "rim" / "labelsTr" / "case_3.nii.gz"
    values, affine = read_labels(path)
    write_map(path, values + np.float32(1e-4), affine)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Server]:
    """The page; whatever still trains when all is done is stopped."""
    with serving(tmp_path_factory.mktemp("server"), *command(root)) as server:
        yield server
        runs = TrainingRuns(server.folder / "training")
        for info in runs.history():
            if info.is_active:
                runs.stop(info.id)


def command(root: Path) -> tuple[str, ...]:
    return "-c", COMMAND_LINE, "web", "--port", "0", "--data-root", str(root)


class Trainer:
    """Somebody on the Training tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page = visitor, visitor.page
        visitor.wait().press("Axial")  # one plane: without a graphics card 3D leaves no time for anything else
        self.page.get_by_role("tab", name="Training").click()
        self.said("Runs belong to this machine")

    def said(self, words: str, where: str = ".us-training") -> Any:
        """Wait until the tab says so; where."""
        found = self.page.locator(f"{where} :is(p, td, small, .us-trouble)", has_text=words).first
        found.wait_for()
        return found

    def press(self, name: str) -> Trainer:
        self.page.get_by_role("button", name=name, exact=True).click()
        return self

    def look_at(self, name: str) -> Trainer:
        """Type where a data set is, and have it looked at."""
        return self.fill("Or its folder", name).press("Look at it")

    def drop(self, path: Path) -> Trainer:
        self.page.set_input_files(".us-zip input[type=file]", path)
        return self

    def typed(self, label: str) -> str:
        return str(self.page.get_by_label(label).input_value())

    def fill(self, label: str, text: str) -> Trainer:
        box = self.page.get_by_label(label)
        box.fill(text)
        box.press("Tab")
        return self

    def ready(self, title: str) -> Trainer:
        """Wait until a data set was looked at."""
        self.page.locator(".us-training .us-left .us-image strong", has_text=title).wait_for()
        return self

    @property
    def findings(self) -> list[list[str]]:
        rows = self.page.locator("[aria-label='What is wrong'] tbody tr").all()
        return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]

    def choose(self, label: str, words: str) -> Trainer:
        self.page.get_by_label(label, exact=True).first.click()
        self.page.locator("li[role=option]", has_text=words).click()
        return self


@pytest.fixture(scope="module")
def trainer(chromium: Any, server: Server) -> Iterator[Trainer]:
    with visiting(chromium, server.url) as visit:
        yield Trainer(visit())


def test_folders_elsewhere_and_archives_that_are_none_are_refused(trainer: Trainer, tmp_path: Path) -> None:
    trainer.look_at("/etc").said("/etc is in no folder whose data sets may be used here")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    trainer.drop(tmp_path / "broken.zip").said("the archive cannot be read")
    trainer.drop(zipped(tmp_path / "empty.zip", {"readme.txt": b"hello"})).said("empty.zip holds no NIfTI file")
    assert not trainer.page.get_by_role("button", name="Start", exact=True).is_visible()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_an_archive_is_looked_at_and_a_task_suggested(trainer: Trainer, root: Path, tmp_path: Path) -> None:
    """Spacing is that of the weights' CT tasks, and names are those of the data set."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in (root / "rim").rglob("*.*")}
    trainer.drop(zipped(tmp_path / "my rim.zip", files)).ready("my_rim")
    assert [finding[:2] for finding in trainer.findings] == [["✕ Error", "case_3"], ["! Warning", "All"]]
    assert (trainer.typed("Name of the task"), trainer.typed("Structures by label value")) == ("Spleen and rim", "rim #0072B2")
    assert (trainer.typed("Image, by channel"), trainer.typed("Voxels z, y, x in mm")) == ("CT", "5, 4, 4")
    trainer.press("Start").said("the data set cannot be trained on as it is")


def test_a_fault_is_mended_into_a_copy(trainer: Trainer, root: Path) -> None:
    before = (root / "rim" / "labelsTr" / "case_3.nii.gz").read_bytes()
    trainer.look_at("rim").ready(f"{root.name}/rim")
    assert trainer.page.locator(".us-training .us-warnings li").all_inner_texts() == ["case_3: round the labels"]
    trainer.press("Mend into a copy").ready("my data/rim_mended")
    assert [finding[:2] for finding in trainer.findings] == [["! Warning", "All"]]
    assert (root / "rim" / "labelsTr" / "case_3.nii.gz").read_bytes() == before


def test_what_is_filled_in_wrongly_is_told_beside_it(trainer: Trainer) -> None:
    trainer.fill("Structures by label value", "#0072B2").said("has a colour and no name")
    trainer.fill("Structures by label value", "spleen and rim #0072B2")
    trainer.fill("Voxels z, y, x in mm", "5, 4").press("Start").said("the voxel size '5, 4' is not three numbers")
    trainer.fill("Voxels z, y, x in mm", "5, 4, 4")


def test_a_run_is_started_and_watched(trainer: Trainer, server: Server) -> None:
    trainer.page.get_by_role("button", name="More settings").last.click()
    trainer.fill("Of the plan, one a line", QUICK).fill("Minutes for its steps", "100").press("Start")
    trainer.said("Started: it goes on by itself")
    trainer.page.locator('svg[aria-label*="Validation Dice. Mean: "]').wait_for()
    trainer.page.locator(".us-preview img").nth(2).wait_for()
    trainer.said("It was said to take about 100 min")
    before = dice(server)[0]
    until(lambda: max(dice(server)) > before, "it got better", PATIENCE_S)


def dice(server: Server) -> list[float]:
    """Of the newest run, at each validation."""
    runs = TrainingRuns(server.folder / "training")
    return [line["mean_dice"] for line in runs.curve(runs.history()[0].id) if "mean_dice" in line]


def test_everybody_can_use_it_in_light_and_dark_and_on_a_phone(trainer: Trainer, axe: str) -> None:
    page = trainer.page
    assert violations(trainer.visitor, axe) == []
    page.evaluate("document.body.classList.toggle('dark')")
    assert violations(trainer.visitor, axe) == []
    page.evaluate("document.body.classList.toggle('dark')")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("button", name="Pause", exact=True).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Stop and keep the best"


def test_a_run_outlives_the_server_and_its_task_is_taken_into_use(
    trainer: Trainer, chromium: Any, server: Server, root: Path
) -> None:
    trainer.page.close()
    server.crash()
    server.begin(*command(root))
    with visiting(chromium, server.url) as visit:
        again = Trainer(visit())
        again.said("Training: step")
        a_second_one_waits(again)
        again.choose("Run", "Spleen and rim")
        again.press("Stop and keep the best").said("Better than its start: validation Dice of spleen_and_rim")
        again.fill("Note on this run", "with a rim").press("Keep the note").said("with a rim")
        again.press("Install").said("“Spleen and rim” is in the list of the Segment tab now.")
        corrections_are_learned(again, server, root)
        again.press("Take out of use").said("It is in no list any more")
        again.press("Remove").press("Remove it for good").said("“Spleen and rim” is gone.")
        again.said("No run yet.")
    assert TrainingRuns(server.folder / "training").history() == []


def a_second_one_waits(again: Trainer) -> None:
    """And says for whom; it is stopped before it has learned anything."""
    again.choose("Data set on this server", "my data/rim_mended").press("Look at it").ready("my data/rim_mended")
    again.fill("Name of the task", "Second").press("Start").said("Waiting: it waits for “Spleen and rim”")
    again.press("Stop and keep the best").said("it was stopped before anything was learned")
    again.press("Remove").press("Remove it for good").said("“Second” is gone.")


def corrections_are_learned(again: Trainer, server: Server, root: Path) -> None:
    """The task in use is asked for two scans; with the labels that a person gives for them it goes on from where it is."""
    again.page.get_by_role("button", name="Correct and learn").click()
    for n, case in enumerate(("case_3", "case_4"), start=1):
        again.page.get_by_role("tab", name="Segment").click()
        again.visitor.upload(root / "rim" / "imagesTr" / f"{case}_0000.nii.gz").press("Axial").segment(
            "spleen_and_rim"
        ).finish()
        assert float(again.visitor.volumes["spleen and rim"].replace(",", "")) > 50
        again.page.get_by_role("tab", name="Training").click()
        again.page.set_input_files(".us-zip input[type=file] >> nth=-1", root / f"{case}_corrected.nii.gz")
        again.said(f"{n} corrected case{'s' * (n > 1)} of Spleen and rim.")
        if n == 1:
            again.press("Improve the task").said("there is 1 corrected case of Spleen and rim, at least 2 are needed")
    again.press("Improve the task").said("Started: it goes on by itself")
    until(lambda: dice(server), "it was validated", PATIENCE_S)
    again.press("Stop and keep the best")
    runs = TrainingRuns(server.folder / "training")
    until(lambda: not runs.history()[0].is_active, "it ended", PATIENCE_S)
    assert (runs.history()[0].title, runs.history()[0].depth) == ("Spleen and rim, corrected", "pack")
    again.press("Remove").press("Remove it for good").said("“Spleen and rim, corrected” is gone.")
    again.choose("Run", "Spleen and rim")
