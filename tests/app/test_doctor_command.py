"""The doctor's visit as a person makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.io import read_labels, write_map


def test_look_mend_and_try(run: Any, tmp_path: Path, weights: Path) -> None:
    data = tmp_path / "gallbladder"
    assert run("phantom", "--task", "gallbladder", "--count", 2, "--seed", 3, "-o", data)[0] == 0
    path = data / "labelsTr" / "torso_0003.nii.gz"
    labels, affine = read_labels(path)
    write_map(path, labels + np.float32(1e-4), affine)
    code, out, err = run("doctor", data)
    assert (code, "round the labels" in out, "2 cases (nnU-Net): 1 error, 1 warning; 1 can be mended." in out) == (
        1,
        True,
        True,
    )
    assert "the data set cannot be trained on as it is" in err
    code, out, err = run("doctor", data, "--fix", tmp_path / "fixed", "--dry-run", "--weights", weights, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [finding["rule"] for finding in found["findings"]] == ["too few"]
    assert found["mended"]["changed"] == {"torso_0003": ["round the labels"]}
    assert found["price"]["depth"] == "pack"
    assert found["price"]["steps"] >= 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fixed", "gallbladder"]


def test_a_dry_run_needs_a_task(run: Any, tmp_path: Path) -> None:
    run("phantom", "--task", "prostate", "--count", 2, "-o", tmp_path / "data")
    code, _, err = run("doctor", tmp_path / "data", "--dry-run")
    assert (code, "a dry run needs to know the task" in err) == (1, True)
    code, _, err = run("doctor", tmp_path / "data", "--task", "livr")
    assert (code, "Did you mean 'liver'" in err) == (1, True)
