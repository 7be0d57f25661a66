"""Work that goes on beside a window or a page: jobs that wait in one lane, tell how far they are, and can be cancelled.

A lane has one thread, so a device does one thing at a time. Of the jobs that wait, each owner's first comes before anybody's
second: whoever asks for much does not keep the others waiting.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Any, Generic, TypeVar

from uniseg_app.job_log import JobLog
from uniseg_model.progress import Cancelled, Pace, Progress, ProgressHook

T = TypeVar("T")
_LOOK_EVERY_S = 0.05


class State(StrEnum):
    """Where a job stands. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Generic[T]):
    """One piece of work in a lane. Made by :meth:`Lane.submit`.

    title: for people, with nothing of a patient in it. owner: who asked for it.
    """

    def __init__(self, lane: Lane, turn: tuple[int, int], title: str, owner: str, work: Callable[[ProgressHook], T]) -> None:
        self.id, self.title, self.owner = uuid.uuid4().hex, title, owner
        self.turn = turn
        self.state = State.QUEUED
        self.progress = Progress("wait")
        self.left_s: float | None = None
        self._lane, self._work, self._pace = lane, work, Pace()
        self._cancelled, self._finished = threading.Event(), threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """Stop it: at once while it waits, at the next step of its work otherwise. Nothing happens to a finished job."""
        self._cancelled.set()
        self._lane._forget(self)

    def done(self) -> bool:
        """Whether its state is final."""
        return self._finished.is_set()

    def ahead(self) -> int:
        """How many jobs run or wait before this one."""
        return self._lane._ahead_of(self)

    def result(self, timeout_s: float | None = None) -> T:
        """What the work gave; kept as long as the job is.

        Raises:
            Cancelled: it was. TimeoutError: not finished yet. Otherwise what the work raised.
        """
        if not self._finished.wait(timeout_s):
            raise TimeoutError(f"{self.title} is not finished after {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    @property
    def error(self) -> BaseException | None:
        """What the work raised, or Cancelled."""
        return self._error

    def _run(self) -> None:
        try:
            self._hook(Progress("start"))
            self._finish(State.DONE, result=self._work(self._hook))
        except Cancelled as exc:
            self._finish(State.CANCELLED, error=exc)
        except BaseException as exc:  # whatever it was, who waits must hear of it
            self._finish(State.FAILED, error=exc)

    def _hook(self, progress: Progress) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self.left_s = self._pace.left_s(progress)
        self.progress = progress

    def _finish(self, state: State, *, result: T | None = None, error: BaseException | None = None) -> None:
        self._result, self._error, self.state = result, error, state
        self._finished.set()


class Lane:
    """One thread that does one job after the other.

    log: where it is written down which jobs were begun and how they ended.
    """

    def __init__(self, name: str, log: JobLog | None = None) -> None:
        self.name, self._log = name, log
        self._waiting: list[Job[Any]] = []
        self._running: Job[Any] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._round, self._rounds = 0, dict[str, int]()  # that of the last job that began; each owner's last
        self._submitted, self._is_open = 0, True

    def submit(self, title: str, work: Callable[[ProgressHook], T], owner: str = "") -> Job[T]:
        """Queue work, which is called with a progress hook in the lane's thread."""
        with self._changed:
            if not self._is_open:
                raise RuntimeError(f"lane {self.name} is closed")
            job = Job(self, self._turn_of(owner), title, owner, work)
            self._waiting.append(job)
            self._thread = self._thread or self._started()
            self._changed.notify_all()
        return job

    def jobs(self) -> list[Job[Any]]:
        """The job that runs, and those that wait, in the order of their turns."""
        with self._changed:
            running = [self._running] if self._running and not self._running.done() else []
            return [*running, *self._in_turn()]

    def close(self, timeout_s: float = 10.0) -> None:
        """Cancel everything and wait until the thread has ended."""
        with self._changed:
            self._is_open = False
            jobs = [*self._waiting, *([self._running] if self._running else [])]
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        if self._thread:
            self._thread.join(timeout_s)

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._work_on, name=f"lane {self.name}", daemon=True)
        thread.start()
        return thread

    def _work_on(self) -> None:
        while (job := self._next()) is not None:
            self._note(job)
            job._run()
            self._note(job)
            with self._changed:
                self._running = None

    def _next(self) -> Job[Any] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._is_open)
            if not self._waiting:
                return None
            job = self._running = self._in_turn()[0]
            self._waiting.remove(job)
            self._round, job.state = job.turn[0], State.RUNNING
            return job

    def _in_turn(self) -> list[Job[Any]]:
        return sorted(self._waiting, key=lambda job: job.turn)

    def _turn_of(self, owner: str) -> tuple[int, int]:
        """The round after the owner's last one, but no round that is over; and within a round who came first."""
        self._rounds = {name: last for name, last in self._rounds.items() if last >= self._round}
        self._rounds[owner] = max(self._round, self._rounds.get(owner, self._round - 1) + 1)
        self._submitted += 1
        return self._rounds[owner], self._submitted

    def _ahead_of(self, job: Job[Any]) -> int:
        jobs = self.jobs()
        return jobs.index(job) if job in jobs else 0

    def _forget(self, job: Job[Any]) -> None:
        with self._changed:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        job._finish(State.CANCELLED, error=Cancelled())

    def _note(self, job: Job[Any]) -> None:
        if self._log:
            self._log.note(job.id, job.title, job.state, str(job.error or ""))


def watch(job: Job[Any], every_s: float = 0.2) -> Iterator[Progress]:
    """The progress of a job until it is finished, whenever it changes. Who stops watching cancels."""
    seen: Progress | None = None
    try:
        while not job.done():
            if job.progress is not seen:
                seen = job.progress
                yield seen
            wait(job, every_s)
    finally:
        job.cancel()


def wait(job: Job[Any], timeout_s: float) -> bool:
    """Whether a job is finished, after waiting so long at most; never raises."""
    with suppress(BaseException):
        job.result(timeout_s)
    return job.done()
