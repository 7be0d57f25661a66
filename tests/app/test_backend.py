"""The backend: one model, images, jobs; with the real network, narrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.backend import Backend
from uniseg_app.job_log import JobLog
from uniseg_app.jobs import wait
from uniseg_model.cost import Cost
from uniseg_model.errors import OutOfMemoryError, TaskError, WeightsError
from uniseg_model.predictor import Options, load_model
from uniseg_model.preprocess import prepare
from uniseg_model.progress import Cancelled
from uniseg_model.volume import Source, Volume

LONG_S = 60.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_checkpoint().save(path)
    return path


@pytest.fixture
def backend(weights: Path, tmp_path: Path) -> Iterator[Backend]:
    backend = Backend(weights, device="cpu", log=JobLog(tmp_path / "jobs.sqlite"), look_every_s=0)
    yield backend
    backend.close()


@pytest.fixture
def ct(rng: np.random.Generator) -> Volume:
    return ct_volume(rng)


def test_its_answers_are_those_of_the_model(backend: Backend, weights: Path, ct: Volume) -> None:
    answers = backend.segment(ct, ["liver", "spleen"]).result(LONG_S)
    for answer, wanted in zip(answers, load_model(weights, device="cpu").open(ct).segment(["liver", "spleen"]), strict=True):
        np.testing.assert_array_equal(answer.labels, wanted.labels)


def test_who_looks_sees_the_labels_grow(backend: Backend, ct: Volume) -> None:
    looks: list[dict[str, np.ndarray]] = []
    [answer] = backend.segment(ct, ["liver"], look=lambda shown: looks.append(dict(shown))).result(LONG_S)
    assert len(looks) >= 2
    np.testing.assert_array_equal(looks[-1]["liver"], answer.labels)


def test_the_model_is_loaded_once(backend: Backend, ct: Volume) -> None:
    first = backend.warm_up().result(LONG_S)
    assert backend.model() is first
    assert backend.facts()["device"] == "cpu"


def test_what_a_run_will_take_is_known_once_the_model_is_warm(backend: Backend, ct: Volume) -> None:
    assert backend.cost(ct, ["liver"]).seconds is None
    backend.warm_up().result(LONG_S)
    one, two = (backend.cost(ct, keys).seconds for keys in (["liver"], ["liver", "spleen"]))
    assert one is not None
    assert two is not None
    assert 0 < one < two < 2 * one  # the encoding is shared


def test_nothing_is_prepared_twice_not_even_for_somebody_else(
    backend: Backend, ct: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    monkeypatch.setattr("uniseg_model.predictor.prepare", lambda *a: prepared.append(a) or prepare(*a))
    mine, yours = (replace(ct, source=Source(paths=(name,))) for name in ("mine.nii", "yours.nii"))
    [first] = backend.segment(mine, ["liver"], owner="me").result(LONG_S)
    [second] = backend.segment(yours, ["liver"], owner="you").result(LONG_S)
    assert len(prepared) == 1
    assert (first.volume.source.paths, second.volume.source.paths) == (("mine.nii",), ("yours.nii",))
    assert second.record.image["paths"] == ["yours.nii"]
    moved = ct.affine.copy()
    moved[0, 3] += 1
    backend.segment(Volume(ct.array, moved), ["liver"]).result(LONG_S)
    backend.segment(Volume(ct.array + 1, ct.affine), ["liver"]).result(LONG_S)
    assert len(prepared) == 3


def test_only_the_last_images_are_kept(backend: Backend, ct: Volume) -> None:
    for shift in range(6):
        backend.cost(Volume(ct.array + shift, ct.affine), ["liver"])
    assert len(backend._prepared) == 4


def test_each_task_says_what_speaks_against_it(backend: Backend, ct: Volume) -> None:
    choices = {choice.task.key: choice for choice in backend.choices(ct)}
    assert choices["liver"].suits
    assert "needs 4 channels" in choices["brain"].refused
    assert not choices["prostate"].suits
    assert "Hounsfield" in choices["prostate"].doubts[0]


def test_a_run_is_cancelled(backend: Backend, ct: Volume) -> None:
    job = backend.segment(ct, ["liver"], look=lambda shown: job.cancel())
    with pytest.raises(Cancelled):
        job.result(LONG_S)
    assert backend.segment(ct, ["liver"]).result(LONG_S)


def test_what_cannot_fit_is_refused_before_it_begins(backend: Backend, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uniseg_model.predictor.Session.cost", lambda *a: Cost(9, memory_gb=99.0, free_gb=1.0))
    with pytest.raises(OutOfMemoryError, match=r"needs about 99\.0 GB of memory, 1\.0 GB are free"):
        backend.segment(ct, ["liver"]).result(LONG_S)


def test_errors_arrive_with_the_job_and_in_the_log(backend: Backend, ct: Volume) -> None:
    job = backend.segment(ct, ["livr"])
    with pytest.raises(TaskError, match="Did you mean 'liver'"):
        job.result(LONG_S)
    backend.close()
    assert backend.log is not None
    [record] = backend.log.records()
    assert (record.title, record.state) == ("livr", "failed")


def test_weights_that_cannot_be_loaded_are_told_by_every_job(tmp_path: Path, ct: Volume) -> None:
    backend = Backend(tmp_path / "none.safetensors", device="cpu")
    for job in (backend.warm_up(), backend.segment(ct, ["liver"])):
        assert wait(job, LONG_S)
        assert isinstance(job.error, WeightsError)
    backend.close()


def test_options_reach_the_run(backend: Backend, ct: Volume) -> None:
    [answer] = backend.segment(ct, ["liver"], Options(confidence=True)).result(LONG_S)
    assert answer.confidence() is not None
