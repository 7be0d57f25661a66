"""The doctor: each thing that can be wrong is found on a data set that was made wrong in this one way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uniseg_model.dataset import write_case
from uniseg_model.doctor.examine import examine
from uniseg_model.doctor.findings import Finding
from uniseg_model.doctor.mend import mend
from uniseg_model.errors import FileFormatError, OutputError
from uniseg_model.io import read_labels, read_volume, write_image, write_labels, write_map
from uniseg_model.tasks import Label, Task, write_task
from uniseg_model.volume import Volume

TASK = Task("gland", "Gland", ("CT",), (Label("gland", "#0072B2"), Label("duct", "#E69F00")), (3.0, 3.0, 3.0), ("hu",))
AFFINE = np.array([[0, 0, 3.0, -30], [0, 3.0, 0, -20], [3.0, 0, 0, 5], [0, 0, 0, 1.0]])
SHAPE = (8, 12, 10)


def volume_of(seed: int, affine: np.ndarray = AFFINE, shape: tuple[int, int, int] = SHAPE, channels: int = 1) -> Volume:
    array = np.random.default_rng(seed).normal(40, 100, (channels, *shape)).astype(np.float32).round()
    array[:, 0] = -1000
    return Volume(array, affine)


def labels_of(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[2:5, 2:5, 2:5], labels[5, 5, 5] = 1, 2
    return labels


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Six cases with which nothing is wrong."""
    folder = tmp_path / "data"
    for seed in range(6):
        write_case(folder, f"c{seed}", volume_of(seed), labels_of())
    write_task(folder / "task.toml", TASK)
    return folder


def found(folder: Path, task: Task | None = None) -> list[tuple[str, str, str]]:
    return [(f.severity, f.case, f.rule) for f in examine(folder, task).findings]


def only(folder: Path) -> Finding:
    [finding] = examine(folder).findings
    return finding


def test_nothing_is_wrong_with_a_good_data_set(good: Path) -> None:
    report = examine(good)
    assert (report.findings, report.is_usable) == ((), True)
    assert report.sentence() == "6 cases (nnU-Net): nothing wrong; 0 can be mended."


def change_labels(folder: Path, case: str, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE) -> None:
    path = folder / "labelsTr" / f"{case}.nii.gz"
    write_map(path, change(read_labels(path)[0].astype(np.float32)), affine)


def test_missing_parts(good: Path) -> None:
    (good / "labelsTr" / "c0.nii.gz").unlink()
    (good / "imagesTr" / "c1_0000.nii.gz").unlink()
    assert found(good) == [("error", "c0", "missing labels"), ("error", "c1", "missing image"), ("warning", "", "too few")]


def test_an_unreadable_file(good: Path) -> None:
    path = good / "imagesTr" / "c2_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    assert found(good) == [("error", "c2", "unreadable")]
    assert "truncated or damaged" in only(good).what


def test_another_shape_and_another_place(good: Path) -> None:
    change_labels(good, "c0", lambda labels: labels[:, :, :-1])
    change_labels(good, "c1", lambda labels: labels, AFFINE + np.eye(4, k=3) * 9)
    shape, place = examine(good).findings
    assert shape.what == "the label map has (8, 12, 9) voxels (z, y, x), the image (8, 12, 10)"
    assert place.what == "the label map lies 9 mm away from the image, 0.15 mm are allowed"
    assert (shape.fix, place.fix) == ("", "")


def test_a_place_that_is_nearly_right_is_mended(good: Path, tmp_path: Path) -> None:
    change_labels(good, "c1", lambda labels: labels, AFFINE + np.eye(4, k=3) * 0.6)
    assert only(good).fix == "give the labels the image's geometry"
    before = (good / "labelsTr" / "c1.nii.gz").read_bytes()
    done = mend(examine(good), tmp_path / "fixed")
    assert done.changed == {"c1": ["give the labels the image's geometry"]}
    assert examine(tmp_path / "fixed").findings == ()
    assert (good / "labelsTr" / "c1.nii.gz").read_bytes() == before
    labels, affine = read_labels(tmp_path / "fixed" / "labelsTr" / "c1.nii.gz")
    assert np.array_equal(labels, labels_of())
    np.testing.assert_allclose(affine, AFFINE)


