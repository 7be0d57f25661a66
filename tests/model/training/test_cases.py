"""Which cases there are, how they are split, and how the cache holds them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uniseg_model.dataset import write_case
from uniseg_model.errors import FileFormatError, GeometryError, ModalityError
from uniseg_model.io import read_labels, write_labels
from uniseg_model.phantom import make_phantom
from uniseg_model.preprocess import Recipe, prepare
from uniseg_model.progress import ignore_progress
from uniseg_model.tasks import Task, builtin_tasks
from uniseg_model.training.cache import Cache, prepare_labels
from uniseg_model.training.cases import Case, find_cases, split_cases
from uniseg_model.training.plan import Plan


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    """A data set that may be harmed."""
    return Path(shutil.copytree(data / "prostate", tmp_path / "prostate"))


@pytest.fixture
def task(plan: Plan) -> Task:
    return plan.tasks["prostate"]


def test_cases_are_found_by_name(folder: Path, task: Task) -> None:
    assert [case.name for case in find_cases(folder, task)] == ["prostate_0", "prostate_1", "prostate_2"]


def test_an_empty_folder_says_what_is_looked_for(tmp_path: Path, task: Task) -> None:
    with pytest.raises(FileFormatError, match=r"holds no case for 'Prostate': there is no labelsTr/CASE\.nii\.gz"):
        find_cases(tmp_path, task)


def test_a_missing_channel_is_named(data: Path, tmp_path: Path) -> None:
    brain = Path(shutil.copytree(data / "brain", tmp_path / "brain"))
    (brain / "imagesTr" / "brain_1_0002.nii.gz").unlink()
    with pytest.raises(ModalityError, match=r"'brain_1' has no brain_1_0002\.nii\.gz .* needs 4 channels: T1, T1ce, T2, FLAIR"):
        find_cases(brain, builtin_tasks()["brain"])


def test_a_surplus_channel_is_named(folder: Path, task: Task) -> None:
    shutil.copy(folder / "imagesTr" / "prostate_0_0000.nii.gz", folder / "imagesTr" / "prostate_0_0001.nii.gz")
    with pytest.raises(ModalityError, match=r"prostate_0_0001\.nii\.gz, but 'Prostate' has 1 channels"):
        find_cases(folder, task)


def named(*names: str) -> list[Case]:
    return [Case(name, (), Path(name)) for name in names]


def test_a_split_is_stored_with_the_data_and_found_again(tmp_path: Path) -> None:
    cases = named(*(f"case_{i}" for i in range(20)))
    split = split_cases(tmp_path, cases, most=3)
    assert (len(split.train), len(split.validation)) == (17, 3)
    assert split_cases(tmp_path, cases, most=10) == split
    stored = json.loads((tmp_path / "splits_final.json").read_text())
    assert stored == [{"train": [c.name for c in split.train], "val": [c.name for c in split.validation]}]


def test_a_scan_shared_by_two_tasks_is_on_the_same_side_in_both(tmp_path: Path) -> None:
    names = [f"trunk_{i}" for i in range(30)]
    sides = []
    for key in ("liver", "spleen"):
        (tmp_path / key).mkdir()
        sides.append({case.name for case in split_cases(tmp_path / key, named(*names), most=6).validation})
    assert sides[0] == sides[1]


def test_few_cases_keep_a_fifth_but_one_at_least(tmp_path: Path) -> None:
    assert len(split_cases(tmp_path, named("a", "b"), most=20).validation) == 1
    (tmp_path / "one").mkdir()
    with pytest.raises(FileFormatError, match="at least 2 are needed"):
        split_cases(tmp_path / "one", named("a"), most=20)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("[", "is not a split"),
        ('[{"train": ["a"]}]', "is not a split: 'val'"),
        ('[{"train": ["a", "b"], "val": ["b"]}]', "'b' on both sides"),
        ('[{"train": ["a"], "val": ["z"]}]', "names 'z', which is not in labelsTr"),
        ('[{"train": ["a", "b"], "val": []}]', "leaves 2 cases to train and 0 to validate"),
    ],
)
def test_a_stored_split_that_makes_no_sense_is_refused(tmp_path: Path, stored: str, said: str) -> None:
    (tmp_path / "splits_final.json").write_text(stored)
    with pytest.raises(FileFormatError, match=said):
        split_cases(tmp_path, named("a", "b"), most=20)


def test_cases_that_a_split_does_not_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "splits_final.json").write_text('[{"train": ["a"], "val": ["b"]}]')
    assert [case.name for case in split_cases(tmp_path, named("a", "b", "new"), most=20).unused] == ["new"]


def test_hidden_files_are_no_cases(folder: Path, task: Task) -> None:
    """As macOS leaves them on a stick."""
    (folder / "labelsTr" / "._prostate_1.nii.gz").write_bytes(b"x")
    assert len(find_cases(folder, task)) == 3


def test_thousands_of_cases_keep_no_file_open(folder: Path, task: Task, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    case = find_cases(folder, task)[0]
    before = len(os.listdir("/proc/self/fd"))
    held = [cache.get(case, task) for _ in range(20)]
    assert held[0].image[0, 0].shape == held[0].labels.shape[1:]
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_cache_holds_what_the_network_would_see(folder: Path, task: Task, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    case = find_cases(folder, task)[0]
    for _ in range(2):  # prepared, then found
        found = cache.get(case, task)
        phantom = make_phantom("prostate", 0, spacing_mm=task.spacing_mm)
        assert np.array_equal(found.image, prepare(phantom.volume, Recipe.of(task)).array)
        assert np.array_equal(found.labels, phantom.labels["prostate"])
        assert set(found.places) == {1}
        assert found.labels[tuple(found.places[1].T)].min() == 1
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_another_spacing_is_another_array(folder: Path, task: Task, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    case = find_cases(folder, task)[0]
    fine = cache.get(case, replace(task, spacing_mm=(3.0, 4.0, 4.0)))
    assert fine.labels.shape[0] == 2 * cache.get(case, task).labels.shape[0]


def test_a_changed_file_is_prepared_anew(folder: Path, task: Task, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    case = find_cases(folder, task)[0]
    before = np.asarray(cache.get(case, task).labels)
    values, _ = read_labels(case.labels)
    phantom = make_phantom("prostate", 0, spacing_mm=task.spacing_mm)
    write_labels(case.labels, np.zeros_like(values, np.uint8), phantom.volume)
    assert before.any()
    assert not np.asarray(cache.get(case, task).labels).any()
    assert cache.get(case, task).places == {}


def test_tasks_share_the_scan_they_share(tmp_path: Path) -> None:
    phantom = make_phantom("liver", 1, spacing_mm=(20.0, 10.0, 10.0))
    known = builtin_tasks()
    tasks = [replace(known[key], spacing_mm=(20.0, 10.0, 10.0)) for key in ("liver", "spleen")]
    for task in tasks:
        shared = None if task.key == "liver" else tmp_path / "liver"
        write_case(tmp_path / task.key, "trunk_1", phantom.volume, phantom.labels[task.key], images_of=shared)
    files = [tmp_path / task.key / "imagesTr" / "trunk_1_0000.nii.gz" for task in tasks]
    assert os.path.samefile(*files)
    Cache(tmp_path / "cache").prepare_all({task: find_cases(tmp_path / task.key, task) for task in tasks}, ignore_progress)
    assert len(list((tmp_path / "cache").iterdir())) == 1 + 2 * 2  # one image, and labels and places of each


def test_labels_on_another_grid_are_refused_by_name(folder: Path, task: Task, tmp_path: Path) -> None:
    other = make_phantom("prostate", 0, spacing_mm=(8.0, 4.0, 4.0))
    write_labels(folder / "labelsTr" / "prostate_1.nii.gz", other.labels["prostate"], other.volume)
    with pytest.raises(
        GeometryError,
        match=r"case 'prostate_1' of prostate: the label map has .*, the image has .*\. Resample",
    ):
        Cache(tmp_path / "cache").prepare_all({task: find_cases(folder, task)}, ignore_progress)


def test_a_value_that_is_no_label_is_refused_by_name(folder: Path, task: Task, tmp_path: Path) -> None:
    phantom = make_phantom("prostate", 2, spacing_mm=task.spacing_mm)
    write_labels(folder / "labelsTr" / "prostate_2.nii.gz", phantom.labels["prostate"] * np.uint8(3), phantom.volume)
    with pytest.raises(FileFormatError, match=r"case 'prostate_2' of prostate: the labels hold the value 3, .* values 0 to 1"):
        Cache(tmp_path / "cache").prepare_all({task: find_cases(folder, task)}, ignore_progress)


def test_a_negative_label_is_refused_by_name(folder: Path, task: Task, tmp_path: Path) -> None:
    import nibabel as nib

    path = folder / "labelsTr" / "prostate_2.nii.gz"
    labels = nib.load(path)
    nib.save(nib.Nifti1Image(-np.asarray(labels.dataobj).astype(np.int16), labels.affine), path)
    with pytest.raises(FileFormatError, match=r"case 'prostate_2' of prostate: the labels hold the value -1, .* 0 to 1"):
        Cache(tmp_path / "cache").prepare_all({task: find_cases(folder, task)}, ignore_progress)


def test_a_truncated_case_is_refused_by_name(folder: Path, task: Task, tmp_path: Path) -> None:
    image = folder / "imagesTr" / "prostate_1_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(FileFormatError, match="case 'prostate_1' of prostate: "):
        Cache(tmp_path / "cache").prepare_all({task: find_cases(folder, task)}, ignore_progress)


def test_a_damaged_cache_says_what_to_delete(folder: Path, task: Task, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    case = find_cases(folder, task)[0]
    cache.get(case, task)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"the cache is damaged: .* Delete .*cache and start again"):
        cache.get(case, task)


def test_resampled_labels_are_the_class_with_the_largest_share(task: Task) -> None:
    """Half the spacing along each axis: a voxel becomes eight, and nothing new appears."""
    phantom = make_phantom("brain", 0, spacing_mm=(8.0, 8.0, 8.0))
    prepared = prepare(phantom.volume, Recipe((4.0, 4.0, 4.0), ("zscore",) * 4, "stored"))
    z, y, x = prepared.box
    answer = prepare_labels(phantom.labels["brain"], prepared, 4)
    cropped = phantom.labels["brain"][z, y, x]
    assert answer.shape == tuple(2 * n for n in cropped.shape)
    assert set(np.unique(answer)) <= set(np.unique(cropped))
    for value in (1, 2, 3):
        assert (answer == value).sum() == pytest.approx(8 * (cropped == value).sum(), rel=0.5)
