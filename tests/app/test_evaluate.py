"""``uniseg evaluate``: its table and its page on the disk, and what it refuses before any work."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def folders(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with ``pred``, ``ref`` and ``images``: three spleens, each lacking one more slice."""
    for case in (1, 2, 3):
        spleen = np.zeros((12, 20, 20), dtype=np.uint8)
        spleen[1:11, 5:15, 5:15] = 1
        save(tmp_path / "ref" / f"s{case}.nii.gz", spleen)
        spleen[1 : 1 + case] = 0
        save(tmp_path / "pred" / f"s{case}.nii.gz", spleen)
        save(tmp_path / "images" / f"s{case}_0000.nii.gz", rng.normal(0, 90, spleen.shape).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def test_a_table_and_a_page_are_written(run: Any, folders: Path) -> None:
    code, out, _ = run(
        "evaluate", "pred", "ref", "--task", "spleen", "--csv", "new/scores.csv", "--html", "page.HTML", "--images", "images"
    )
    assert code == 0
    with Path("new/scores.csv").open(newline="") as file:
        errors = [float(row["volume_error_percent"]) for row in csv.DictReader(file)]
    assert errors == [-10.0, -20.0, -30.0]
    page = Path("page.HTML").read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert "Without image" not in page
    assert "Wrote new/scores.csv" in out.replace("\\", "/")
    assert "Volume error (%)" in out
    assert "-20.0" in out
    assert "95 % percentile bootstrap" in out


def test_json_has_intervals_and_stays_alone_on_stdout(run: Any, folders: Path) -> None:
    code, out, _ = run("evaluate", "pred", "ref", "--task", "spleen", "--json", "--html", "page.html")
    assert code == 0
    low, high = json.loads(out)["summary"]["spleen"]["volume_error_percent"]["interval"]
    assert -30 <= low < -20 < high <= -10


def test_an_existing_file_is_replaced_only_when_asked(run: Any, folders: Path) -> None:
    Path("thesis.csv").write_text("years of work")
    code, _, err = run("evaluate", "pred", "ref", "--task", "spleen", "--csv", "thesis.csv")
    assert (code, Path("thesis.csv").read_text()) == (1, "years of work")
    assert "thesis.csv exists. Choose another name, or add --overwrite." in err
    assert run("evaluate", "pred", "ref", "--task", "spleen", "--csv", "thesis.csv", "--overwrite")[0] == 0
    assert Path("thesis.csv").read_text().startswith("case,structure,dice")


@pytest.mark.parametrize(("options", "message"), [
    (["--csv", "scores.txt"], "--csv writes a .csv file, not scores.txt. Choose a name ending in .csv."),
    (["--html", "ref/s1.nii.gz", "--overwrite"], "--html writes a .html file, not s1.nii.gz"),
    (["--images", "images"], "--images lie behind the pictures of a page. Add --html PAGE.html."),
    (["--html", "page.html", "--images", "pred"], "pred is no folder with images named CASE_0000.nii.gz"),
    (["--html", "folder.html"], "folder.html is a folder"),
    (["--csv", "ref/s1.nii.gz/scores.csv"], "s1.nii.gz is a file"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_any_work(run: Any, folders: Path, options: list[str], message: str) -> None:
    Path("folder.html").mkdir()
    before = sorted(folders.rglob("*"))
    code, out, err = run("evaluate", "pred", "ref", "--task", "spleen", *options)
    assert (code, out) == (1, "")
    assert message in err
    assert "Comparing" not in err
    assert sorted(folders.rglob("*")) == before


def test_what_is_missing_is_on_the_page_and_the_exit_code_says_so(run: Any, folders: Path) -> None:
    Path("pred/s3.nii.gz").unlink()
    code, _, err = run("evaluate", "pred", "ref", "--task", "spleen", "--csv", "scores.csv", "--html", "page.html")
    assert code == 1
    assert "1 of 3 cases could not be compared" in err
    assert "s3: no prediction" in Path("page.html").read_text(encoding="utf-8")
    assert "s3,spleen,,,,,,,,no prediction" in Path("scores.csv").read_text()
