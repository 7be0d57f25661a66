"""How long work tells how far it is, and how it is told to stop.

Core functions take a ``ProgressHook`` and call it between two units of work. A hook that wants the work to stop
raises ``Cancelled``: the work unwinds at once. While windows are computed a cancel waits for one decoding at most; reading,
preparing and restoring an image call the hook only when they begin.
Hooks rather than generators, because torch's modes are thread-local and leak across a ``yield``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Preview = Callable[[], "Mapping[str, np.ndarray]"]


@dataclass(frozen=True)
class Progress:
    """Where the work stands: ``done`` of ``total`` units of ``stage``, parts of a unit included (``total`` 0: not known).

    preview: the labels so far by task key, (Z, Y, X) uint8 on the image's own grid; 0 where nothing is known yet. It is
        worked out when called, and may be called by the hook only, before that returns.
    """

    stage: str
    done: float = 0
    total: int = 0
    preview: Preview | None = field(default=None, repr=False, compare=False)


ProgressHook = Callable[[Progress], None]


class Pace:
    """How long the stage that is going on will still take, from how long it has taken so far."""

    def __init__(self) -> None:
        self._stage, self._began_s = "", 0.0

    def left_s(self, progress: Progress) -> float | None:
        """Seconds to the end of the stage; None where nothing can be said yet."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began_s = progress.stage, now
        share = progress.done / progress.total if progress.total else 0.0
        return (now - self._began_s) * (1 - share) / share if share > 0 else None


class Cancelled(Exception):
    """Raised by a hook to stop the work. Not an error: nothing is wrong and nothing was written."""


def ignore_progress(progress: Progress) -> None:
    """The hook of a caller who does not want to know."""
