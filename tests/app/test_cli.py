"""The command line on good input: what it writes, what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_series import UID, dataset, write
from shared_data import shared
from tiny import ct_volume

from uniseg_model.engines.openvino_quietly import is_installed
from uniseg_model.io import read_volume, write_image
from uniseg_model.presets import PRESETS
from uniseg_model.tasks import builtin_tasks, read_tasks


@pytest.fixture
def ct(tmp_path: Path, rng: np.random.Generator) -> Path:
    volume = ct_volume(rng)
    write_image(tmp_path / "ct.nii.gz", volume.array[0], volume)
    return tmp_path / "ct.nii.gz"


def test_one_task_into_one_file(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    code, out, _ = run("segment", ct, "--task", "liver", "-o", tmp_path / "out.nii.gz", "--weights", weights)
    assert code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "out.json", "out.nii.gz"]
    assert np.array_equal(nib.load(tmp_path / "out.nii.gz").affine, nib.load(ct).affine)
    assert "liver tumour" in out
    assert "UNTRAINED random weights: the labels mean nothing" in out
    assert "Research use only. Not a medical device." in out
    assert "Device: cpu" in out


def test_a_preset_is_what_the_record_says_and_an_option_beside_it_counts_more(
    run: Any, ct: Path, weights: Path, tmp_path: Path
) -> None:
    common = ("segment", ct, "--task", "liver", "--weights", weights, "--json", "--preset", "fast")
    for options, step in (((), 0.75), (("--step", "1"), 1.0)):
        code, out, _ = run(*common, "-o", tmp_path / f"{step}.nii.gz", *options)
        record = json.loads(out)["record"]["options"]
        assert (code, record["step"], record["mirror"], record["body_share"]) == (0, step, False, 0.05)


def test_the_help_tells_what_each_preset_does(run: Any) -> None:
    for command in ("segment", "batch"):
        _, out, _ = run(command, "--help")
        said = " ".join(out.split())
        assert [name for name, preset in PRESETS.items() if f"{name}: {preset.sentence}" not in said] == []


def test_openvino_writes_what_torch_writes(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    if not is_installed():
        pytest.skip('OpenVINO is not installed: pip install "uniseg-app[cpu]"')
    written = {}
    for engine in ("torch", "openvino"):
        code, out, _ = run(
            "segment", ct, "--task", "spleen", "-o", tmp_path / f"{engine}.nii.gz", "--weights", weights, "--engine", engine
        )
        assert code == 0
        assert f"Device: cpu, {engine}, float32" in out
        written[engine] = np.asarray(nib.load(tmp_path / f"{engine}.nii.gz").dataobj)
    assert np.mean(written["torch"] == written["openvino"]) > 0.999  # ties aside: random weights make many


def test_several_tasks_into_a_folder(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "a" / "b"
    code, _, _ = run("segment", ct, "--task", "liver,kidney,vertebrae", "-o", out_dir, "--weights", weights)
    assert code == 0
    assert sorted(p.name for p in out_dir.iterdir()) == sorted([
        "run.json",
        *(f"{name}.{end}" for name in ("liver", "kidney", "vertebrae", "merged") for end in ("nii.gz", "json")),
    ])
    merged = np.asarray(nib.load(out_dir / "merged.nii.gz").dataobj)
    legend = json.loads((out_dir / "merged.json").read_text())
    assert set(np.unique(merged)) - {0} <= {int(value) for value in legend["labels"]}
    for overlap in legend["overlaps"]:
        a, b = (np.asarray(nib.load(out_dir / f"{overlap[who]}.nii.gz").dataobj) for who in ("kept", "lost"))
        assert overlap["voxels"] == np.count_nonzero((a > 0) & (b > 0))


@pytest.fixture
def dicom_ct(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Twelve slices of noise, the first one on top."""
    for k, pixels in enumerate(rng.integers(900, 1200, (12, 16, 18)).astype(np.uint16)):
        tags = {"FrameOfReferenceUID": UID + "7", "PixelSpacing": [3, 3], "SliceThickness": 3, "RescaleSlope": 1}
        write(tmp_path / "series" / f"{k}.dcm", dataset(pixels, (-20, -30, -3 * k), **tags))
    return tmp_path / "series"


def segments(path: Path) -> list[str]:
    import pydicom

    return [segment.SegmentLabel for segment in pydicom.dcmread(path).SegmentSequence]


