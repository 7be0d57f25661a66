"""Looking at prompts as jobs: the same numbers as the session's, through the backend's lane; with the real network, narrow."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.backend import Backend
from uniseg_app.prompt_answers import change_rows, changes_csv, plane_csv, save_what_if, statistics_csv, voxels_csv
from uniseg_app.prompt_jobs import Elsewhere, PromptJobs, box_around
from uniseg_model.cost import Cost
from uniseg_model.errors import ModalityError, OptionError, OutOfMemoryError, WeightsError
from uniseg_model.progress import Cancelled
from uniseg_model.prompts.changes import Blend, Foreign, Own, Shuffle, Swap, Zero
from uniseg_model.regions import Box, OneWindow
from uniseg_model.volume import Volume

LONG_S = 60.0


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_checkpoint().save(path)
    backend = Backend(path, device="cpu")
    yield backend
    backend.close()


@pytest.fixture
def jobs(backend: Backend) -> PromptJobs:
    return PromptJobs(backend)


@pytest.fixture
def ct(rng: np.random.Generator) -> Volume:
    return ct_volume(rng, (20, 40, 48))


def test_its_own_prompt_is_the_usual_prediction_to_the_bit(backend: Backend, jobs: PromptJobs, ct: Volume) -> None:
    [usual] = backend.segment(ct, ["liver"]).result(LONG_S)
    for change in (Own(), Swap("liver"), Blend("spleen", 0.0)):
        found = jobs.what_if(ct, "liver", change).result(LONG_S)
        np.testing.assert_array_equal(found.before.labels, usual.labels)
        np.testing.assert_array_equal(found.after.labels, usual.labels)
        assert not found.difference.any()
        assert not found.probability_change.any()
    assert usual.labels.any()


def test_a_swap_answers_as_the_blend_that_is_all_of_the_other(jobs: PromptJobs, ct: Volume) -> None:
    swapped, blended = (jobs.what_if(ct, "liver", change).result(LONG_S) for change in (Swap("spleen"), Blend("spleen", 1.0)))
    np.testing.assert_array_equal(swapped.after.labels, blended.after.labels)
    np.testing.assert_array_equal(swapped.probability_change, blended.probability_change)
    assert swapped.difference.any()


def test_the_prompt_of_another_image_is_its_mean_over_windows(jobs: PromptJobs, ct: Volume, rng: np.random.Generator) -> None:
    other = ct_volume(rng, (24, 30, 30))
    [maps] = jobs.maps(other, ["liver"]).result(LONG_S)
    told = jobs.what_if(ct, "liver", Foreign(maps.window_mean[0], "the other")).result(LONG_S)
    found = jobs.what_if(ct, "liver", Elsewhere(other, "the other")).result(LONG_S)
    np.testing.assert_array_equal(found.after.labels, told.after.labels)
    assert found.change.to_dict() == told.change.to_dict()
    assert found.change.to_dict()["said"] == "the other"


@pytest.mark.parametrize("change", [Zero(), Shuffle(3)])
def test_at_one_window_only_that_window_is_answered(jobs: PromptJobs, ct: Volume, change: Zero | Shuffle) -> None:
    found = jobs.what_if(ct, "liver", change, OneWindow((10.0, 5.0, 5.0))).result(LONG_S)
    inside = np.zeros(ct.shape, bool)
    inside[found.valid] = True
    assert 0 < inside.sum() < inside.size
    assert not found.before.labels[~inside].any()
    assert found.after.record.options["region"] == "one window"


def test_maps_and_learned_prompts_are_the_sessions(backend: Backend, jobs: PromptJobs, ct: Volume) -> None:
    learned = jobs.learned().result(LONG_S)
    assert [task.key for task in learned.tasks] == list(backend.model().checkpoint.tasks)
    found, wanted = (
        jobs.maps(ct, ["liver", "vertebrae"]).result(LONG_S),
        backend.session(ct).prompt_maps(["liver", "vertebrae"]),
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_sensitivity_and_sheet_come_as_jobs(backend: Backend, jobs: PromptJobs, ct: Volume) -> None:
    region = OneWindow((10.0, 20.0, 20.0))
    found = jobs.saliency(ct, "liver", "liver tumour", region).result(LONG_S)
    wanted = backend.session(ct).saliency("liver", "liver tumour", region=region)
    np.testing.assert_array_equal(found.array, wanted.array)
    sheet = jobs.sheet(ct, ["liver", "spleen"], (10.0, 20.0, 20.0)).result(LONG_S)
    assert sheet.pixels.shape[2] == 3
    assert sheet.pixels.std() > 10


def test_a_look_is_cancelled_while_it_waits(backend: Backend, jobs: PromptJobs, ct: Volume) -> None:
    first = jobs.sheet(ct, ["liver", "spleen", "colon"])
    second = jobs.maps(ct, ["liver"])
    second.cancel()
    first.cancel()
    with pytest.raises(Cancelled):
        second.result(LONG_S)
    with pytest.raises(Cancelled):
        first.result(LONG_S)


def test_errors_say_what_is_wrong(jobs: PromptJobs, ct: Volume) -> None:
    with pytest.raises(ModalityError, match=r"needs 4 channels .* the image has 1"):
        jobs.maps(ct, ["brain"]).result(LONG_S)
    with pytest.raises(OptionError, match="lies outside the image"):
        jobs.what_if(ct, "liver", Zero(), OneWindow((99.0, 0.0, 0.0))).result(LONG_S)


def test_what_cannot_fit_is_refused_before_it_begins(jobs: PromptJobs, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uniseg_model.predictor.Session.cost", lambda *a: Cost(9, memory_gb=99.0, free_gb=1.0))
    with pytest.raises(OutOfMemoryError, match=r"99\.0 GB"):
        jobs.what_if(ct, "liver", Zero()).result(LONG_S)
    assert jobs.what_if(ct, "liver", Zero(), OneWindow((10.0, 20.0, 20.0))).result(LONG_S)


def test_weights_without_prompts_are_told_in_one_sentence(
    backend: Backend, jobs: PromptJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(backend.model().checkpoint.weights, "universal_prompt")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="hold no universal prompt"):
        jobs.learned().result(LONG_S)


def test_a_box_lies_around_its_voxel_and_in_the_image() -> None:
    volume = Volume(
        np.ones((1, 20, 40, 40), np.float32), np.array([[0, 0, 2.0, 0], [0, 2.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    )
    assert box_around(volume, (10, 20, 20), 20) == Box((8, 15, 15), (12, 25, 25))  # 4 voxels of 5 mm, 10 of 2 mm
    assert box_around(volume, (0, 39, 20), 20) == Box((0, 34, 15), (2, 40, 25))
    assert box_around(volume, (10, 20, 20), 0.1) == Box((10, 20, 20), (11, 21, 21))


def test_the_tables_hold_the_numbers_behind_the_pictures(jobs: PromptJobs, ct: Volume) -> None:
    learned = jobs.learned().result(LONG_S)
    rows = list(csv.DictReader(voxels_csv(learned).splitlines()))
    assert len(rows) == learned.array.size
    row = rows[-1]
    assert row["task"] == learned.tasks[-1].key
    assert np.float32(row["value"]) == learned.array[-1, int(row["z"]), int(row["y"]), int(row["x"])]
    means = {row["task"]: float(row["mean"]) for row in csv.DictReader(statistics_csv(learned).splitlines())}
    assert means["liver"] == pytest.approx(learned.of("liver").mean(dtype=np.float64))
    across = [float(row["across"]) for row in csv.DictReader(plane_csv(learned).splitlines())]
    np.testing.assert_allclose(across, learned.plane().points[:, 0])
    found = jobs.what_if(ct, "liver", Swap("spleen")).result(LONG_S)
    told = list(csv.DictReader(changes_csv(change_rows(found)).splitlines()))
    assert [row["structure"] for row in told] == ["liver", "liver tumour"]
    assert float(told[0]["after_ml"]) == found.after.volumes_ml()["liver"]


def test_what_changed_is_saved_on_the_images_grid(jobs: PromptJobs, ct: Volume, tmp_path: Path) -> None:
    found = jobs.what_if(ct, "liver", Swap("spleen")).result(LONG_S)
    files = {path.name: path for path in save_what_if(tmp_path / "out", found)}
    for name, wanted in (("before", found.before.labels), ("after", found.after.labels), ("difference", found.difference),
                         ("probability_change", found.probability_change)):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(nib.load(files[f"{name}.nii.gz"]).dataobj).T, wanted)  # type: ignore[attr-defined]
    facts = json.loads(files["what_if.json"].read_text())
    assert facts["change"] == {"prompt": "swap", "task": "spleen"}
    assert facts["voxels"]["only before"] == int((found.difference == 1).sum())
