"""Who is on the page: an answer never lands on another image, and who leaves takes everything along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.backend import Backend
from uniseg_app.jobs import wait
from uniseg_app.web_demo.private import PrivateFolder, private_folder
from uniseg_app.web_demo.visits import Visits
from uniseg_model.volume import Volume

LONG_S = 60.0


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateFolder]:
    private = private_folder(tmp_path)
    yield private
    private.close()


@pytest.fixture
def visits(private: PrivateFolder) -> Visits:
    return Visits(private)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    tiny_checkpoint().save(tmp_path / "tiny.safetensors")
    backend = Backend(tmp_path / "tiny.safetensors", device="cpu", look_every_s=0)
    yield backend
    backend.close()


@pytest.fixture
def ct(rng: np.random.Generator) -> Volume:
    return ct_volume(rng)


def test_each_tab_has_a_folder_of_its_own_and_takes_it_along(visits: Visits) -> None:
    mine, yours = visits.of("me"), visits.of("you")
    assert visits.of("me") is mine
    assert mine.folder != yours.folder
    visits.leave("me")
    assert not mine.folder.exists()
    assert yours.folder.exists()
    visits.leave("nobody")
    assert len(visits) == 1


def test_answers_come_first_and_those_of_other_tasks_stay(visits: Visits, backend: Backend, ct: Volume) -> None:
    visit = visits.of("me")
    visit.show(ct, "a scan")
    for keys in (["liver", "spleen"], ["kidney"], ["spleen"]):
        visit.job = backend.segment(ct, keys)
        assert wait(visit.job, LONG_S)
        visit.finish(visit.job)
    assert list(visit.answers) == ["spleen", "kidney", "liver"]


def test_what_was_asked_of_one_image_never_lands_on_the_next(visits: Visits, backend: Backend, ct: Volume) -> None:
    visit = visits.of("me")
    visit.show(ct, "first")
    look, job = visit.looker(), backend.segment(ct, ["liver"])
    visit.job = job
    assert wait(job, LONG_S)
    visit.show(Volume(ct.array[:, :10], ct.affine), "second")
    look({"liver": np.ones(ct.shape, np.uint8)})
    visit.finish(job)
    assert (visit.labels(), visit.answers) == ({}, {})


def test_labels_grow_until_the_run_is_cancelled(visits: Visits, ct: Volume) -> None:
    visit = visits.of("me")
    visit.show(ct, "a scan")
    version = visit.version
    visit.looker()({"liver": np.ones(ct.shape, np.uint8)})
    assert visit.version > version
    assert list(visit.labels()) == ["liver"]
    visit.cancel()
    assert visit.labels() == {}


def test_who_has_died_leaves_after_a_while_but_not_while_something_runs(visits: Visits, backend: Backend, ct: Volume) -> None:
    idle, busy = visits.of("idle"), visits.of("busy")
    busy.job = backend.segment(ct, ["liver", "spleen", "kidney"])
    assert idle.is_busy is False
    if busy.is_busy:
        visits.leave_idle(after_s=-1)
        assert not idle.folder.exists()
    assert wait(busy.job, LONG_S)
    visits.leave_idle(after_s=1000)
    assert busy.folder.exists()
    visits.leave_idle(after_s=-1)
    assert len(visits) == 0
