"""Where a batch's answers lie, so that a case is there whole or not at all, whoever dies when.

OUT/CASE/                        what ``uniseg segment`` writes, and case.json: what was asked, how it went, the SHA-256 of each file
OUT/.uniseg-batch/failed/CASE.json   why a case has no answer
OUT/.uniseg-batch/RUN/CASE-X/    an answer that is being written; it becomes OUT/CASE by one rename
OUT/summary.csv, summary.json    see ``summary``

No locks, because network disks do not keep them all: of two processes that compute one case, the second finds the folder there
and drops its own. A folder that is replaced is looked at first: what a person has changed or added is not lost.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uniseg_app.batch.request import Work
from uniseg_app.outputs import check_folder
from uniseg_model.errors import OutputError
from uniseg_model.files import WRITE_HINT, file_sha256, is_sealed, make_folder, write_json, write_sealed_json

CASE_FILE, HIDDEN = "case.json", ".uniseg-batch"
DONE, FAILED, WAITING = "done", "failed", "waiting"


@dataclass(frozen=True)
class CaseReport:
    """How a case stands.

    state: ``done``, ``failed``, or ``waiting`` for another run. seconds: of the computing, model apart; None where nothing was computed.
    attempts: how often it was begun. volumes_ml: by task and structure. error, hint: as those of an error.
    """

    case: str
    state: str
    seconds: float | None = None
    attempts: int = 0
    volumes_ml: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BatchFolder:
    """The answers of a batch. run: the name of this run's own hidden folder. Any number of processes may use it at once."""

    out: Path
    run: str

    @classmethod
    def opened(cls, out: Path) -> BatchFolder:
        """The folder for a new run. What runs that were killed on this machine had begun to write is deleted.

        Raises:
            OutputError: nothing can be written there.
        """
        check_folder(out)
        for left in (out / HIDDEN).glob(f"{socket.gethostname()}-*-*"):
            if not _is_running(left.name.split("-")[-2]):
                shutil.rmtree(left, ignore_errors=True)
        folder = cls(out.absolute(), f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
        make_folder(folder.out / HIDDEN / folder.run)
        return folder

    def close(self) -> None:
        """Delete what this run has begun and not ended."""
        shutil.rmtree(self.out / HIDDEN / self.run, ignore_errors=True)
        for empty in (self.out / HIDDEN / "failed", self.out / HIDDEN):
            with suppress(OSError):
                empty.rmdir()

    def part(self, work: Work) -> Path:
        """A new hidden folder to write a case's answer into."""
        return self.out / HIDDEN / self.run / f"{work.case}-{secrets.token_hex(4)}"

    def find(self, work: Work) -> CaseReport | None:
        """The answer to exactly this question, if it is there whole and untouched."""
        facts = self._facts(work)
        if facts is None or facts["asked"] != work.facts or self._touched(work, facts):
            return None
        return CaseReport(**facts["report"])

    def differs(self, work: Work) -> list[str]:
        """What was asked for otherwise when the answer that is there was made; empty where there is none, or the same was asked."""
        facts = self._facts(work)
        return [] if facts is None else [name for name in work.facts if facts["asked"].get(name) != work.facts[name]]

    def check(self, work: Work, *, overwrite: bool) -> None:
        """Refuse to replace what a person has changed or added. With ``overwrite`` only files that we have not written are safe.

        Raises:
            OutputError: naming one such file.
        """
        folder, facts = self.out / work.case, self._facts(work)
        known = {CASE_FILE, *(facts["files"] if facts else ())}
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file", hint="Move it away or choose another output.")
        if strange := sorted({path.name for path in folder.glob("*")} - known):
            raise OutputError(
                f"{folder / strange[0]} was not written by this batch", hint="Move it away or choose another output."
            )
        changed = [name for name in self._touched(work, facts) if (folder / name).exists()] if facts else []
        if changed and not overwrite:
            raise OutputError(
                f"{folder / changed[0]} was edited since this program wrote it",
                hint="Move the folder away, choose another output, or add --overwrite.",
            )

    def commit(self, work: Work, part: Path, report: CaseReport, *, overwrite: bool) -> CaseReport:
        """Make an answer that is written the case's; how it went. Where somebody was faster, theirs stays.

        Raises:
            OutputError: it cannot be written, or would replace a person's work.
        """
        files = {path.name: file_sha256(path) for path in sorted(part.iterdir())}
        write_sealed_json(part / CASE_FILE, {"asked": dict(work.facts), "files": files, "report": report.to_dict()})
        if (there := self.find(work)) is not None:
            return there
        self.check(work, overwrite=overwrite)
        target, old = self.out / work.case, part.with_name(f"{part.name}-old")
        try:
            if target.exists():
                os.rename(target, old)
            os.rename(part, target)
        except OSError as exc:
            if (there := self.find(work)) is not None:
                return there
            raise OutputError(f"{target} cannot be written: {exc}", hint=WRITE_HINT) from exc
        shutil.rmtree(old, ignore_errors=True)
        self._failure(work.case).unlink(missing_ok=True)
        return report

    def fail(self, report: CaseReport) -> CaseReport:
        """Keep why a case has no answer, for the summary of this run and of others.

        Raises:
            OutputError: it cannot be written.
        """
        path = self._failure(report.case)
        make_folder(path.parent)
        write_json(path, report.to_dict())
        return report

    def report(self, work: Work) -> CaseReport:
        """How a case stands, whoever has computed it."""
        if (there := self.find(work)) is not None:
            return there
        try:
            return CaseReport(**json.loads(self._failure(work.case).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return CaseReport(work.case, WAITING)

    def _failure(self, case: str) -> Path:
        return self.out / HIDDEN / "failed" / f"{case}.json"

    def _facts(self, work: Work) -> dict[str, Any] | None:
        path = self.out / work.case / CASE_FILE
        return dict(json.loads(path.read_text(encoding="utf-8"))) if is_sealed(path) else None

    def _touched(self, work: Work, facts: Mapping[str, Any]) -> list[str]:
        folder = self.out / work.case
        return [name for name, sha256 in facts["files"].items() if not _is(folder / name, sha256)]


def _is(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except OSError:
        return False


def _is_running(pid: str) -> bool:
    if not pid.isdigit() or os.name != "posix":  # elsewhere the question itself would end the process
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