def test_float_noise_is_rounded_and_more_is_refused(good: Path, tmp_path: Path) -> None:
    change_labels(good, "c0", lambda labels: labels + np.float32(2e-4))
    change_labels(good, "c1", lambda labels: labels * np.float32(0.5))
    noise, half = examine(good).findings
    assert (noise.case, noise.what, noise.fix) == ("c0", "the labels are off whole numbers by up to 0.0002", "round the labels")
    assert (half.case, half.what, half.fix) == ("c1", "the labels hold values that are not whole numbers, off by up to 0.5", "")
    mend(examine(good), tmp_path / "fixed")
    assert np.array_equal(read_labels(tmp_path / "fixed" / "labelsTr" / "c0.nii.gz")[0], labels_of())
    assert found(tmp_path / "fixed") == [("error", "c1", "not whole")]


def test_undeclared_values_and_empty_maps(good: Path) -> None:
    change_labels(good, "c0", lambda labels: labels * 5)
    change_labels(good, "c1", lambda labels: labels * 0)
    undeclared, empty = examine(good).findings
    assert undeclared.what == "the labels hold the values 5, 10, 0 to 2 are declared"
    assert (empty.severity, empty.case, empty.rule) == ("warning", "c1", "empty")


def test_a_structure_that_never_occurs(good: Path) -> None:
    for case in range(6):
        change_labels(good, f"c{case}", lambda labels: labels * (labels == 1))
    assert only(good).what == "the structure 'duct' (value 2) is in no case"


def test_duplicates_are_left_out_when_they_agree(good: Path, tmp_path: Path) -> None:
    write_case(good, "c7", volume_of(0), labels_of())
    write_case(good, "c8", volume_of(1), labels_of() * np.uint8(0) + np.uint8(1))
    write_case_splits(good, {"train": ["c0", "c2", "c3", "c4", "c5", "c8"], "val": ["c1", "c7"]})
    assert found(good) == [
        ("error", "c1", "leakage"), ("error", "c7", "leakage"), ("error", "c8", "duplicate"), ("warning", "c7", "duplicate"),
    ]  # fmt: skip
    report = examine(good)
    assert [f.what for f in report.findings if f.rule == "duplicate"] == [
        "its image is that of c1, with other labels", "its image is that of c0, with the same labels",
    ]  # fmt: skip
    done = mend(report, tmp_path / "fixed")
    assert done.left_out == ("c7",)
    assert json.loads((tmp_path / "fixed" / "splits_final.json").read_text())[0]["val"] == ["c1"]
    assert ("error", "c1", "leakage") in found(tmp_path / "fixed")


def write_case_splits(folder: Path, *folds: dict[str, list[str]]) -> None:
    (folder / "splits_final.json").write_text(json.dumps(folds))


def test_leakage_and_broken_splits(good: Path, tmp_path: Path) -> None:
    write_case_splits(good, {"train": ["c0", "c1"], "val": ["c1", "gone"]})
    assert found(good) == [("error", "c1", "leakage"), ("error", "gone", "split")]
    (good / "splits_final.json").write_text("nonsense")
    assert found(good) == [("error", "", "split")]
    mend(examine(good), tmp_path / "fixed")
    assert found(tmp_path / "fixed") == []


def test_outliers_in_spacing_and_field_of_view(good: Path) -> None:
    write_case(good, "wide", volume_of(7, np.diag([1, 1, 1, 1.0]) @ AFFINE, (30, 12, 10)), labels_of((30, 12, 10)))
    coarse = AFFINE.copy()
    coarse[0, 2] = 9.0
    write_case(good, "coarse", volume_of(8, coarse), labels_of())
    assert found(good) == [
        ("warning", "coarse", "field of view"),
        ("warning", "coarse", "spacing"),
        ("warning", "wide", "field of view"),
    ]
    assert examine(good).findings[1].what == "its voxel size is 3 x 3 x 9 mm (z, y, x), the others' median 3 x 3 x 3"


