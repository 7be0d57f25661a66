"""The files by which a training and those who watch it speak to each other. Knows no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from uniseg_app.tuning import TuningRequest
from uniseg_model.errors import FileFormatError
from uniseg_model.files import write_json

REQUEST, STATUS, RESULT, WISH, NOTE, LOG = "request.json", "status.json", "result.json", "wish", "note.txt", "log.txt"
ALIVE, DEVICE = ".alive", ".device"  # locks: of a run, and of all runs in a folder
PAUSE, STOP = "pause", "stop"  # wishes
_PATHS = ("data", "out", "task_file", "weights", "replay", "pack", "cache")


def write_request(folder: Path, request: TuningRequest, title: str, created_s: float) -> None:
    """Store what a run is to do.

    Raises:
        OutputError: it cannot be written.
    """
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(request).items()}
    write_json(
        folder / REQUEST, {"title": title, "created_s": created_s, "request": {**plain, "changes": dict(request.changes)}}
    )


def read_request(folder: Path) -> TuningRequest:
    """What a run is to do.

    Raises:
        FileFormatError: it is damaged.
    """
    facts = read_facts(folder / REQUEST)
    try:
        given = facts["request"]
        paths = {name: Path(given[name]) for name in _PATHS if given[name] is not None}
        return TuningRequest(**{**given, **paths})
    except (KeyError, TypeError) as exc:
        raise FileFormatError(f"{folder / REQUEST} is damaged: {exc!r}", hint="Start a new run.") from exc


def read_named(folder: Path) -> tuple[str, str, float]:
    """Title and depth of a run, and when it was asked for.

    Raises:
        FileFormatError: that is damaged.
    """
    asked = read_facts(folder / REQUEST)
    try:
        return str(asked["title"]), str(asked["request"]["depth"]), float(asked["created_s"])
    except (KeyError, TypeError, ValueError) as exc:
        raise FileFormatError(f"{folder / REQUEST} is missing or damaged: {exc!r}") from exc


def read_status(folder: Path) -> dict[str, Any]:
    """What a run says of itself.

    Raises:
        FileFormatError: nothing, or nothing whole.
    """
    status = read_facts(folder / STATUS)
    if not (isinstance(status.get("state"), str) and isinstance(status.get("changed_s"), float)):
        raise FileFormatError(f"{folder / STATUS} is damaged")
    return status


def read_result(folder: Path, state: str) -> dict[str, Any] | None:
    """What came of a run that ended; None of another, and where it is damaged."""
    try:
        return read_facts(folder / RESULT) if state in ("done", "stopped") else None
    except FileFormatError:
        return None


def read_facts(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileFormatError: missing or damaged.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return dict(facts)
    except (OSError, ValueError, TypeError) as exc:
        raise FileFormatError(f"{path} is missing or damaged: {exc}") from exc


def read_holder(path: Path) -> tuple[str, str]:
    """Process and name of the run that holds the device, as far as is known."""
    try:
        pid, _, name = path.read_text(encoding="utf-8").partition(" ")
        return pid or "?", name or "another run"
    except OSError:
        return "?", "another run"
