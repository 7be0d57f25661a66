"""Folder against folder, on label maps small enough to count."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uniseg_model.errors import FileFormatError, MissingPackageError, OptionError
from uniseg_model.evaluation import DEFINITIONS, INTERVAL, CaseScores, Evaluation, Spread, evaluate_folders
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.tasks import builtin_tasks

LIVER = builtin_tasks()["liver"]
AFFINE = np.diag([0.5, 1.0, 2.0, 1.0])  # file axes x, y, z: a voxel of 1 mm³


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Empty folders for predictions and references."""
    for name in ("predictions", "references"):
        (tmp_path / name).mkdir()
    return tmp_path / "predictions", tmp_path / "references"


def labels(*, liver_from: int | None = 2, tumour: bool = False) -> np.ndarray:
    """(Z, Y, X): a liver of 4 x 4 x 4 voxels that begins at slice ``liver_from``, and a tumour of 8 voxels apart from it."""
    values = np.zeros((8, 9, 10), dtype=np.uint8)
    if liver_from is not None:
        values[liver_from : liver_from + 4, 1:5, 1:5] = 1
    if tumour:
        values[4:6, 6:8, 6:8] = 2
    return values


def save(values: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    """Written without the project's own writer: array axes (z, y, x) to file axes (x, y, z)."""
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values.T, affine), path)


