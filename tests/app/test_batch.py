"""`uniseg batch` as a person runs it, with a real though tiny network."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.batch.request import BatchRequest
from uniseg_app.batch.run import run_batch
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.io import read_labels, write_image
from uniseg_model.options import Options

SILENT = (sys.executable, "-c", "")  # a process that ends at once: whoever asks it anything gets no answer


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two good cases and one that is cut off."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("ann", "bob"):
        volume = ct_volume(rng, (12, 16, 18))
        write_image(folder / f"{name}.nii.gz", volume.array[0], volume)
    (folder / "cut.nii.gz").write_bytes((folder / "ann.nii.gz").read_bytes()[:2000])
    return folder


def request(images: Path, weights: Path, **more: Any) -> BatchRequest:
    given = {"options": Options(), "device": "cpu", "threads": 1, "weights": weights, "tasks": ("liver", "spleen"), **more}
    return BatchRequest(images, images.parent / "out", **given)


def test_a_batch_equals_segment_and_running_again_is_going_on(run: Any, images: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    common = ("--task", "liver,spleen", "--weights", weights, "--threads", 1, "--device", "cpu")
    code, printed, err = run("batch", images, out, *common, "--json")
    facts = json.loads(printed)
    assert (code, err.count("\n")) == (1, 1)
    assert "uniseg: error: 1 case has no answer" in err
    assert facts["counts"] == {"cases": 3, "done": 2, "failed": 1, "waiting": 0, "already_there": 0}
    assert facts == json.loads((out / "summary.json").read_text())
    [ann, bob, cut] = csv.DictReader((out / "summary.csv").open(newline=""))
    assert (ann["case"], ann["state"], ann["attempts"], ann["error"]) == ("ann", "done", "1", "")
    assert "cut.nii.gz is truncated" in cut["error"]
    assert sorted(p.name for p in out.iterdir()) == [".uniseg-batch", "ann", "bob", "summary.csv", "summary.json"]

    assert run("segment", images / "bob.nii.gz", "-o", tmp_path / "alone", *common)[0] == 0
    own = {path.name for path in (tmp_path / "alone").iterdir()}
    assert {path.name for path in (out / "bob").iterdir()} == {*own, "case.json"}
    for name in ("liver.nii.gz", "spleen.nii.gz", "merged.nii.gz"):
        in_batch, alone = (read_labels(folder / name)[0] for folder in (out / "bob", tmp_path / "alone"))
        assert in_batch.tobytes() == alone.tobytes()
    volumes = json.loads((tmp_path / "alone" / "liver.json").read_text())["volumes_ml"]
    assert float(bob["liver/liver ml"]) == pytest.approx(volumes["liver"], abs=1e-3)

    (images / "cut.nii.gz").unlink()
    again = run_batch(request(images, weights), command=SILENT)
    assert (again.count("done"), again.already, again.failed_here) == (2, 2, 0)
    code, printed, _ = run("batch", images, out, *common)
    assert (code, "2 of 2 cases are done, 2 of them were there already; 0 failed" in printed) == (0, True)
    assert "UNTRAINED random weights: the labels mean nothing" in printed


def test_another_request_is_made_anew_and_said(images: Path, weights: Path) -> None:
    (images / "cut.nii.gz").unlink()
    (images / "bob.nii.gz").unlink()
    notes: list[str] = []
    first = run_batch(request(images, weights, tasks=("spleen",)))
    assert first.count("done") == 1
    (images.parent / "out" / "ann" / "spleen.json").unlink()
    with pytest.raises(UniSegError, match="the model cannot be loaded: the process that computed it ended with the code 0"):
        run_batch(request(images, weights, tasks=("spleen",)), command=SILENT)  # a file is missing: it had to be asked
    again = run_batch(request(images, weights, tasks=("liver",)), note=notes.append)
    assert notes == ["1 cases were made with another request (tasks) and are made anew"]
    assert (again.count("done"), again.already) == (1, 0)
    assert not (images.parent / "out" / "ann" / "spleen.nii.gz").exists()


def test_shards_share_one_table(images: Path, weights: Path) -> None:
    (images / "cut.nii.gz").unlink()
    first = run_batch(request(images, weights, shard=(1, 2)))
    assert [(case.case, case.state) for case in first.cases] == [("ann", "done"), ("bob", "waiting")]
    second = run_batch(request(images, weights, shard=(2, 2)))
    assert [(case.case, case.state) for case in second.cases] == [("ann", "done"), ("bob", "done")]


def test_a_list_chooses_tasks_case_by_case(images: Path, weights: Path) -> None:
    (images.parent / "list.csv").write_text("case,images,task\none,in/ann.nii.gz,colon\ntwo,in/nobody.nii.gz,\n")
    found = run_batch(request(images.parent / "list.csv", weights))
    assert [(case.case, case.state, list(case.volumes_ml)) for case in found.cases] == [
        ("one", "done", ["colon"]),
        ("two", "failed", []),
    ]
    assert found.cases[1].error.endswith("in/nobody.nii.gz")


def refused(run: Any, match: str, *arguments: object) -> None:
    code, out, err = run("batch", *arguments)
    assert (code, out, err.startswith("uniseg: error: ")) == (1, "", True)
    assert match in err


def test_what_cannot_be_begun_is_told_at_once(run: Any, images: Path, weights: Path, tmp_path: Path) -> None:
    common = ("--task", "liver", "--weights", weights, "--json")
    out = tmp_path / "out"
    refused(run, f"the output {images} is the input", images, images, *common)
    refused(run, "is neither a folder nor a list of cases (.csv, .jsonl)", images / "ann.nii.gz", out, *common)
    refused(run, "unknown task 'livr'", images, out, "--task", "livr", "--weights", weights, "--json")
    (tmp_path / "list.csv").write_text("case,images,task\nann,in/ann.nii.gz,livr\n")
    refused(run, "the case 'ann': unknown task 'livr'", tmp_path / "list.csv", out, *common)
    refused(run, "there is no weights file", images, out, "--task", "liver", "--weights", "none.safetensors", "--json")
    refused(run, "the output", images, images / "ann.nii.gz", *common)
    refused(run, "the shard must be I/N with I from 1 to N, not 3/2", images, out, *common, "--shard", "3/2")
    refused(run, "the shard must be I/N such as 3/8, not 'two'", images, out, *common, "--shard", "two")
    refused(run, "the time limit of a case must be more than 0 s, not -1", images, out, *common, "--timeout-s", "-1")
    refused(run, "--workers are processes without a cluster", images, out, *common, "--workers", 2, "--cluster", "local:2")
    refused(run, "the format must be nifti or dicom-seg", images, out, *common, "--format", "png")
    assert not out.exists()


def test_other_weights_on_a_worker_are_not_used(images: Path, weights: Path, tmp_path: Path) -> None:
    asked = request(images, tmp_path / "w.safetensors")
    tiny_checkpoint(seed=1).save(tmp_path / "w.safetensors")

    def swap(now: Any) -> None:
        if now.stage == "look":
            (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())

    with pytest.raises(UniSegError, match=r"w\.safetensors and its packs are others here than where the batch was started"):
        run_batch(asked, swap)


def test_without_dask_a_cluster_says_what_to_install(images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "uniseg_app.batch.cluster", raising=False)
    with pytest.raises(UniSegError, match=r'a cluster needs the package \'dask\'.* pip install "uniseg-app\[cluster\]"'):
        run_batch(request(images, weights, cluster="local:1"))


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="both name a scheduler"):
        BatchRequest(tmp_path, tmp_path, ("liver",), Options(), cluster="tcp://a:1", scheduler_file=tmp_path / "s.json")
