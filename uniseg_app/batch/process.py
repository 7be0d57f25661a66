"""The owner of a process that holds the model: starts it, asks it, notices its death, and takes it along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from uniseg_app.batch.request import Setup
from uniseg_model import errors
from uniseg_model.errors import UniSegError
from uniseg_model.progress import Cancelled

CHILD = (sys.executable, "-m", "uniseg_app.batch.child")
_LOAD_S = 1800.0  # the model from a slow disk
_LAST_BREATH_S = 10.0  # between the end of a process's answers and its own
_FAULT = "Fatal Python error"
_ROOT = Path(__file__).resolve().parents[2]


class CaseCrashError(UniSegError):
    """The process died of a case, or took too long over it."""


class SetupError(UniSegError):
    """The model cannot be loaded here, whatever the case."""


class ModelProcess:
    """A process with the model, started with the first case and again after each death. One thread at a time computes; others wait.

    command: what to start, an argument list.
    """

    def __init__(self, setup: Setup, command: Sequence[str] = CHILD) -> None:
        self._setup, self._command = setup, tuple(command)
        self._process: subprocess.Popen[str] | None = None
        self._answers: Queue[str | None] = Queue()
        self._log: IO[bytes] | None = None
        self._busy, self._changing, self._is_open = threading.Lock(), threading.Lock(), True

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def compute(self, work: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """What the process answers to a case. The time limit does not count the loading of the model.

        Raises:
            SetupError: the model cannot be loaded. CaseCrashError: the process died, or the time is over.
            UniSegError: of the kind that fits what is wrong with the case. Cancelled: it was closed meanwhile.
        """
        with self._busy:
            if self._process is None:
                self._start()
            return self._asked(json.dumps(work), timeout_s)

    def close(self) -> None:
        """End the process at once, whatever it does."""
        self._is_open = False
        self._end()

    def _start(self) -> None:
        with self._changing:
            if not self._is_open:
                raise Cancelled
            path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            self._log = tempfile.TemporaryFile()
            self._process = process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8",
                env={**os.environ, "PYTHONPATH": path}, start_new_session=True,  # Ctrl-C is for us alone
            )  # fmt: skip
        answers = self._answers = Queue[str | None]()
        threading.Thread(target=_listen, args=(process, answers), daemon=True).start()
        try:
            self._asked(self._setup.to_json(), _LOAD_S)
        except Cancelled:
            raise
        except UniSegError as exc:
            self._end()
            raise SetupError(f"the model cannot be loaded: {exc.message}", hint=exc.hint) from exc

    def _asked(self, line: str, timeout_s: float | None) -> dict[str, Any]:
        process, answer = self._process, None
        if process is None or process.stdin is None:
            raise Cancelled
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            self._end()
            raise CaseCrashError(
                f"it was not finished after {timeout_s:g} s", hint="Give more time with --timeout-s."
            ) from None
        except OSError:  # it is dead already
            pass
        if answer is None:
            raise self._death()
        facts = json.loads(answer)
        if "kind" in facts:
            raise getattr(errors, facts["kind"], UniSegError)(facts["error"], hint=facts["hint"])
        return dict(facts)

    def _death(self) -> BaseException:
        """Why nothing comes any more."""
        process = self._process
        if process is None or not self._is_open:
            return Cancelled()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_BREATH_S)  # or our own signal would be told as the cause
        last = _last_line(self._log)
        self._end()
        code = process.returncode
        if code < 0:
            name = signal.Signals(-code).name if -code in {one.value for one in signal.Signals} else str(-code)
            ended = f"was ended by the signal {name}"
        else:
            ended = f"ended with the code {code}"
        ran_out = " The system sends it when memory runs out." if code == -9 else ""
        said = f" and said last: {last}" if last else ""
        return CaseCrashError(
            f"its process {ended}{said}", hint=f"See whether `uniseg segment` can do the case alone.{ran_out}"
        )

    def _end(self) -> None:
        with self._changing:
            process, self._process = self._process, None
            log, self._log = self._log, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError, AttributeError):  # what was still to be written has no reader
                    pipe.close()  # type: ignore[union-attr]
        if log is not None:
            log.close()


def _listen(process: subprocess.Popen[str], answers: Queue[str | None]) -> None:
    try:
        for line in process.stdout or ():
            answers.put(line)
    except (OSError, ValueError):  # it is closed while we read
        pass
    answers.put(None)


def _last_line(log: IO[bytes] | None) -> str:
    try:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))  # type: ignore[union-attr]
        lines = log.read().decode("utf-8", errors="replace").strip().splitlines()  # type: ignore[union-attr]
    except (AttributeError, ValueError):  # there is none, or it is closed
        return ""
    fault = next((line for line in lines if line.startswith(_FAULT)), "")  # below it stand stacks and modules
    return (fault or lines[-1].strip() if lines else "")[:200]
