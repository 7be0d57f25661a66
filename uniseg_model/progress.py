"""How long work tells how far it is, and how it is told to stop.

Core functions take a ``ProgressHook`` and call it between two units of work. A hook that wants the work to stop
raises ``Cancelled``: the work unwinds at once. While windows are computed a cancel waits for one decoding at most; reading,
preparing and restoring an image call the hook only when they begin.
Hooks rather than generators, because torch's modes are thread-local and leak across a ``yield``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where the work stands: ``done`` of ``total`` units of ``stage``, parts of a unit included (``total`` 0: not known)."""

    stage: str
    done: float = 0
    total: int = 0


ProgressHook = Callable[[Progress], None]


class Cancelled(Exception):
    """Raised by a hook to stop the work. Not an error: nothing is wrong and nothing was written."""


def ignore_progress(progress: Progress) -> None:
    """The hook of a caller who does not want to know."""
