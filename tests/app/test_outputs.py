"""What may be overwritten and what may not, and that nothing is ever half there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import ct_volume

from uniseg_app.commands import SegmentRequest, find_weights, segment
from uniseg_app.outputs import check_replaceable, staged
from uniseg_model.dataset import check_description, write_case, write_description
from uniseg_model.errors import OptionError, OutputError, UniSegError, WeightsError
from uniseg_model.files import is_sealed, write_json, write_sealed_json
from uniseg_model.io import read_labels, write_image
from uniseg_model.predictor import Options
from uniseg_model.tasks import builtin_tasks

Ask = Callable[..., SegmentRequest]


@pytest.fixture
def ask(tmp_path: Path, rng: np.random.Generator, weights: Path) -> Ask:
    volume = ct_volume(rng, (12, 16, 16))
    write_image(tmp_path / "ct.nii.gz", volume.array[0], volume)

    def request(out: str, *tasks: str, **more: Any) -> SegmentRequest:
        options = more.pop("options", Options())
        return SegmentRequest((tmp_path / "ct.nii.gz",), tasks or ("liver",), tmp_path / out, options, weights=weights, **more)

    return request


def refused(request: SegmentRequest, kind: type[UniSegError], match: str) -> None:
    before = {path: path.read_bytes() for path in request.out.parent.rglob("*") if path.is_file()}
    with pytest.raises(kind, match=match):
        segment(request)
    assert {path: path.read_bytes() for path in request.out.parent.rglob("*") if path.is_file()} == before


def test_report_must_not_be_one_of_the_answers_files(ask: Ask, tmp_path: Path) -> None:
    refused(ask("liver.nii.gz", report=tmp_path / "liver.json"), OutputError, "is one of the files with the labels")
    refused(ask("out.nii.gz", report=tmp_path / "out.nii.gz"), OptionError, r"must end in \.json")


def test_edited_names_beside_the_labels_are_not_overwritten(ask: Ask, tmp_path: Path) -> None:
    segment(ask("a.nii.gz"))
    facts = json.loads((tmp_path / "a.json").read_text())
    facts["labels"]["1"]["name"] = "my liver"
    (tmp_path / "a.json").write_text(json.dumps(facts))
    refused(ask("a.nii.gz"), OutputError, r"a\.json was edited, or was not written by this program")
    segment(ask("a.nii.gz", overwrite=True))
    assert json.loads((tmp_path / "a.json").read_text())["labels"]["1"]["name"] == "liver"


def test_folder_in_the_place_of_a_label_file_is_refused_even_with_overwrite(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "out" / "merged.nii.gz").mkdir(parents=True)
    refused(ask("out", "liver", "spleen", overwrite=True), OutputError, r"merged\.nii\.gz is a folder")


def test_confidence_of_the_originals_merge_is_refused(ask: Ask) -> None:
    refused(ask("m.nii.gz", merge="original", options=Options(confidence=True)), OptionError, "has no confidence")


def test_file_name_that_is_no_valid_text_does_not_cost_the_work(ask: Ask, tmp_path: Path) -> None:
    odd = tmp_path / b"p\xe9.nii.gz".decode("utf-8", "surrogateescape")
    (tmp_path / "ct.nii.gz").rename(odd)
    request = ask("out")
    outcome = segment(SegmentRequest((odd,), request.tasks, request.out, request.options, weights=request.weights))
    assert (tmp_path / "out" / "liver.nii.gz") in outcome.files
    assert is_sealed(tmp_path / "out" / "run.json")


def test_weights_named_in_the_settings_are_not_replaced_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text('weights = "/nowhere/w.safetensors"\n')
    monkeypatch.setenv("UNISEG_SETTINGS", str(tmp_path / "settings.toml"))
    assert find_weights(None) == Path("/nowhere/w.safetensors")
    from uniseg_app.commands import run_demo

    with pytest.raises(WeightsError, match=r"no weights file .*nowhere"):
        run_demo(tmp_path / "demo")


def test_memory_that_runs_out_while_preparing_is_told_in_one_sentence(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("uniseg_model.predictor.prepare", lack)
    refused(ask("x.nii.gz"), UniSegError, r"memory ran out: MemoryError\. Close other programs.*coarser --spacing")


def test_seal_breaks_with_any_edit_and_survives_formatting(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_sealed_json(path, {"a": (1, 2.5), "b": {"ü": None}})
    assert is_sealed(path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
    assert is_sealed(path)
    path.write_text(path.read_text().replace("2.5", "2.6"))
    assert not is_sealed(path)
    write_json(path, {"a": 1})
    assert not is_sealed(path)


def test_staged_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    def stop_halfway() -> None:
        with staged(tmp_path / "a" / "b") as staging:
            (staging / "one.txt").write_text("1")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert list(tmp_path.iterdir()) == []
    with staged(tmp_path / "a" / "b") as staging:
        (staging / "one.txt").write_text("1")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["one.txt"]


def test_inputs_are_safe_even_with_overwrite_and_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"scan")
    (tmp_path / "liver.nii.gz").hardlink_to(tmp_path / "scan.nii.gz")
    with pytest.raises(OutputError, match="is the input"):
        check_replaceable([tmp_path / "liver.nii.gz"], [tmp_path / "scan.nii.gz"], overwrite=True)


def test_failed_case_takes_away_only_what_it_wrote(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, labels = ct_volume(rng), np.zeros((20, 24, 28), np.uint8)
    write_case(tmp_path, "a_b", volume, labels)
    write_case(tmp_path, "a", volume, labels)
    before = sorted(tmp_path.rglob("*"))

    def no_space(*_: Any) -> None:
        raise OutputError("no space")

    monkeypatch.setattr("uniseg_model.dataset.write_labels", no_space)
    with pytest.raises(OutputError, match="no space"):
        write_case(tmp_path, "a", volume, labels)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(OutputError, match="no space"):
        write_case(tmp_path / "new", "c", volume, labels)
    assert list((tmp_path / "new").iterdir()) == []


def test_case_with_other_labels_is_not_overwritten(tmp_path: Path, rng: np.random.Generator) -> None:
    volume, labels = ct_volume(rng), np.zeros((20, 24, 28), np.uint8)
    write_case(tmp_path, "a", volume, labels)
    write_case(tmp_path, "a", volume, labels)
    with pytest.raises(OutputError, match=r"a\.nii\.gz exists and holds other labels"):
        write_case(tmp_path, "a", volume, labels + 1)
    assert read_labels(tmp_path / "labelsTr" / "a.nii.gz")[0].max() == 0


def test_one_folder_holds_one_data_set(tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    write_description(tmp_path, builtin_tasks()["liver"])
    check_description(tmp_path, builtin_tasks()["liver"])
    with pytest.raises(OutputError, match="describes 'Liver and tumour', not 'Spleen'"):
        check_description(tmp_path, builtin_tasks()["spleen"])
