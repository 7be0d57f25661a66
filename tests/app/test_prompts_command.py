"""``uniseg prompts``: its files, what it prints, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tiny import ct_volume

from uniseg_model.io import read_volume, write_image
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Volume

LEARNED = ["learned_correlation.csv", "learned_cosine.csv", "prompts.html", "prompts.json"]


@pytest.fixture
def ct(tmp_path: Path, rng: np.random.Generator) -> Path:
    volume = ct_volume(rng)
    write_image(tmp_path / "ct.nii.gz", volume.array[0], volume)
    return tmp_path / "ct.nii.gz"


def test_maps_matrices_and_page_of_an_image(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "a" / "b"
    code, out, _ = run("prompts", ct, "--tasks", "liver,spleen", "-o", out_dir, "--weights", weights)
    assert code == 0
    images = ["image_correlation.csv", "image_cosine.csv"]
    assert sorted(p.name for p in out_dir.iterdir()) == sorted([
        *LEARNED,
        *images,
        "liver_prompt.nii.gz",
        "spleen_prompt.nii.gz",
    ])
    assert "most alike" in out
    facts = json.loads((out_dir / "prompts.json").read_text())
    [head, first, _] = csv.reader((out_dir / "image_cosine.csv").read_text().splitlines())
    assert head == ["task", "liver", "spleen"]
    assert float(first[2]) == pytest.approx(facts["image"]["similarity"]["cosine"]["matrix"][0][1])
    written = nib.load(out_dir / "liver_prompt.nii.gz")
    found = facts["image"]["statistics"]["liver"]
    assert np.asarray(written.dataobj).mean() == pytest.approx(found["mean"], rel=1e-4)
    middle = read_volume(ct).affine @ [9.5, 11.5, 13.5, 1]  # the coarse grid lies around the image
    assert (np.abs(np.linalg.inv(written.affine) @ middle - [0.5, 0.5, 0.5, 1])[:3] < 0.6).all()


def test_all_on_a_ct_means_its_eight_tasks_on_their_two_grids(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    code, out, err = run("prompts", ct, "-o", tmp_path / "out", "--weights", weights, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["learned"]["tasks"] == list(builtin_tasks())
    assert facts["image1"]["tasks"] + facts["image2"]["tasks"] == list(builtin_tasks())[:8]
    assert {Path(name).name for name in facts["files"]} == {p.name for p in (tmp_path / "out").iterdir()}


def test_without_an_image_the_learned_prompts_alone(run: Any, weights: Path, tmp_path: Path) -> None:
    code, _, _ = run("prompts", "-o", tmp_path / "out", "--weights", weights)
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == LEARNED


def test_a_contact_sheet_comes_when_asked_for(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    common = ("prompts", ct, "--tasks", "spleen", "-o", tmp_path / "out", "--weights", weights, "--sheet")
    for _ in range(2):  # the second replaces the first
        assert run(*common)[0] == 0
    assert {"sheet.png", "sheet.pdf"} <= {p.name for p in (tmp_path / "out").iterdir()}
    code, _, err = run("prompts", "-o", tmp_path / "out", "--weights", weights, "--sheet")
    assert (code, "a contact sheet shows an image, none was given" in err) == (1, True)


def test_files_that_were_edited_stay_unless_told(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    common = ("prompts", ct, "--tasks", "spleen", "-o", tmp_path / "out", "--weights", weights)
    assert [run(*common)[0], run(*common)[0]] == [0, 0]
    table = tmp_path / "out" / "learned_cosine.csv"
    table.write_text("my notes")
    code, _, err = run(*common)
    assert (code, table.read_text()) == (1, "my notes")
    assert "learned_cosine.csv was edited, or was not written by this program" in err
    assert run(*common, "--overwrite")[0] == 0
    assert table.read_text() != "my notes"


def test_an_input_is_never_replaced(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    image = tmp_path / "out" / "spleen_prompt.nii.gz"
    image.parent.mkdir()
    ct.rename(image)
    before = image.read_bytes()
    code, _, err = run("prompts", image, "--tasks", "spleen", "-o", tmp_path / "out", "--weights", weights, "--overwrite")
    assert (code, image.read_bytes()) == (1, before)
    assert "is the input" in err


def flat(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((9, 9, 1), np.float32), np.eye(4)), path)


def empty(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((9, 9, 9), np.nan, np.float32), np.eye(4)), path)


def two_channels(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9, 2), np.float32), np.eye(4)), path)


@pytest.mark.parametrize(
    ("make", "tasks", "message"),
    [
        (flat, "liver", "is a 2-D image of 9 x 9"),
        (empty, "liver", "every voxel is NaN"),
        (two_channels, "liver", "needs 1 channel (CT), the image has 2"),
        (None, "splen", "there is no task 'splen'. Did you mean 'spleen'?"),
        (None, ",", "no task was asked for"),
        (None, "liver", "there is no file or folder"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_and_nothing_is_written(
    run: Any, weights: Path, tmp_path: Path, make: Any, tasks: str, message: str
) -> None:
    if make:
        make(tmp_path / "image.nii.gz")
    code, out, err = run("prompts", tmp_path / "image.nii.gz", "--tasks", tasks, "-o", tmp_path / "out", "--weights", weights)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.strip().splitlines()[-1]) < 400
    assert not (tmp_path / "out").exists()


def test_a_file_for_a_folder_and_weights_without_prompts_are_refused(run: Any, weights: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    code, _, err = run("prompts", "-o", tmp_path / "maps.nii.gz", "--weights", weights)
    assert (code, "prompts are written as several files, maps.nii.gz is one" in err) == (1, True)
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "universal_prompt"}
        save_file(tensors, tmp_path / "backbone.safetensors", file.metadata())
    code, _, err = run("prompts", "-o", tmp_path / "out", "--weights", tmp_path / "backbone.safetensors")
    assert (code, "the weights lack 'universal_prompt'" in err) == (1, True)


def test_a_nan_voxel_is_noted(run: Any, weights: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    volume: Volume = ct_volume(rng)
    array = volume.array[0].copy()
    array[5, 5, 5] = np.nan
    nib.save(nib.Nifti1Image(array.T, volume.affine[:, [2, 1, 0, 3]]), tmp_path / "ct.nii.gz")
    code, out, _ = run(
        "prompts", tmp_path / "ct.nii.gz", "--tasks", "liver", "-o", tmp_path / "out", "--weights", weights, "--json"
    )
    assert code == 0
    assert "1 of 13440 voxels are NaN and are taken as 0" in json.loads(out)["image"]["record"]["notes"]


def test_wrong_usage_exits_with_two(run: Any, weights: Path) -> None:
    assert run("prompts", "--weights", weights)[0] == 2
