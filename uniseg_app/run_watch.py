"""Watching trainings: which run to look at, what it learns, and what may be done with it. Knows no torch."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from uniseg_app import pack_store
from uniseg_app.run_files import read_request
from uniseg_app.training_runs import RunInfo, TrainingRuns
from uniseg_app.tuning import find_task
from uniseg_model.errors import UniSegError
from uniseg_model.tasks import Task

PAUSE, STOP, RESUME, INSTALL, RETIRE, REMOVE = "pause", "stop", "resume", "install", "retire", "remove"


def watched(infos: Sequence[RunInfo], id: str = "") -> RunInfo | None:
    """The run of that id, else one that is under way, else the newest. infos: the newest first."""
    chosen = next((info for info in infos if info.id == id), None)
    return chosen or next((info for info in reversed(infos) if info.is_active), None) or next(iter(infos), None)


def actions(info: RunInfo) -> frozenset[str]:
    """What may be done with a run as it stands."""
    is_installed = bool(installed_key(info))
    may = {
        PAUSE: info.is_active, STOP: info.may_stop, RESUME: info.may_resume,
        INSTALL: bool(info.result and info.result["verdict"]["is_better"]) and not is_installed, RETIRE: is_installed,
        REMOVE: not info.is_active,
    }  # fmt: skip
    return frozenset(action for action, is_of_use in may.items() if is_of_use)


def task_of_run(runs: TrainingRuns, id: str) -> Task | None:
    """What a run learns; None where its files are gone."""
    try:
        request = read_request(runs.root / id)
        return find_task(request.data, request.task_file, request.task)
    except UniSegError:
        return None


def installed_key(info: RunInfo) -> str:
    """Key of a run's task, where it is this run's pack that is installed; else empty."""
    if info.result is None or info.depth != "pack":
        return ""
    made, key = Path(info.result["result"]), str(info.result["verdict"]["task"])
    with suppress(UniSegError, OSError):
        packs = [pack.path for pack in pack_store.installed_packs() if pack.facts.task.key == key]
        return key if any(filecmp.cmp(made, path) for path in packs) else ""
    return ""
