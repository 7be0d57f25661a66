"""A task of one's own, as a person would add it: price, training, verdict, certificate, into use or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uniseg_app.pack_store import installed_packs
from uniseg_app.settings import read_settings
from uniseg_app.tuning import Verdict, find_task, judge
from uniseg_model.checkpoint import load_checkpoint, untrained
from uniseg_model.errors import TaskError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.training.run import RunFolder

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
SMALL = ("--set", "epoch=4", "--set", "validation_windows=2", "--set", 'augmentation="none"')
TASK = 'title = "Gland"\nmodalities = ["T2"]\nlabels = [{ name = "gland", color = "#0077BB" }]\nspacing_mm = [6.0, 4.0, 4.0]\nintensity = ["zscore"]\n'


@pytest.fixture
def base(tmp_path: Path) -> Path:
    untrained(NARROW).save(tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


@pytest.fixture
def data(run: Any, tmp_path: Path) -> Path:
    assert run("phantom", "--task", "prostate", "--count", 3, "-o", tmp_path / "gland")[0] == 0
    (tmp_path / "gland" / "task.toml").write_text(f"[gland]\n{TASK}")
    return tmp_path / "gland"


def test_a_pack_from_a_folder_into_use(run: Any, data: Path, base: Path, tmp_path: Path) -> None:
    arguments = ["train", "--data", data, "--from", base, "--depth", "pack", "-o", tmp_path / "run", *SMALL]
    code, out, err = run(*arguments, "--iterations", 40, "--set", "rate=0.02", "--install", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["certificate"]["unchanged"] is True
    assert found["certificate"] == json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert found["price"]["steps"] == 40
    assert found["verdict"]["is_better"] is True, found["verdict"]
    [installed] = installed_packs()
    assert found["installed"] == str(installed.path)
    image = data / "imagesTr" / "prostate_0000_0000.nii.gz"
    assert run("segment", image, "--task", "gland", "-o", tmp_path / "gland.nii.gz", "--weights", base)[0] == 0
    code, _, err = run(*arguments, "--iterations", 40)
    assert (code, "holds a run already. Go on with --resume" in err) == (1, True)
    code, out, _ = run(*arguments, "--resume")  # its own plan counts
    assert (code, "All 11 old tasks answer exactly as before" in out) == (0, True)


def test_what_is_not_better_is_not_taken_into_use(run: Any, data: Path, base: Path, tmp_path: Path) -> None:
    """A rate that changes nothing."""
    arguments = ["train", "--data", data, "--from", base, "--depth", "pack", "-o", tmp_path / "run", *SMALL]
    code, out, _ = run(*arguments, "--iterations", 4, "--set", "rate=1e-30", "--install")
    assert (code, "Not better than its start: validation Dice of gland" in out, "In use" in out) == (0, True, False)
    assert installed_packs() == []


def test_full_shows_old_tasks_and_backbone_becomes_the_weights_in_use(run: Any, data: Path, base: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(base)
    known = checkpoint.tasks["prostate"]
    (tmp_path / "replay" / "prostate").mkdir(parents=True)
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / "replay" / "prostate" / part).symlink_to(data / part)
    arguments = ["train", "--data", data, "--from", base, *SMALL, "--iterations", 20, "--set", "rate=0.02"]
    code, out, err = run(*arguments, "--depth", "full", "--replay", tmp_path / "replay", "-o", tmp_path / "full")
    assert code == 0, err
    assert "the file that it starts from is kept" in out
    assert "old task" in out
    assert known.key in out
    verdict = json.loads((tmp_path / "full" / "verdict.json").read_text())
    assert list(verdict["old_tasks"]) == ["prostate"]
    assert len(verdict["unseen"]) == 10
    code, out, err = run(*arguments, "--depth", "backbone", "-o", tmp_path / "bone", "--install")
    assert code == 0, err
    if "Better than its start" in out:
        assert read_settings().weights == tmp_path / "bone" / "best.safetensors"


def test_minutes_become_steps(run: Any, data: Path, base: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "train", "--data", data, "--from", base, "--depth", "pack", "-o", tmp_path / "run", *SMALL, "--minutes", 0.02
    )
    assert code == 0
    assert RunFolder(tmp_path / "run").plan().iterations >= 10
    assert "0.5 GB of memory" in out


def test_options_of_the_other_way_are_refused(run: Any, data: Path, tmp_path: Path) -> None:
    code, _, err = run("train", "--data", data, "-o", tmp_path / "run", "--minutes", 3)
    assert (code, "--minutes is for adding a task. Add --depth" in err) == (1, True)
    code, _, err = run("train", "--data", data, "-o", tmp_path / "run", "--depth", "pack", "--plan", data / "task.toml")
    assert (code, "--plan is for training from scratch" in err) == (1, True)
    code, _, err = run("train", "--data", data, "-o", tmp_path / "run", "--depth", "full", "--replay", tmp_path / "none")
    assert (code, "holds no data set of an old task" in err) == (1, True)


def test_the_task_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"does not say what its task is: there is no .*task.toml.*--task-file"):
        find_task(tmp_path)
    two = tmp_path / "two.toml"
    two.write_text(f"[a]\n{TASK}[b]\n{TASK}")
    with pytest.raises(TaskError, match=r"describes 2 tasks: a, b"):
        find_task(tmp_path, two)
    assert find_task(tmp_path, two, "b").key == "b"
    with pytest.raises(TaskError, match=r"has no task 'c', only a, b"):
        find_task(tmp_path, two, "c")


def test_verdicts() -> None:
    better = Verdict("full", "gland", 0.1, 0.9, {"liver": (0.96, 0.95)}, ("spleen",))
    assert (
        better.sentence()
        == "Better than its start: validation Dice of gland 0.10 -> 0.90. 1 old tasks were not measured: spleen."
    )
    worse = Verdict("full", "gland", 0.1, 0.9, {"liver": (0.96, 0.71)})
    assert (worse.is_better, worse.forgotten) == (False, ["liver"])
    assert worse.sentence().startswith("Worse than its start: liver 0.96 -> 0.71 (validation Dice of gland 0.10 -> 0.90).")
    assert "It is not taken into use" in Verdict("pack", "gland", 0.5, 0.5).sentence()
    assert "was not validated" in Verdict("pack", "gland", None, None).sentence()


def test_a_run_is_judged_by_its_first_and_best_validation(tmp_path: Path) -> None:
    from uniseg_model.tasks import read_tasks
    from uniseg_model.training.tune import tuning_plan

    (tmp_path / "t.toml").write_text(f"[gland]\n{TASK}")
    [task] = read_tasks(tmp_path / "t.toml")
    folder = RunFolder(tmp_path / "run")
    plan = tuning_plan(untrained(NARROW), task, "full", replayed=["liver"])
    with folder.claimed(plan, resume=False):
        folder.begin(plan, {})
    for step, liver, gland in ((0, 0.9, 0.0), (50, 0.8, 0.7), (100, 0.6, 0.6)):
        dice = {"liver": {"liver": liver, "liver tumour": None}, "gland": {"gland": gland}}
        folder.report({"step": step, "mean_dice": (liver + gland) / 2, "dice": dice})
    found = judge(folder)
    assert (found.start_dice, found.best_dice, found.old_tasks) == (0.0, 0.7, {"liver": (0.9, 0.8)})
    assert not found.is_better
