"""The process that trains: started by ``training_runs``, alone from then on.

It speaks through files in its run folder only: ``status.json``, replaced whole, says where it stands; ``wish`` is read between
two steps and says what somebody wants of it. Locks tell that it lives, and are gone with it, whatever ends it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from uniseg_app.run_files import ALIVE, DEVICE, RESULT, STATUS, STOP, WISH, read_holder, read_request
from uniseg_app.tuning import conclude, prepare_tuning, tune
from uniseg_model.errors import UniSegError
from uniseg_model.files import try_lock, write_json
from uniseg_model.progress import Cancelled, Pace, Progress

_LOG = logging.getLogger(__name__)
_EVERY_S, _POLL_S, _PATIENCE_S = 1.0, 0.3, 5.0


@dataclass
class Reporter:
    """Writes the status and hears wishes. What cannot be written is told to the log: a full disk must not hide what happened."""

    folder: Path
    began_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self._pace, self._last_s = Pace(), 0.0

    def say(self, state: str, message: str = "", hint: str = "", **more: Any) -> None:
        """A new state, or more about it."""
        facts = {
            "state": state,
            "message": message,
            "hint": hint,
            "pid": os.getpid(),
            "began_s": self.began_s,
            "changed_s": time.time(),
        }
        try:
            write_json(self.folder / STATUS, {**facts, **more})
        except UniSegError as exc:
            _LOG.warning("%s", exc)

    def hook(self, now: Progress) -> None:
        """The progress hook of the training.

        Raises:
            Cancelled: somebody wants it to pause or stop.
        """
        if self.wish():
            raise Cancelled
        left_s = self._pace.left_s(now)
        if time.monotonic() - self._last_s >= _EVERY_S:
            self._last_s = time.monotonic()
            self.say("running", stage=now.stage, done=now.done, total=now.total, left_s=left_s)

    def wish(self) -> str:
        """What somebody wants; empty when nothing."""
        try:
            return (self.folder / WISH).read_text(encoding="utf-8").strip()
        except OSError:
            return ""


def main(folder: Path) -> int:
    """Train what the folder's request says; the exit status."""
    reporter = Reporter(folder)
    with (folder / ALIVE).open("w") as alive:
        if not _patiently_locked(alive):
            return 1  # another process does it already
        try:
            _work(folder, reporter)
        except Cancelled:
            reporter.say("paused")
        except KeyboardInterrupt:
            reporter.say("paused", "the system told it to end")
        except UniSegError as exc:
            reporter.say("failed", exc.message, exc.hint)
            _LOG.error("%s", exc)
            return 1
        except Exception as exc:
            reporter.say(
                "failed", f"{type(exc).__name__}: {exc}", "The run's log.txt says more; what was saved is still there."
            )
            _LOG.exception("the training failed")
            return 1
    return 0


def _work(folder: Path, reporter: Reporter) -> None:
    """Train to the end or until somebody stops it, also while it waits for its turn.

    Raises:
        Cancelled: somebody wants it to pause.
    """
    try:
        with _device(folder, reporter):
            _train(folder, reporter)
    except Cancelled:
        if reporter.wish() != STOP:
            raise
        _stop(folder, reporter)


def _train(folder: Path, reporter: Reporter) -> None:
    request = replace(read_request(folder), resume=(folder / "plan.json").exists())
    reporter.hook(Progress("load weights"))
    training, price = prepare_tuning(request)
    write_json(folder / "price.json", price.to_dict())
    _finish(folder, reporter, "done", tune(request, training, reporter.hook))


def _stop(folder: Path, reporter: Reporter) -> None:
    """Keep the best so far."""
    from uniseg_model.training.run import RunFolder

    run = RunFolder(folder)
    if run.best.exists():
        _finish(folder, reporter, "stopped", conclude(read_request(folder), run))
    else:
        reporter.say("stopped", "it was stopped before anything was learned")


def _finish(folder: Path, reporter: Reporter, state: str, found: dict[str, Any]) -> None:
    write_json(folder / RESULT, found)
    reporter.say(state, found["verdict"]["sentence"])


@contextmanager
def _device(folder: Path, reporter: Reporter) -> Iterator[None]:
    """One training at a time: whoever comes second waits, and says for whom.

    Raises:
        Cancelled: somebody did not want to wait any longer.
    """
    path = folder.parent / DEVICE
    with path.open("a+", encoding="utf-8") as lock:
        while not try_lock(lock):
            if reporter.wish():
                raise Cancelled
            pid, name = read_holder(path)
            reporter.say("waiting", f"it waits for {name} (process {pid})")
            time.sleep(_POLL_S)
        lock.truncate(0)
        lock.write(f"{os.getpid()} {folder.name}")
        lock.flush()
        yield


def _patiently_locked(file: IO[str]) -> bool:
    """Whether the lock is ours; whoever only looks whether we live holds it for a moment."""
    until_s = time.monotonic() + _PATIENCE_S
    while not try_lock(file):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))
