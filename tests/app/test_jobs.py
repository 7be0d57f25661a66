"""Jobs: their turns, their progress, their end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uniseg_app.job_log import JobLog
from uniseg_app.jobs import Job, Lane, State, wait, watch
from uniseg_model.errors import ModalityError
from uniseg_model.progress import Cancelled, Progress, ProgressHook

LONG_S = 20.0


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test")
    yield lane
    lane.close()


class Gate:
    """Work that has begun, and goes on when it may."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, progress: ProgressHook) -> str:
        self.begun.set()
        while not self.open.wait(0.01):
            progress(Progress("predict", 1, 4))
        return "through"


def say(word: str, said: list[str]) -> Callable[[ProgressHook], None]:
    return lambda progress: said.append(word)


def test_a_result_is_kept(lane: Lane) -> None:
    job = lane.submit("two", lambda progress: 2)
    assert (job.result(LONG_S), job.result(0), job.state) == (2, 2, State.DONE)


def test_an_error_reaches_who_asks(lane: Lane) -> None:
    def fail(progress: ProgressHook) -> None:
        raise ModalityError("one channel too few")

    job = lane.submit("bad", fail)
    with pytest.raises(ModalityError, match="one channel too few"):
        job.result(LONG_S)
    assert job.state is State.FAILED
    assert lane.submit("next", lambda progress: "well").result(LONG_S) == "well"


def test_one_job_runs_at_a_time_and_the_others_know_their_place(lane: Lane) -> None:
    gate = Gate()
    first = lane.submit("first", gate)
    assert gate.begun.wait(LONG_S)
    second, third = (lane.submit(title, lambda progress: None) for title in ("second", "third"))
    assert [job.ahead() for job in (first, second, third)] == [0, 1, 2]
    assert [job.state for job in (first, second, third)] == [State.RUNNING, State.QUEUED, State.QUEUED]
    with pytest.raises(TimeoutError, match="third is not finished after 0 s"):
        third.result(0)
    gate.open.set()
    third.result(LONG_S)
    assert lane.jobs() == []


def test_everybodys_first_comes_before_anybodys_second(lane: Lane) -> None:
    gate, said = Gate(), []
    lane.submit("gate", gate, owner="a")
    assert gate.begun.wait(LONG_S)
    jobs = [lane.submit(word, say(word, said), owner=word[0]) for word in ("a2", "a3", "b1", "c1", "b2")]
    assert [job.title for job in lane.jobs()] == ["gate", "b1", "c1", "a2", "b2", "a3"]
    gate.open.set()
    for job in jobs:
        job.result(LONG_S)
    assert said == ["b1", "c1", "a2", "b2", "a3"]


def test_a_running_job_is_cancelled_at_its_next_step(lane: Lane) -> None:
    gate = Gate()
    job = lane.submit("long", gate)
    assert gate.begun.wait(LONG_S)
    job.cancel()
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(LONG_S)
    assert job.state is State.CANCELLED


def test_a_waiting_job_is_cancelled_at_once(lane: Lane) -> None:
    gate, said = Gate(), []
    lane.submit("gate", gate)
    job = lane.submit("never", say("never", said))
    job.cancel()
    assert (job.done(), job.state) == (True, State.CANCELLED)
    gate.open.set()
    lane.submit("last", say("last", said)).result(LONG_S)
    assert said == ["last"]


def test_cancelling_what_is_done_changes_nothing(lane: Lane) -> None:
    job = lane.submit("two", lambda progress: 2)
    job.result(LONG_S)
    job.cancel()
    assert (job.state, job.result()) == (State.DONE, 2)


def test_who_watches_sees_the_stages_and_the_end(lane: Lane) -> None:
    steps, gate = [Progress("read"), Progress("predict", 1, 2)], threading.Event()

    def work(progress: ProgressHook) -> None:
        progress(steps[0])
        assert gate.wait(LONG_S)
        progress(steps[1])

    job, seen = lane.submit("work", work), []
    for progress in watch(job, every_s=0.01):
        seen.append(progress)
        if progress is steps[0]:
            gate.set()
    assert steps[0] in seen
    assert job.state is State.DONE


def test_who_stops_watching_cancels(lane: Lane) -> None:
    gate = Gate()
    job = lane.submit("long", gate)
    watching = watch(job, every_s=0.01)
    next(watching)
    watching.close()
    assert wait(job, LONG_S)
    assert job.state is State.CANCELLED


def test_the_seconds_left_follow_from_those_that_passed(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 113.0])
    monkeypatch.setattr("uniseg_model.progress.time.monotonic", lambda: next(clock))
    seen: list[float | None] = []

    def work(progress: ProgressHook) -> None:
        for done in (0, 2):  # of 8 windows, 3 s each two
            progress(Progress("predict", done, 8))
            seen.append(job.left_s)

    job: Job[None] = Job(lane, (0, 1), "timed", "", work)
    job._run()
    assert job.error is None
    assert seen == [None, pytest.approx(9.0)]


def test_closing_cancels_all_and_takes_no_more() -> None:
    lane, gate = Lane("test"), Gate()
    running, waiting = lane.submit("running", gate), lane.submit("waiting", lambda progress: None)
    assert gate.begun.wait(LONG_S)
    lane.close(LONG_S)
    assert [job.state for job in (running, waiting)] == [State.CANCELLED, State.CANCELLED]
    with pytest.raises(RuntimeError, match="lane test is closed"):
        lane.submit("late", lambda progress: None)


def test_the_log_tells_how_jobs_ended(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "state" / "jobs.sqlite")
    lane = Lane("test", log)
    lane.submit("two", lambda progress: 2).result(LONG_S)
    bad = lane.submit("bad", lambda progress: 1 / 0)
    wait(bad, LONG_S)
    lane.close()
    assert [(record.title, record.state, record.message) for record in log.records()] == [
        ("bad", "failed", "division by zero"), ("two", "done", ""),
    ]  # fmt: skip
    assert log.lost() == []


def test_what_a_killed_process_left_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    code = f"from pathlib import Path; from uniseg_app.job_log import JobLog; JobLog(Path({str(path)!r})).note('1', 'liver', 'running')"
    subprocess.run([sys.executable, "-c", code], check=True)
    log = JobLog(path)
    log.note("2", "mine", "running")
    assert [record.title for record in log.lost()] == ["liver"]
    assert log.lost() == []
    assert {record.title: record.state for record in log.records()} == {"liver": "lost", "mine": "running"}


def test_a_log_that_cannot_be_used_never_stops_a_job(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database " * 100)
    lane = Lane("test", JobLog(tmp_path / "jobs.sqlite"))
    assert lane.submit("two", lambda progress: 2).result(LONG_S) == 2
    lane.close()
    assert JobLog(tmp_path / "jobs.sqlite").records() == []
