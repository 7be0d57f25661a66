"""Trainings as processes of their own, for any front end: start, watch, pause, stop and keep, resume, compare.

A run is a folder. Its process outlives the page, the window and the server, and whoever opens the folder later finds all:
what was asked for, where it stands, its curve, its preview, its result. A run that died, by kill -9 or a reboot, shows as
interrupted and goes on from its last checkpoint. One run at a time uses the device; a second waits, and says for whom.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.commands import find_weights
from uniseg_app.run_files import (
    ALIVE,
    LOG,
    NOTE,
    PAUSE,
    REQUEST,
    STOP,
    WISH,
    read_facts,
    read_named,
    read_request,
    read_result,
    read_status,
    write_request,
)  # fmt: skip
from uniseg_app.settings import read_settings, settings_path
from uniseg_app.tuning import TuningRequest, take_into_use
from uniseg_model.errors import FileFormatError, OptionError, OutputError, TrainingError
from uniseg_model.files import WRITE_HINT, make_folder, try_lock, whole_file

if TYPE_CHECKING:
    from uniseg_model.training.preview import Preview

_ACTIVE = ("starting", "waiting", "running")
_STOPPABLE = (*_ACTIVE, "paused", "interrupted")
_GRACE_S = 60.0  # for a process to come up
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
# The launcher ends at once, so the training is nobody's child: it outlives us and leaves no zombie.
_LAUNCHER = (
    "import subprocess, sys, os; "
    "subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=open(sys.argv[1], 'a'), stderr=subprocess.STDOUT, "
    "start_new_session=True); os._exit(0)"
)


@dataclass(frozen=True)
class RunInfo:
    """One run as it stands.

    state: ``starting``, ``waiting`` (for another run), ``running``, ``paused``, ``stopped`` (ended early, its best kept), ``done``,
        ``failed``, or ``interrupted``: its process is gone and it had not ended.
    stage, done, total, left_s: of the progress. result: of a run that ended, see ``tuning.conclude``.
    """

    id: str
    title: str
    depth: str
    created_s: float
    state: str
    message: str = ""
    hint: str = ""
    pid: int | None = None
    stage: str = ""
    done: float = 0
    total: int = 0
    left_s: float | None = None
    note: str = ""
    result: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def is_active(self) -> bool:
        """Whether a process works for it."""
        return self.state in _ACTIVE

    @property
    def may_stop(self) -> bool:
        """Whether it can end early, its best kept."""
        return self.state in _STOPPABLE

    @property
    def may_resume(self) -> bool:
        """Whether there is something to go on with."""
        return self.state in ("paused", "interrupted", "failed")


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side. rows: step, and the validation Dice of each where it has one. differs: what was asked for differently."""

    rows: tuple[tuple[int, float | None, float | None], ...]
    differs: Mapping[str, tuple[Any, Any]]


