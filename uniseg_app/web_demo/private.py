"""A folder that only this process uses and that does not outlive it.

A lock file beside the folder tells whether its process lives; the system opens the lock when a process ends, however it ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO

from uniseg_model.errors import OutputError
from uniseg_model.files import WRITE_HINT

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NAME = "uniseg-web-"


class PrivateFolder:
    """What browser users sent and what was made of it, until they leave; all of it until the process ends.

    uploads: where Gradio keeps what it is sent: the value for ``GRADIO_TEMP_DIR``.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path, self.uploads = path, path / "uploads"
        self._users: dict[str, tuple[Path, float]] = {}
        self._guard = threading.Lock()
        self._end = weakref.finalize(self, _remove, path, lock, os.getpid())

    def of(self, user: str) -> Path:
        """The folder of a browser user, made when first asked for. user: Gradio's ``session_hash``; it is in no name."""
        with self._guard:
            path = self._users[user][0] if user in self._users else self.path / secrets.token_hex(16)
            path.mkdir(mode=0o700, exist_ok=True)
            self._users[user] = (path, time.monotonic())
            return path

    def forget(self, user: str) -> None:
        """Remove what belongs to a user who left; nothing happens where there is nothing."""
        with self._guard:
            path, _ = self._users.pop(user, (None, 0.0))
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)

    def forget_idle(self, after_s: float) -> None:
        """Forget those who have not asked for their folder for so long: a browser that dies does not say that it leaves."""
        now = time.monotonic()
        with self._guard:
            idle = [user for user, (_, asked_s) in self._users.items() if now - asked_s > after_s]
        for user in idle:
            self.forget(user)

    def close(self) -> None:
        """Remove everything; also happens when the process ends."""
        self._end()


def private_folder(root: Path) -> PrivateFolder:
    """A new folder in ``root`` for this process (mode 0700), after those of dead processes were removed.

    Raises:
        OutputError: it cannot be made.
    """
    path = root / f"{_NAME}{secrets.token_hex(8)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _wipe(root)
        lock = _open_lock(path)
        if not _lock(lock):
            raise OSError("its lock cannot be had")
        path.mkdir(mode=0o700)
        (path / "uploads").mkdir(mode=0o700)
    except OSError as exc:
        raise OutputError(f"no private folder can be made in {root}: {exc}", hint=WRITE_HINT) from exc
    return PrivateFolder(path, lock)


def end_on_sigterm() -> None:
    """Let SIGTERM end the process as a normal end does, so that folders are removed; call it before the server starts.

    Without it uvicorn, when it has shut down, raises the signal again and the process dies on the spot.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _wipe(root: Path) -> None:
    """Remove folders of ours whose processes are dead."""
    for path in root.glob(f"{_NAME}*"):
        with suppress(OSError):  # another process may be doing the same
            if not path.is_symlink() and path.is_dir() and _is_mine(path):
                _remove_if_dead(path)


def _is_mine(path: Path) -> bool:
    return sys.platform == "win32" or path.stat().st_uid == os.geteuid()


def _remove_if_dead(path: Path) -> None:
    lock = _open_lock(path)
    if _lock(lock):
        _remove(path, lock, os.getpid())
    else:
        lock.close()


def _open_lock(path: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path.with_suffix(".lock"), flags, 0o600), "r+b")


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock could be had; it is kept as long as the file is open."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path, lock: IO[bytes], process: int) -> None:
    """Remove a folder and its lock; not in a child that a process left behind when it was copied."""
    if os.getpid() != process:
        return
    shutil.rmtree(path, ignore_errors=True)
    lock.close()
    path.with_suffix(".lock").unlink(missing_ok=True)