def test_a_shifted_liver_scores_what_a_person_computes(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    save(labels(liver_from=3), predictions / "a.nii.gz")
    save(labels(liver_from=2), references / "a.nii.gz")
    result = evaluate_folders(predictions, references, LIVER)
    (case,) = result.cases
    liver = case.structures["liver"]
    assert (case.case, list(case.structures)) == ("a", ["liver", "liver tumour"])
    assert liver.dice == 0.75  # one of four slices
    assert liver.hd95_mm == pytest.approx(2.0)  # a slice is 2 mm
    assert liver.surface_dice == 1.0  # within 2 mm
    assert liver.volume_error_percent == 0.0
    assert liver.reference_ml == liver.prediction_ml == pytest.approx(0.064)  # 64 voxels of 1 mm³
    assert result.is_complete


def test_a_smaller_tolerance_gives_a_smaller_surface_dice(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    save(labels(liver_from=3), predictions / "a.nii.gz")
    save(labels(liver_from=2), references / "a.nii.gz")
    result = evaluate_folders(predictions, references, LIVER, tolerance_mm=1.5)
    assert 0 < result.cases[0].structures["liver"].surface_dice < 1
    assert result.tolerance_mm == 1.5


def test_suffixes_may_differ_and_a_case_may_be_a_folder_of_tasks(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    for case in ("a", "b", "c"):
        save(labels(), references / f"{case}.nii.gz")
    save(labels(), predictions / "a.nii")
    save(labels(), predictions / "b" / "liver.nii.gz")
    save(labels(), predictions / "b" / "merged.nii.gz")
    save(labels(), predictions / "c" / "spleen.nii.gz")  # another task's answer is none
    save(labels(), predictions / "._a.nii.gz")  # a hidden file
    (references / "dataset.json").write_text("{}")
    result = evaluate_folders(predictions, references, LIVER)
    assert [case.case for case in result.cases] == ["a", "b"]
    assert (result.missing, result.surplus, result.failed) == (("c",), (), {})


def test_missing_and_surplus_predictions_are_named(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    for case in ("a", "c", "b"):
        save(labels(), references / f"{case}.nii.gz")
    for case in ("b", "z", "y"):
        save(labels(), predictions / f"{case}.nii.gz")
    result = evaluate_folders(predictions, references, LIVER)
    assert (result.missing, result.surplus) == (("a", "c"), ("y", "z"))
    assert not result.is_complete


def moved(millimetres: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = millimetres
    return affine


@pytest.mark.parametrize(("values", "affine", "reason"), [
    (labels()[:-1], AFFINE, r"the prediction has \(7, 9, 10\) voxels \(z, y, x\), the reference has \(8, 9, 10\)"),
    (labels(), moved(0.026), r"the prediction lies 0\.026 mm away from the reference, 0\.025 mm are allowed \(5% of"),
    (labels() * 7, AFFINE, r"bad\.nii\.gz holds the label 7, .* 'liver' has only 0 background, 1 liver, 2 liver tumour"),
    (labels().astype(np.int16) * -1, AFFINE, r"holds the label -1"),
    (labels() * np.float32(0.5), AFFINE, r"bad\.nii\.gz .*whole numbers"),
    (np.stack([labels(), labels()]), AFFINE, r"bad\.nii\.gz has 2 channels"),
    (labels() * np.float32(np.nan), AFFINE, r"bad\.nii\.gz"),
])  # fmt: skip
def test_a_case_that_cannot_be_compared_is_listed_and_the_others_go_on(
    folders: tuple[Path, Path], values: np.ndarray, affine: np.ndarray, reason: str
) -> None:
    predictions, references = folders
    for case in ("bad", "good"):
        save(labels(), references / f"{case}.nii.gz")
    save(labels(), predictions / "good.nii.gz")
    save(values, predictions / "bad.nii.gz", affine)
    result = evaluate_folders(predictions, references, LIVER)
    assert [case.case for case in result.cases] == ["good"]
    assert list(result.failed) == ["bad"]
    assert re.search(reason, result.failed["bad"]), result.failed["bad"]
    assert not result.is_complete


def test_header_rounding_does_not_fail_a_case(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    save(labels(), references / "a.nii.gz")
    save(labels(), predictions / "a.nii.gz", moved(0.02))
    assert evaluate_folders(predictions, references, LIVER).is_complete


def test_a_damaged_file_fails_its_case_only(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    for case in ("a", "b"):
        save(labels(), references / f"{case}.nii.gz")
    save(labels(), predictions / "a.nii.gz")
    (predictions / "b.nii.gz").write_bytes(b"no image")
    assert list(evaluate_folders(predictions, references, LIVER).failed) == ["b"]


def test_two_files_for_one_case_are_ambiguous(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    save(labels(), references / "a.nii.gz")
    save(labels(), predictions / "a.nii.gz")
    save(labels(), predictions / "a" / "liver.nii")
    assert "Remove all but one" in evaluate_folders(predictions, references, LIVER).failed["a"]


def test_when_nothing_pairs_the_names_on_both_sides_are_said(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    for case in "abcde":
        save(labels(), references / f"{case}.nii.gz")
    with pytest.raises(FileFormatError, match=r"\(no label maps\) has the name .* \(a, b, c and 2 more\)\. Name a"):
        evaluate_folders(predictions, references, LIVER)


def test_a_folder_that_is_not_there_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(FileFormatError, match=r"no folder .*elsewhere"):
        evaluate_folders(folders[0], folders[1] / "elsewhere", LIVER)


def test_a_senseless_tolerance_is_refused_before_anything_is_read(folders: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="0 or more, not -1"):
        evaluate_folders(*folders, LIVER, tolerance_mm=-1)


def test_a_missing_package_ends_the_evaluation_and_is_no_failed_case(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "monai", None)
    for folder in folders:
        save(labels(), folder / "a.nii.gz")
    with pytest.raises(MissingPackageError, match="'monai'"):
        evaluate_folders(*folders, LIVER)


def test_progress_counts_cases_and_may_cancel(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        for case in ("a", "b"):
            save(labels(), folder / f"{case}.nii.gz")
    seen: list[Progress] = []
    evaluate_folders(*folders, LIVER, progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(0, 2), (1, 2), (2, 2)]

    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        evaluate_folders(*folders, LIVER, progress=stop)


@pytest.fixture
def mixed(folders: tuple[Path, Path]) -> Evaluation:
    """Case a: tumour absent and not found. b: tumour missed. c: tumour found, the liver one slice off. d: no prediction."""
    predictions, references = folders
    save(labels(), references / "a.nii.gz")
    save(labels(), predictions / "a.nii.gz")
    save(labels(tumour=True), references / "b.nii.gz")
    save(labels(), predictions / "b.nii.gz")
    save(labels(tumour=True), references / "c.nii.gz")
    save(labels(liver_from=1, tumour=True), predictions / "c.nii.gz")
    save(labels(), references / "d.nii.gz")
    return evaluate_folders(predictions, references, LIVER)


def test_the_summary_counts_what_no_mean_can_hold(mixed: Evaluation) -> None:
    liver, tumour = mixed.summary().values()
    assert tumour["hd95_mm"] == Spread(mean=0.0, median=0.0, interval=None, n_finite=1, n_nan=1, n_infinite=1)
    assert tumour["surface_dice"] == Spread(0.5, 0.5, (0.0, 1.0), n_finite=2, n_nan=1, n_infinite=0)
    assert tumour["dice"] == Spread((1 + 0 + 1) / 3, 1.0, (0.0, 1.0), n_finite=3, n_nan=0, n_infinite=0)
    assert liver["dice"] == Spread((1 + 1 + 0.75) / 3, 1.0, (0.75, 1.0), n_finite=3, n_nan=0, n_infinite=0)
    assert tumour["volume_error_percent"] == Spread(-50.0, -50.0, (-100.0, 0.0), n_finite=2, n_nan=1, n_infinite=0)


def test_the_volumes_tell_absent_from_missed(mixed: Evaluation) -> None:
    absent, missed, _ = (case.structures["liver tumour"] for case in mixed.cases)
    assert (absent.reference_ml, absent.prediction_ml) == (0.0, 0.0)
    assert math.isnan(absent.hd95_mm)
    assert missed.reference_ml == pytest.approx(0.008)
    assert missed.prediction_ml == 0.0
    assert math.isinf(missed.hd95_mm)


def test_json_has_null_and_counts_where_there_is_no_number(mixed: Evaluation) -> None:
    facts = json.loads(json.dumps(mixed.to_dict(), allow_nan=False))
    assert facts["task"] == "liver"
    assert facts["definitions"] == dict(DEFINITIONS)
    assert facts["missing"] == ["d"]
    assert facts["cases"][1]["case"] == "b"
    assert facts["cases"][1]["structures"]["liver tumour"] == {
        "dice": 0.0, "hd95_mm": None, "surface_dice": 0.0, "volume_error_percent": -100.0,
        "reference_ml": pytest.approx(0.008), "prediction_ml": 0.0,
    }  # fmt: skip
    assert facts["interval"] == INTERVAL
    assert facts["predictions"].endswith("predictions")
    assert facts["summary"]["liver"]["dice"]["interval"] == [0.75, 1.0]
    spread = {"mean": 0.0, "median": 0.0, "interval": None, "n_finite": 1, "n_nan": 1, "n_infinite": 1}
    assert facts["summary"]["liver tumour"]["hd95_mm"] == spread


def test_an_evaluation_of_failures_only_is_still_one(folders: tuple[Path, Path]) -> None:
    save(labels(), folders[0] / "a.nii.gz")
    save(labels()[1:], folders[1] / "a.nii.gz")
    result = evaluate_folders(*folders, LIVER)
    assert (result.cases, list(result.failed)) == ((), ["a"])
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["summary"]["liver"]["dice"]["mean"] is None
    assert result.summary()["liver"]["dice"].n_finite == 0


@pytest.mark.parametrize("key", builtin_tasks())
def test_every_task_can_be_evaluated(folders: tuple[Path, Path], key: str) -> None:
    task = builtin_tasks()[key]
    values = np.zeros((4, 4, 6), dtype=np.uint8)
    values[1:3, 1:3, 1 : task.n_classes] = np.arange(1, task.n_classes)
    for folder in folders:
        save(values, folder / "a.nii.gz")
    (case,) = evaluate_folders(*folders, task).cases
    assert isinstance(case, CaseScores)
    assert [(name, scores.dice) for name, scores in case.structures.items()] == [(label.name, 1.0) for label in task.labels]


@pytest.mark.parametrize(("values", "words"), [
    ([0.5, 0.75], ("0.62", "0.50 to 0.75", "0.62", "2 of 2")),
    ([0.5, math.inf], ("0.50", "–", "0.50", "1 of 2")),
    ([math.nan], ("–", "–", "–", "0 of 1")),
    ([-0.001, -0.001], ("0.00", "0.00 to 0.00", "0.00", "2 of 2")),
])  # fmt: skip
def test_a_spread_in_words_has_a_dash_where_there_is_no_number(values: list[float], words: tuple[str, ...]) -> None:
    assert Spread.of(values).in_words(2) == words
