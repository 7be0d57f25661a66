"""`uniseg batch` as a person runs it, with a real though tiny network."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import batch_child
import numpy as np
import pytest
from dicom_series import UID, dataset, write
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.batch import child, local
from uniseg_app.batch.cases import find_cases
from uniseg_app.batch.request import BatchRequest, Setup, identity_of, work_of
from uniseg_app.batch.run import run_batch
from uniseg_app.commands import found_checkpoints
from uniseg_model.errors import FileFormatError, OptionError, UniSegError, WeightsError
from uniseg_model.io import read_labels, write_image
from uniseg_model.options import Options
from uniseg_model.progress import Progress

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
    [ann, bob, cut] = csv.DictReader((out / "summary.csv").read_text().splitlines())
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


def light(notes: Path) -> tuple[str, ...]:
    """A process without a model; each task gets 1200 ml of liver."""
    return (sys.executable, batch_child.__file__, str(notes))


def test_another_request_is_made_anew_and_said(images: Path, weights: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    first = run_batch(request(images, weights, tasks=("spleen",)), command=light(tmp_path))
    again = run_batch(request(images, weights, tasks=("liver",)), note=notes.append, command=light(tmp_path))
    assert (first.count("done"), again.count("done"), again.already) == (3, 3, 0)
    assert notes == ["3 cases were made with another request (tasks) and are made anew"]
    write_again = (images / "bob.nii.gz").read_bytes()
    (images / "bob.nii.gz").write_bytes(write_again + b" ")
    changed = run_batch(request(images, weights, tasks=("liver",)), note=notes.append, command=light(tmp_path))
    assert changed.already == 2
    assert notes[1:] == ["1 case was made with another request (images) and is made anew", "2 cases are there already"]


def test_shards_share_one_table(images: Path, weights: Path, tmp_path: Path) -> None:
    first = run_batch(request(images, weights, shard=(1, 2)), command=light(tmp_path))
    assert [(case.case, case.state) for case in first.cases] == [("ann", "done"), ("bob", "waiting"), ("cut", "done")]
    second = run_batch(request(images, weights, shard=(2, 2)), command=light(tmp_path))
    assert [(case.case, case.state) for case in second.cases] == [("ann", "done"), ("bob", "done"), ("cut", "done")]


def test_a_list_chooses_tasks_case_by_case(images: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("case,images,task\none,in/ann.nii.gz,colon\ntwo,in/bob.nii.gz,\n")
    found = run_batch(request(tmp_path / "list.csv", weights), command=light(tmp_path))
    assert [(case.case, list(case.volumes_ml)) for case in found.cases] == [("one", ["colon"]), ("two", ["liver", "spleen"])]


def test_interrupted_nothing_is_half_there_and_it_goes_on(images: Path, weights: Path, tmp_path: Path) -> None:
    for name in ("hangs", "ann"):
        (images / f"{name}.nii.gz").write_bytes(b"")

    def interrupt(now: Progress) -> None:
        if now.stage == "batch" and now.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(request(images, weights, workers=2), interrupt, command=light(tmp_path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ann", "bob", "cut"]
    (images / "hangs.nii.gz").unlink()
    assert run_batch(request(images, weights), command=SILENT).already == 3


def test_a_process_that_cannot_begin_stops_the_batch(images: Path, weights: Path) -> None:
    with pytest.raises(UniSegError, match="the model cannot be loaded: its process ended with the code 0"):
        run_batch(request(images, weights), command=SILENT)
    assert list((images.parent / "out").iterdir()) == []


@pytest.fixture
def setup(weights: Path) -> Setup:
    identity = identity_of(found_checkpoints(weights))
    return Setup(weights, (), (), "cpu", "auto", None, Options(), "nifti", identity)


def test_an_image_that_is_not_there_is_the_cases_own_failure(setup: Setup, tmp_path: Path) -> None:
    work = {
        "case": "a",
        "images": [str(tmp_path / "nobody.nii.gz")],
        "tasks": ["liver"],
        "series": None,
        "out": str(tmp_path / "o"),
    }
    with pytest.raises(FileFormatError, match=r"there is no file or folder .*nobody\.nii\.gz"):
        child.compute_case(child.load(setup), setup, work)
    assert not (tmp_path / "o").exists()


def test_other_weights_on_a_worker_are_not_used(setup: Setup, tmp_path: Path) -> None:
    tiny_checkpoint(seed=1).save(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors and its packs are others here than where the batch was started"):
        child.load(replace(setup, weights=tmp_path / "w.safetensors"))


def test_a_setup_travels_as_it_is(setup: Setup) -> None:
    full = replace(setup, options=Options(spacing_mm=(3.0, 2.0, 2.0), axes="RAS"), packs=(Path("p"),), slot=3)
    assert Setup.from_json(full.to_json()) == full


def test_a_dicom_folder_becomes_dicom_seg(setup: Setup, rng: np.random.Generator, tmp_path: Path) -> None:
    for k, pixels in enumerate(rng.integers(900, 1200, (12, 16, 18)).astype(np.uint16)):
        tags = {"FrameOfReferenceUID": UID + "7", "PixelSpacing": [3, 3], "SliceThickness": 3, "RescaleSlope": 1}
        write(tmp_path / "in" / "ann" / "ct" / f"{k}.dcm", dataset(pixels, (-20, -30, -3 * k), **tags))
    [case] = find_cases(tmp_path / "in", tmp_path / "out")
    one = work_of(case, request(tmp_path / "in", setup.weights, format="dicom-seg"), setup.identity)
    assert (one.case, one.facts["images"][0][:2]) == ("ann_ct", ["ct", 12])
    found = child.compute_case(
        child.load(setup), replace(setup, format="dicom-seg"), {**vars(one), "out": str(tmp_path / "out")}
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["liver.dcm", "run.json", "spleen.dcm"]
    assert list(found["volumes_ml"]) == ["liver", "spleen"]


@pytest.mark.parametrize(
    ("device", "slot", "n_gpus", "pinned"),
    [
        ("auto", 3, 2, "cuda:1"),
        ("cuda", 0, 4, "cuda:0"),
        ("cuda:2", 1, 4, "cuda:2"),
        ("auto", 1, 1, "auto"),
        ("cpu", 1, 4, "cpu"),
    ],
)
def test_each_process_has_a_gpu_of_its_own(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, device: str, slot: int, n_gpus: int, pinned: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_gpus)
    assert child._device(replace(setup, device=device, slot=slot)) == pinned
    assert local.n_gpus(device) == (n_gpus if device in ("auto", "cuda") else 0)


def test_cores_are_shared_out_unless_somebody_has_said_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "n_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [local.fair_threads("cpu", n) for n in (1, 3, 40)] == [None, 5, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (local.fair_threads("cpu", 3), local.own_threads()) == (None, 2)


def refused(run: Any, match: str, *arguments: object) -> None:
    code, out, err = run("batch", *arguments)
    assert (code, out, err.startswith("uniseg: error: ")) == (1, "", True)
    assert match in err


def test_what_cannot_be_begun_is_told_at_once(run: Any, images: Path, weights: Path, tmp_path: Path) -> None:
    common = ("--task", "liver", "--weights", weights, "--json")
    out = tmp_path / "out"
    refused(run, f"the output {images} is the input", images, images, *common)
    refused(run, "is neither a folder nor a list of cases (.csv, .jsonl)", images / "ann.nii.gz", out, *common)
    refused(run, "there is no task 'livr'", images, out, "--task", "livr", "--weights", weights, "--json")
    (tmp_path / "list.csv").write_text("case,images,task\nann,in/ann.nii.gz,livr\n")
    refused(run, "the case 'ann': there is no task 'livr'", tmp_path / "list.csv", out, *common)
    refused(run, "there is no weights file", images, out, "--task", "liver", "--weights", "none.safetensors", "--json")
    refused(run, "ann.nii.gz is a file", images, images / "ann.nii.gz", *common)
    refused(run, "the shard must be I/N with I from 1 to N, not 3/2", images, out, *common, "--shard", "3/2")
    refused(run, "the shard must be I/N such as 3/8, not 'two'", images, out, *common, "--shard", "two")
    refused(run, "the time limit of a case must be more than 0 s, not -1", images, out, *common, "--timeout-s", "-1")
    refused(run, "--workers are processes without a cluster", images, out, *common, "--workers", 2, "--cluster", "local:2")
    refused(run, "the format must be nifti or dicom-seg", images, out, *common, "--format", "png")
    assert not out.exists()


def test_without_dask_a_cluster_says_what_to_install(images: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "uniseg_app.batch.cluster", raising=False)
    with pytest.raises(UniSegError, match=r'a cluster needs the package \'dask\'.* pip install "uniseg-app\[cluster\]"'):
        run_batch(request(images, weights, cluster="local:1"))


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="both name a scheduler"):
        BatchRequest(tmp_path, tmp_path, ("liver",), Options(), cluster="tcp://a:1", scheduler_file=tmp_path / "s.json")