class TrainingRuns:
    """All runs in a folder.

    root: where they lie; ``training`` beside the settings file when None.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or settings_path().parent / "training"

    def start(self, request: TuningRequest, title: str) -> str:
        """Start a run; its id. ``out`` of the request is set here.

        Raises:
            OutputError: its folder cannot be written; nothing of it is left then. TrainingError: its process cannot be started.
        """
        id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = self.root / id
        make_folder(folder, exist_ok=False)
        try:
            write_request(folder, replace(request, out=folder, resume=False), title, time.time())
        except OutputError:
            folder.rmdir()
            raise
        self._launch(folder)
        return id

    def resume(self, id: str) -> None:
        """Go on with a run that was paused, interrupted, or failed.

        Raises:
            OptionError: there is no such run, it is under way, or it has ended. TrainingError: its process cannot be started.
        """
        info = self.info(id)
        if not info.may_resume:
            raise OptionError(
                f"the run {info.title!r} is {info.state}, only one that is paused, interrupted or failed can go on"
            )
        self._launch(self.root / id)

    def pause(self, id: str) -> None:
        """Let a run end after its step, with all saved that is needed to go on.

        Raises:
            OptionError: there is no such run, or it is not under way.
        """
        self._wish(id, PAUSE, _ACTIVE)

    def stop(self, id: str) -> None:
        """End a run and keep the best it has found so far.

        Raises:
            OptionError: there is no such run, or it has ended.
        """
        info = self._wish(id, STOP, _STOPPABLE)
        if not info.is_active:
            self._launch(self.root / id, STOP)  # its result is still to be judged

    def _wish(self, id: str, wish: str, states: tuple[str, ...]) -> RunInfo:
        info = self.info(id)
        if info.state not in states:
            raise OptionError(f"the run {info.title!r} is {info.state} and cannot {wish}")
        with whole_file(self.root / id / WISH) as temporary:
            temporary.write_text(wish, encoding="utf-8")
        return info

    def _launch(self, folder: Path, wish: str = "") -> None:
        from uniseg_app.training_child import Reporter

        if not wish:
            (folder / WISH).unlink(missing_ok=True)
        (reporter := Reporter(folder)).say("starting")
        command = [
            sys.executable,
            "-c",
            _LAUNCHER,
            str(folder / LOG),
            sys.executable,
            "-m",
            "uniseg_app.training_child",
            str(folder),
        ]
        try:
            subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": _path()}, capture_output=True)
        except (OSError, subprocess.SubprocessError) as exc:
            told = (getattr(exc, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
            message = f"the process that trains cannot be started: {told[-1] if told else exc}"
            reporter.say("failed", message, hint := "Close other programs or make space, and resume the run.")
            raise TrainingError(message, hint=hint) from exc

    def history(self) -> list[RunInfo]:
        """All runs, the newest first; folders that are no runs are passed over, damaged runs are among the failed."""
        folders = [path.parent for path in self.root.glob(f"*/{REQUEST}")]
        return sorted((self.info(folder.name) for folder in folders), key=lambda info: (info.created_s, info.id), reverse=True)

    def info(self, id: str) -> RunInfo:
        """One run as it stands now.

        Raises:
            OptionError: there is no such run.
        """
        folder = self._folder(id)
        try:
            named = read_named(folder)
        except FileFormatError as exc:
            created_s = (folder / REQUEST).stat().st_mtime
            return RunInfo(id, id, "", created_s, "failed", exc.message, "Remove the run, and start a new one.")
        status = self._status(folder)
        note = (folder / NOTE).read_text(encoding="utf-8", errors="replace") if (folder / NOTE).exists() else ""
        known = {
            name: status[name] for name in ("message", "hint", "pid", "stage", "done", "total", "left_s") if name in status
        }
        return RunInfo(id, *named, status["state"], **known, note=note, result=read_result(folder, status["state"]))

    def _status(self, folder: Path) -> dict[str, Any]:
        """What the run says of itself, unless its process is gone."""
        try:
            status = read_status(folder)
        except FileFormatError:
            status = {"state": "starting", "changed_s": 0.0}
        is_coming = status["state"] == "starting" and time.time() - status["changed_s"] < _GRACE_S
        if status["state"] in _ACTIVE and not is_coming and not is_alive(folder):
            with suppress(FileFormatError):
                again = read_status(folder)  # it may have ended between the two looks
                if again["state"] not in _ACTIVE:
                    return again
            return {
                **status,
                "state": "interrupted",
                "message": "its process is gone",
                "hint": f"Resume it; {folder / LOG} may say why.",
            }
        return status

    def curve(self, id: str) -> list[dict[str, Any]]:
        """The lines of its curve: losses, validations."""
        from uniseg_model.training.run import read_curve

        return read_curve(self._folder(id) / "curve.jsonl")

    def preview(self, id: str) -> Preview | None:
        """The slice that shows how far it is; None before the first validation."""
        from uniseg_model.training.preview import read_preview

        return read_preview(self._folder(id) / "preview.npz")

    def price(self, id: str) -> dict[str, Any] | None:
        """What it was said to take; None before that is known."""
        path = self._folder(id) / "price.json"
        return read_facts(path) if path.exists() else None

    def note(self, id: str, text: str) -> None:
        """Keep a person's note with a run, in place of the one before."""
        with whole_file(self._folder(id) / NOTE) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def remove(self, id: str) -> None:
        """Delete a run with all it has learned; what was installed from it stays, as far as it was a pack.

        Raises:
            OptionError: there is no such run, it is under way, or the weights in use are its. OutputError: it cannot be deleted.
        """
        info = self.info(id)
        if info.is_active:
            raise OptionError(f"the run {info.title!r} is {info.state}", hint="Stop it first.")
        if (used := read_settings().weights) and used.resolve().is_relative_to(self._folder(id).resolve()):
            raise OptionError(f"the weights in use are those of the run {info.title!r}", hint="Take others into use first.")
        try:
            shutil.rmtree(self._folder(id))
        except OSError as exc:
            raise OutputError(f"{self.root / id} cannot be deleted: {exc}", hint=WRITE_HINT) from exc

    def install(self, id: str) -> Path:
        """Take the result of a run into use: a pack is installed, other weights become those in use. What is in use now.

        Raises:
            OptionError: it has no result, or is not better than what it started from. Otherwise as ``pack_store.install``.
        """
        info, request = self.info(id), read_request(self._folder(id))
        if info.result is None:
            raise OptionError(
                f"the run {info.title!r} is {info.state} and has no result", hint="Stop it to keep the best so far."
            )
        if not info.result["verdict"]["is_better"]:
            raise OptionError(str(info.result["verdict"]["sentence"]).rstrip("."))
        return take_into_use(Path(info.result["result"]), info.depth, find_weights(request.weights))

    def compare(self, first: str, second: str) -> Comparison:
        """Two runs side by side."""
        curves = [{line["step"]: line["mean_dice"] for line in self.curve(id) if "mean_dice" in line} for id in (first, second)]
        rows = [(step, curves[0].get(step), curves[1].get(step)) for step in sorted({*curves[0], *curves[1]})]
        asked = [read_facts(self._folder(id) / REQUEST)["request"] for id in (first, second)]
        differs = {
            name: (asked[0][name], asked[1].get(name))
            for name in asked[0]
            if name != "out" and asked[0][name] != asked[1].get(name)
        }
        return Comparison(tuple(rows), differs)

    def _folder(self, id: str) -> Path:
        folder = self.root / id
        if not _NAME.fullmatch(id) or not (folder / REQUEST).exists():
            raise OptionError(f"there is no run {id!r}")
        return folder


def is_alive(folder: Path) -> bool:
    """Whether a process works for the run in a folder."""
    try:
        with (folder / ALIVE).open("r+") as file:
            return not try_lock(file)
    except FileNotFoundError:
        return False


def _path() -> str:
    """Where the child finds this program, wherever it was found."""
    own = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH", "")])])