def test_values_that_are_no_hounsfield_units(good: Path) -> None:
    volume = replace(volume_of(0), array=np.abs(volume_of(0).array) / 4)
    write_image(good / "imagesTr" / "c0_0000.nii.gz", volume.array[0], volume)
    assert only(good).what.startswith("the values from 0 to 250 are no Hounsfield units")


def test_channels_against_the_task(good: Path) -> None:
    volume = volume_of(0)
    write_image(good / "imagesTr" / "c0_0001.nii.gz", volume.array[0], volume)
    assert only(good).what == "it has 2 channels, 1 are expected: CT"


@pytest.mark.parametrize(("keep", "severity"), [(1, "error"), (4, "warning")])
def test_too_few_cases(good: Path, keep: int, severity: str) -> None:
    for case in range(keep, 6):
        (good / "labelsTr" / f"c{case}.nii.gz").unlink()
        (good / "imagesTr" / f"c{case}_0000.nii.gz").unlink()
    assert found(good) == [(severity, "", "too few")]


def test_both_versions_of_dataset_json(good: Path) -> None:
    (good / "task.toml").unlink()
    assert only(good).rule == "description"
    first = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "gland", "2": "duct"}}
    second = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "gland": 1, "duct": 2}}
    for facts in (first, second):
        (good / "dataset.json").write_text(json.dumps(facts))
        expected = examine(good).expected
        assert (expected.modalities, expected.values) == (("CT",), ("gland", "duct"))
        assert examine(good).findings == ()
    (good / "dataset.json").write_text(json.dumps({**second, "labels": {"background": 0, "gland": 1}}))
    assert [f.rule for f in examine(good).findings] == ["undeclared"] * 6
    (good / "dataset.json").write_text("{}")
    assert only(good).what == "dataset.json cannot be understood: KeyError('labels')"


def test_paired_names_and_folders_become_nnu_nets_layout(good: Path, tmp_path: Path) -> None:
    flat, two, decathlon = tmp_path / "flat", tmp_path / "two", tmp_path / "decathlon"
    for folder in (flat, two / "images", two / "masks", decathlon / "imagesTr", decathlon / "labelsTr"):
        folder.mkdir(parents=True)
    for case in range(6):
        image, labels = good / "imagesTr" / f"c{case}_0000.nii.gz", good / "labelsTr" / f"c{case}.nii.gz"
        shutil.copy(image, flat / f"c{case}_image.nii.gz")
        write_labels(flat / f"c{case}_seg.nii", labels_of(), read_volume(image))
        for folder, names in ((two, ("images", "masks")), (decathlon, ("imagesTr", "labelsTr"))):
            for name, path in zip(names, (image, labels), strict=True):
                shutil.copy(path, folder / name / f"c{case}.nii.gz")
    for folder, layout in ((flat, "paired names"), (two, "folders images and masks"), (decathlon, "nnU-Net")):
        report = examine(folder, TASK)
        assert (report.layout, report.findings, len(report.pairs)) == (layout, (), 6)
        fixed = tmp_path / f"fixed {folder.name}"
        mend(report, fixed)
        assert sorted(path.name for path in (fixed / "imagesTr").iterdir()) == [f"c{case}_0000.nii.gz" for case in range(6)]
        assert examine(fixed).findings == ()  # the task came with it


def test_a_copy_never_lands_on_something(good: Path, tmp_path: Path) -> None:
    report = examine(good)
    with pytest.raises(OutputError, match=r"exists. Name a new folder"):
        mend(report, good)
    with pytest.raises(OutputError, match=r"lies in the data set"):
        mend(report, good / "fixed")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written"):
        mend(report, tmp_path / "file" / "x")
    assert not [path for path in tmp_path.iterdir() if "unfinished" in path.name]


def test_folders_without_cases(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"there is no folder"):
        examine(tmp_path / "none")
    with pytest.raises(FileFormatError, match=r"holds no case"):
        examine(tmp_path)