def test_labels_of_a_dicom_series_as_dicom_seg(run: Any, dicom_ct: Path, weights: Path, tmp_path: Path) -> None:
    common = ("segment", dicom_ct, "--weights", weights, "--format", "dicom-seg")
    code, out, _ = run(*common, "--task", "liver,spleen", "-o", tmp_path / "out", "--json")
    assert (code, json.loads(out)["merged"]) == (0, None)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["liver.dcm", "run.json", "spleen.dcm"]
    assert segments(tmp_path / "out" / "liver.dcm") == ["liver", "liver tumour"]
    code, out, _ = run(*common, "--task", "spleen", "-o", tmp_path / "one.dcm")
    assert (code, f"Wrote {tmp_path / 'one.dcm'}" in out.replace("\n", "")) == (0, True)
    assert segments(tmp_path / "one.dcm") == ["spleen"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.dcm", "out", "series"]


def test_dicom_seg_that_is_there_is_replaced_only_when_told(run: Any, dicom_ct: Path, weights: Path, tmp_path: Path) -> None:
    common = ("segment", dicom_ct, "--weights", weights, "--format", "dicom-seg", "--task", "spleen")
    (tmp_path / "one.dcm").write_bytes(b"somebody's work")
    code, _, err = run(*common, "-o", tmp_path / "one.dcm")
    assert (code, (tmp_path / "one.dcm").read_bytes()) == (1, b"somebody's work")
    assert "one.dcm exists, and may have been edited" in err
    assert "--overwrite" in err
    assert run(*common, "-o", tmp_path / "one.dcm", "--overwrite")[0] == 0
    assert segments(tmp_path / "one.dcm") == ["spleen"]
    slice_before = (dicom_ct / "3.dcm").read_bytes()
    code, _, err = run(*common, "-o", dicom_ct / "3.dcm", "--overwrite")
    assert (code, (dicom_ct / "3.dcm").read_bytes()) == (1, slice_before)
    assert "3.dcm is the input" in err


def test_running_again_replaces_what_nobody_touched(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("segment", ct, "--task", "liver,spleen", "-o", tmp_path / "out", "--weights", weights)[0] == 0


def test_json_is_one_document_and_nothing_else(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "segment", ct, "--task", "spleen", "-o", tmp_path / "out", "--weights", weights, "--json", "--confidence"
    )
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["tasks"]["spleen"]["volumes_ml"]["spleen"] >= 0
    assert facts["record"]["options"]["confidence"] is True
    assert [Path(name).name for name in facts["files"]] == ["run.json", "spleen.json", "spleen.nii.gz"]


def test_all_on_a_ct_means_the_eight_ct_tasks(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    code, out, _ = run("segment", ct, "--task", "all", "-o", tmp_path / "out", "--weights", weights, "--json")
    assert code == 0
    assert list(json.loads(out)["tasks"]) == list(builtin_tasks())[:8]


def test_all_with_the_originals_merge_writes_one_map(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    code, _, _ = run(
        "segment",
        ct,
        "--task",
        "all",
        "--merge",
        "original",
        "--spacing",
        "3,1.5,1.5",
        "-o",
        tmp_path / "out",
        "--weights",
        weights,
    )
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["merged.json", "merged.nii.gz", "run.json"]


def test_four_files_are_four_channels(run: Any, weights: Path, tmp_path: Path) -> None:
    assert run("phantom", "--task", "brain", "-o", tmp_path / "data")[0] == 0
    channels = sorted((tmp_path / "data" / "imagesTr").glob("*.nii.gz"))
    assert len(channels) == 4
    code, out, _ = run(
        "segment", *channels, "--task", "all", "-o", tmp_path / "out", "--weights", weights, "--spacing", "4,4,4", "--json"
    )
    assert code == 0
    assert list(json.loads(out)["tasks"]) == ["brain"]


def test_weights_come_from_the_environment(
    run: Any, ct: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNISEG_WEIGHTS", str(weights))
    assert run("segment", ct, "--task", "colon", "-o", tmp_path / "c.nii.gz")[0] == 0


def test_weights_come_from_the_settings(
    run: Any, ct: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'weights = "{weights}"\n')
    monkeypatch.setenv("UNISEG_SETTINGS", str(settings))
    assert run("segment", ct, "--task", "colon", "-o", tmp_path / "c.nii.gz")[0] == 0


def test_report_is_written_where_it_was_asked_for(run: Any, ct: Path, weights: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "run.json"
    assert run("segment", ct, "--task", "lung", "-o", tmp_path / "l.nii.gz", "--weights", weights, "--report", report)[0] == 0
    assert json.loads(report.read_text())["tasks"][0]["key"] == "lung"


def test_tasks_lists_all_eleven(run: Any, weights: Path) -> None:
    code, out, _ = run("tasks", "--json", "--weights", weights)
    assert code == 0
    assert [task["key"] for task in json.loads(out)] == list(builtin_tasks())
    assert "whole_body" in run("tasks")[1]


def test_phantoms_and_evaluation_fit_together(run: Any, tmp_path: Path) -> None:
    data = tmp_path / "spleen"
    assert run("phantom", "--task", "spleen", "-o", data, "--count", 2, "--seed", 5)[0] == 0
    facts = json.loads((data / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "spleen": 1}
    assert facts["numTraining"] == 2
    assert sorted(p.name for p in (data / "labelsTr").iterdir()) == ["trunk_0005.nii.gz", "trunk_0006.nii.gz"]
    assert read_volume(data / "imagesTr" / "trunk_0005_0000.nii.gz").orientation == "RAS"
    code, out, _ = run("evaluate", data / "labelsTr", data / "labelsTr", "--task", "spleen", "--json")
    assert code == 0
    assert json.loads(out)["summary"]["spleen"]["dice"]["mean"] == 1.0


def test_evaluation_with_a_case_missing_fails_and_says_which(run: Any, tmp_path: Path) -> None:
    run("phantom", "--task", "spleen", "-o", tmp_path / "a", "--count", 2)
    run("phantom", "--task", "spleen", "-o", tmp_path / "b", "--count", 1)
    code, _, err = run("evaluate", tmp_path / "b" / "labelsTr", tmp_path / "a" / "labelsTr", "--task", "spleen")
    assert code == 1
    assert "no prediction for: trunk_0001" in err
    assert "uniseg: error: 1 of 2 cases could not be compared" in err


def test_weights_tell_what_they_are(run: Any, weights: Path) -> None:
    code, out, _ = run("weights", "info", weights, "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "untrained"
    assert run("weights", "verify", weights)[0] == 0


def test_import_replaces_weights_of_ours_and_nothing_else(run: Any, weights: Path, tmp_path: Path) -> None:
    official = shared("golden/checkpoint/model_final_checkpoint.model")
    out = tmp_path / "w.safetensors"
    for _ in range(2):
        assert run("weights", "import", official, "-o", out)[0] == 0
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = run("weights", "import", official, "-o", tmp_path / "thesis.txt")
    assert code == 1
    assert "thesis.txt exists and is not a weights file of this program" in err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_version_and_wrong_usage(run: Any) -> None:
    from uniseg_model import __version__

    assert run("--version")[:2] == (0, f"{__version__}\n")
    assert run("segment")[0] == 2
    assert run("nonsense")[0] == 2


def test_demo_shows_what_the_demo_weights_find_and_says_what_they_are(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("demo", "-o", tmp_path / "demo")
    assert code == 0
    assert len(list((tmp_path / "demo" / "labels").glob("*.nii.gz"))) == 8 + 1  # a task each, and merged
    assert "demo weights, trained on synthetic phantoms only" in out
    assert "it says nothing about real patients" in out


def test_demo_without_weights_says_that_its_labels_mean_nothing(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniseg_app.settings.embedded_weights", lambda: tmp_path / "none.safetensors")
    code, out, _ = run("demo", "-o", tmp_path / "demo")
    assert (code, "UNTRAINED random weights: the labels mean nothing" in out) == (0, True)


def test_real_ct_and_dicom_with_the_authors_format(run: Any, tmp_path: Path) -> None:
    official = shared("golden/checkpoint/model_final_checkpoint.model")
    assert run("weights", "import", official, "-o", tmp_path / "w.safetensors")[0] == 0
    scan = shared("golden/preprocess/example_ct_sm.nii.gz")
    for image, name in ((scan, "nifti"), (shared("real/dicom_ct"), "dicom")):
        code, out, _ = run(
            "segment", image, "--task", "vertebrae", "-o", tmp_path / name, "--weights", tmp_path / "w.safetensors"
        )
        assert code == 0
        assert "non-commercial" in out
    written = nib.load(tmp_path / "nifti" / "vertebrae.nii.gz")
    assert np.array_equal(written.affine, nib.load(scan).affine)
    assert written.shape == nib.load(scan).shape
    dicom = read_volume(shared("real/dicom_ct"))
    np.testing.assert_allclose(
        nib.load(tmp_path / "dicom" / "vertebrae.nii.gz").affine[:, [2, 1, 0, 3]], dicom.affine, atol=1e-4
    )


def test_held_out_phantoms_share_scans_and_bring_their_task(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("phantom", "--task", "gallbladder,ribs", "-o", tmp_path, "--seed", 7)
    assert (code, "1 cases of 'Ribs (phantoms)'" in out) == (0, True)
    scans = [tmp_path / key / "imagesTr" / "torso_0007_0000.nii.gz" for key in ("gallbladder", "ribs")]
    assert scans[0].samefile(scans[1])
    assert [task.key for task in read_tasks(tmp_path / "ribs" / "task.toml")] == ["ribs"]
