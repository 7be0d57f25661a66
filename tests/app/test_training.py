"""From phantoms through training to labels and scores, as a person would type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from uniseg_model.checkpoint import load_checkpoint

PLAN = """
iterations = 8
epoch = 4
save_every = 4
optimiser = "adamw"
augmentation = "none"
validation_windows = 1
[network]
window = [8, 32, 32]
features = [4, 6, 8]
strides = [[1, 2, 2], [2, 2, 2]]
kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
[tasks]
prostate = { spacing_mm = [6, 4, 4] }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


@pytest.fixture
def data(run: Any, tmp_path: Path) -> Path:
    assert run("phantom", "--task", "prostate", "--count", 3, "-o", tmp_path / "data")[0] == 0
    return tmp_path / "data"


def test_from_phantoms_to_scores(run: Any, data: Path, plan: Path, tmp_path: Path) -> None:
    code, out, _ = run("train", "--data", data, "--plan", plan, "--tasks", "prostate", "-o", tmp_path / "run")
    assert code == 0
    assert "1 tasks, 8 steps of 2 windows; about 0.0 GB" in out
    assert "prostate: 2 cases to learn from, 1 to validate on\n" in out
    assert "step 8: validation Dice" in out
    checkpoint = load_checkpoint(tmp_path / "run" / "final.safetensors")
    assert checkpoint.about.history["plan"]["iterations"] == 8
    assert not checkpoint.about.mirrored
    weights = ["--weights", tmp_path / "run" / "final.safetensors"]
    image = data / "imagesTr" / "prostate_0000_0000.nii.gz"
    code, out, _ = run("segment", image, "--task", "prostate", "-o", tmp_path / "out" / "prostate_0000.nii.gz", *weights)
    assert (code, "trained with this program" in out) == (0, True)
    (data / "labelsTr" / "prostate_0001.nii.gz").unlink()
    (data / "labelsTr" / "prostate_0002.nii.gz").unlink()
    assert run("evaluate", tmp_path / "out", data / "labelsTr", "--task", "prostate", *weights)[0] == 0


def test_json_is_one_document_and_a_second_run_must_be_a_resume(run: Any, data: Path, plan: Path, tmp_path: Path) -> None:
    arguments = ["train", "--data", data, "--plan", plan, "--tasks", "prostate", "-o", tmp_path / "run", "--json"]
    code, out, _ = run(*arguments, "--iterations", 4)
    assert code == 0
    assert json.loads(out)["steps"] == 4
    code, _, err = run(*arguments, "--iterations", 4)
    assert (code, "holds a run already" in err, "--resume" in err) == (1, True, True)
    assert run(*arguments, "--iterations", 4, "--resume")[0] == 0


def test_tasks_of_ones_own(run: Any, data: Path, tmp_path: Path) -> None:
    """A task file alone trains its own tasks."""
    (tmp_path / "gland.toml").write_text(
        '[gland]\ntitle = "Gland"\nmodalities = ["T2"]\nlabels = [{ name = "gland", color = "#0077BB" }]\n'
        'spacing_mm = [6.0, 4.0, 4.0]\nintensity = ["zscore"]\n'
    )
    (tmp_path / "plan.toml").write_text(PLAN.split("[tasks]")[0])
    code, _, err = run(
        "train",
        "--data",
        data,
        "--task-file",
        tmp_path / "gland.toml",
        "--plan",
        tmp_path / "plan.toml",
        "-o",
        tmp_path / "run",
    )
    assert (code, err) == (0, err)
    assert list(load_checkpoint(tmp_path / "run" / "final.safetensors").tasks) == ["gland"]


def test_no_data_is_told_before_anything_is_made(run: Any, plan: Path, tmp_path: Path) -> None:
    code, _, err = run("train", "--data", tmp_path, "--plan", plan, "--tasks", "prostate", "-o", tmp_path / "run")
    assert (code, "holds no case for 'Prostate'" in err) == (1, True)
    assert not (tmp_path / "run").exists()


def test_a_terminated_training_keeps_its_last_step(data: Path, plan: Path, tmp_path: Path) -> None:
    """What a scheduler does at the end of its time; nothing had been saved before."""
    plan.write_text(PLAN.replace("save_every = 4", "save_every = 1000000"))
    command = [Path(sys.executable).with_name("uniseg"), "train", "--data", data, "--plan", plan, "--tasks", "prostate",
               "-o", tmp_path / "run", "--iterations", 100_000]  # fmt: skip
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([str(a) for a in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=quiet)
    for _ in range(1200):
        if (tmp_path / "run" / "curve.jsonl").exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err.decode()
    assert b"interrupted; no file is half-written" in err
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] >= 4


def test_several_phantom_tasks_share_their_scans(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("phantom", "--task", "spleen,lung,prostate", "-o", tmp_path / "data")
    assert (code, out.count("1 cases of")) == (0, 3)
    files = [tmp_path / "data" / key / "imagesTr" / "trunk_0000_0000.nii.gz" for key in ("spleen", "lung")]
    assert os.path.samefile(*files)
    assert (tmp_path / "data" / "prostate" / "labelsTr" / "prostate_0000.nii.gz").exists()


def test_an_upstream_data_set_is_imported(run: Any, data: Path, tmp_path: Path) -> None:
    """A made-up download of the spleen set; the phantom's prostate plays the organ."""
    for number in (2, 3):
        for folder, name in (("imagesTr", f"prostate_000{number - 2}_0000"), ("labelsTr", f"prostate_000{number - 2}")):
            target = tmp_path / "6Spleen" / folder / f"spleen_{number}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((data / folder / f"{name}.nii.gz").read_bytes())
    code, out, err = run("import", "spleen", tmp_path / "6Spleen", "-o", tmp_path / "root")
    assert (code, "2 cases imported" in out) == (0, True), err
    assert "41" in err  # how many the published set has
