"""Packs as a person installs them: in every list of tasks, used like any task, shared as one file, gone when removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packs_made import made_pack
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.backend import Backend
from uniseg_app.pack_store import installed_packs, packs_folder
from uniseg_app.settings import read_settings, settings_path, write_weights_setting
from uniseg_model.io import write_image

CLEAN = "All 11 old tasks answer exactly as before, to the last bit, with gland added."


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    made_pack(tiny_checkpoint()).save(tmp_path / "gland.pack.safetensors")
    return tmp_path / "gland.pack.safetensors"


def test_a_pack_is_installed_used_certified_exported_and_removed(
    run: Any, weights: Path, pack: Path, rng: np.random.Generator, tmp_path: Path
) -> None:
    code, out, _ = run("packs", "install", pack, "--weights", weights)
    assert (code, "Installed 'gland' (Gland) for the weights 'untrained'; validation Dice 0.90" in out) == (0, True)
    assert [task["key"] for task in json.loads(run("tasks", "--weights", weights, "--json")[1])][-1] == "gland"
    [listed] = json.loads(run("packs", "list", "--json")[1])
    assert (listed["key"], listed["structures"], listed["mean_dice"]) == ("gland", ["gland", "duct"], 0.9)
    volume = ct_volume(rng)
    write_image(tmp_path / "ct.nii.gz", volume.array[0], volume)
    code, out, err = run(
        "segment", tmp_path / "ct.nii.gz", "--task", "gland,liver", "-o", tmp_path / "out", "--weights", weights
    )
    assert (code, "duct" in out) == (0, True), err
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [part["task"] for part in record["weights"]["packs"]] == ["gland"]
    code, out, _ = run("packs", "certify", "--weights", weights, "-o", tmp_path / "certificate.json")
    assert (code, out.strip()) == (0, CLEAN)
    assert json.loads((tmp_path / "certificate.json").read_text())["unchanged"] is True
    assert run("packs", "export", "gland", "-o", tmp_path / "shared.safetensors", "--weights", weights)[0] == 0
    assert (tmp_path / "shared.safetensors").read_bytes() == pack.read_bytes()
    assert run("packs", "remove", "gland")[0] == 0
    assert "gland" not in run("tasks", "--weights", weights)[1]
    code, _, err = run("packs", "remove", "gland")
    assert (code, "no pack for 'gland' is installed. None is installed" in err) == (1, True)


def test_the_tasks_of_the_weights_in_use_come_with_their_packs(run: Any, weights: Path, pack: Path) -> None:
    run("packs", "install", pack, "--weights", weights)
    assert "gland" not in run("tasks")[1]  # the demo weights are in use
    write_weights_setting(weights)
    assert read_settings().weights == weights
    assert "gland" in run("tasks")[1]


def test_a_pack_for_other_weights_is_refused_and_a_second_needs_replace(run: Any, weights: Path, pack: Path) -> None:
    code, _, err = run("packs", "install", pack)
    assert (code, "belongs to the weights 'untrained'" in err, list(packs_folder().glob("*"))) == (1, True, [])
    assert run("packs", "install", pack, "--weights", weights)[0] == 0
    code, _, err = run("packs", "install", pack, "--weights", weights)
    assert (code, "a pack for 'gland' is installed for these weights. Add --replace" in err) == (1, True)
    assert run("packs", "install", pack, "--weights", weights, "--replace")[0] == 0
    assert packs_folder() == settings_path().parent / "packs"
    assert len(installed_packs()) == 1


def test_a_damaged_pack_is_told_and_can_be_removed(run: Any, weights: Path, pack: Path) -> None:
    run("packs", "install", pack, "--weights", weights)
    [installed] = installed_packs()
    installed.path.write_bytes(installed.path.read_bytes()[:100])
    code, _, err = run("tasks", "--weights", weights)
    assert (code, "Remove it: uniseg packs remove gland" in err) == (1, True)
    assert run("packs", "remove", "gland")[0] == 0
    assert run("tasks", "--weights", weights)[0] == 0


def test_the_backend_offers_the_new_task_once_it_looks_again(
    weights: Path, pack: Path, rng: np.random.Generator, run: Any
) -> None:
    backend, volume = Backend(weights, device="cpu"), ct_volume(rng)
    try:
        assert "gland" not in [choice.task.key for choice in backend.choices(volume)]
        run("packs", "install", pack, "--weights", weights)
        backend.reload()
        assert [choice.task.key for choice in backend.choices(volume)][-1] == "gland"
        [answer] = backend.segment(volume, ["gland"]).result(60)
        assert answer.task.key == "gland"
    finally:
        backend.close()


def test_folds_are_averaged_from_the_command_line(run: Any, weights: Path, tmp_path: Path) -> None:
    image = tmp_path / "image" / "imagesTr" / "trunk_0000_0000.nii.gz"
    assert run("phantom", "--task", "liver", "--count", 1, "-o", tmp_path / "image")[0] == 0
    other, packs = tmp_path / "other.safetensors", [tmp_path / f"fold_{i}.pack.safetensors" for i in range(2)]
    tiny_checkpoint(1).save(other)
    for seed, path in enumerate(packs):
        made_pack(tiny_checkpoint(), seed=seed).save(path)
    arguments = ["segment", image, "--weights", weights, "--spacing", "8,8,8"]
    code, out, err = run(*arguments, "--weights", other, "--task", "liver", "-o", tmp_path / "liver.nii.gz")
    assert (code, "mean with 1 other. Licence" in out) == (0, True), err
    code, out, err = run(*arguments, "--pack", packs[0], "--pack", packs[1], "--task", "gland", "-o", tmp_path / "g.nii.gz")
    assert (code, "mean with 1 other. Licence" in out) == (0, True), err
    code, _, err = run(*arguments, "--weights", other, "--pack", packs[0], "--task", "gland", "-o", tmp_path / "n.nii.gz")
    assert (code, "several weights and packs cannot be averaged together" in err) == (1, True)
