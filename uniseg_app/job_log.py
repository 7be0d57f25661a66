"""Which jobs were begun and how they ended: a small SQLite file, so that a restart knows what was lost."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FINAL = ("done", "failed", "cancelled", "lost")
_TABLE = """
    CREATE TABLE IF NOT EXISTS jobs (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL,
        began_s REAL NOT NULL, changed_s REAL NOT NULL, process INTEGER NOT NULL
    )
"""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRecord:
    """What is known of a job. Times are seconds since 1970; process: the system's number of the one it ran in."""

    id: str
    title: str
    state: str
    message: str
    began_s: float
    changed_s: float
    process: int


class JobLog:
    """The file. It never stands in the way of the work: what cannot be written is told to the log and forgotten."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, id: str, title: str, state: str, message: str = "") -> None:
        """Write down where a job stands now."""
        now = time.time()
        values = (id, title, state, message, now, now, os.getpid())
        self._try(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "state = excluded.state, message = excluded.message, changed_s = excluded.changed_s",
            values,
        )

    def records(self, limit: int = 100) -> list[JobRecord]:
        """The last jobs, the newest first."""
        rows = self._try("SELECT * FROM jobs ORDER BY began_s DESC LIMIT ?", (limit,))
        return [JobRecord(*row) for row in rows]

    def lost(self) -> list[JobRecord]:
        """Jobs that ended with their process; they are marked so, and told once."""
        marks = ", ".join("?" * len(_FINAL))
        rows = self._try(f"SELECT * FROM jobs WHERE state NOT IN ({marks})", _FINAL)
        found = [record for row in rows if not _lives((record := JobRecord(*row)).process)]
        for record in found:
            self.note(record.id, record.title, "lost", "the program ended while it ran")
        return found

    def _try(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._opened() as database:
                return list(database.execute(statement, values))
        except (sqlite3.Error, OSError) as exc:
            _LOG.warning("the job log %s cannot be used: %s", self.path, exc)
            return []

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.execute(_TABLE)
            yield database


def _lives(process: int) -> bool:
    if os.name == "nt":  # there is no harmless signal
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
