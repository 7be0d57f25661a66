"""Ctrl-C and a scheduler's signal, heard between two steps and not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """A function to call where it is safe to stop; it raises what a signal since then wanted.

    A second signal stops at once. Outside of the main thread nothing is deferred, because signals go elsewhere. A signal
    that the process was told to ignore stays ignored.

    Raises:
        KeyboardInterrupt: from that function, after Ctrl-C or a termination.
    """
    wanted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if wanted:
            raise KeyboardInterrupt
        wanted.append(number)

    def check() -> None:
        if wanted:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, note)
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
