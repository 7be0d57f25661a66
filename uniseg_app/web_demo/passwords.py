"""Who may come in: a file with lines ``name:password-hash``, and a brake on guessing.

Decisions:

- scrypt from the standard library: 16 MB and some 0.2 s an attempt, in two threads at most, so that guessing neither fills the
  memory nor stops the page for others.
- An unknown name costs the same time as a wrong password.
- Only attempts wait, and each address for itself; nobody is locked out for good by somebody else's guesses.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniseg_model.errors import OptionError

_N, _R, _P = 1 << 14, 8, 5  # as OWASP advises for 16 MB
_MOST_MEMORY = 1 << 28
_LINE = re.compile(r"([^:\s][^:]*):scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w+/=]{16,88})\$([\w+/=]{24,88})", re.ASCII)
_MAKE = 'Make a line with: python -m uniseg_app.web_demo.passwords NAME, and put "NAME:scrypt$..." into the file.'

_FREE_ATTEMPTS = 3
_LONGEST_WAIT_S = 30.0
_FORGOTTEN_AFTER_S = 900.0
_MOST_ADDRESSES = 4096


@dataclass(frozen=True)
class _Hash:
    n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def fits(self, password: str) -> bool:
        key = _scrypt(password, self.salt, (self.n, self.r, self.p), len(self.key))
        return hmac.compare_digest(key, self.key)


class Users:
    """The names that may come in. ``sign_in`` is what ``gr.mount_gradio_app(auth=...)`` takes."""

    def __init__(self, hashes: Mapping[str, _Hash]) -> None:
        self._hashes = dict(hashes)
        some = next(iter(self._hashes.values()), _Hash(_N, _R, _P, b"", b"0" * 32))
        self._nobody = _Hash(some.n, some.r, some.p, secrets.token_bytes(16), secrets.token_bytes(32))
        self._threads = ThreadPoolExecutor(2, "passwords")

    def check(self, name: str, password: str) -> bool:
        """Whether name and password belong together; takes the same time for names that are not known."""
        found = self._hashes.get(name)
        return (found or self._nobody).fits(password) and found is not None

    async def sign_in(self, name: str, password: str) -> bool:
        """The same, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.check, name, password)


def password_line(name: str, password: str) -> str:
    """A line for the file of users.

    Raises:
        OptionError: no name or password, or a name with a colon, a line break or space around it.
    """
    if not password or not name or name != name.strip() or not name.isprintable() or ":" in name or name.startswith("#"):
        raise OptionError(
            f"a user needs a name without a colon and a password, not {name!r} and {len(password)} characters",
            hint="Choose another name or a password.",
        )
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, (_N, _R, _P), 32)
    return f"{name}:scrypt${_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def read_users(path: Path) -> Users:
    """The users in a file; empty lines and those that begin with # are passed over.

    Raises:
        OptionError: the file is missing, readable by others, empty, or has a line that is none or a name twice.
    """
    hashes: dict[str, _Hash] = {}
    for number, line in enumerate(_private_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, found = _parsed(line.strip(), f"line {number} of {path}")
        if name in hashes:
            raise OptionError(f"line {number} of {path} gives {name!r} again", hint="Keep one line for each user.")
        hashes[name] = found
    if not hashes:
        raise OptionError(f"{path} names no user", hint=_MAKE)
    return Users(hashes)


def _private_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if os.name == "posix" and mode & 0o077:
                raise OptionError(f"{path} may be read by others (mode {mode:o})", hint=f"Run: chmod 600 {path}")
            return file.read()
    except FileNotFoundError as exc:
        raise OptionError(f"there is no file of users {path}", hint=_MAKE) from exc
    except (OSError, ValueError) as exc:
        raise OptionError(f"the file of users {path} cannot be read: {exc}", hint=_MAKE) from exc


def _parsed(line: str, where: str) -> tuple[str, _Hash]:
    """Name and hash; a message never quotes the line, which may hold a password."""
    found = _LINE.fullmatch(line)
    try:
        if found is None:
            raise ValueError
        salt, key = (base64.b64decode(text, validate=True) for text in found.group(5, 6))
        n, r, p = map(int, found.group(2, 3, 4))
        if n < 1024 or n & (n - 1) or not r or not p or 128 * n * r * p > _MOST_MEMORY:
            raise ValueError
    except ValueError as exc:
        raise OptionError(f"{where} is not a name and a password's hash", hint=_MAKE) from exc
    return found[1], _Hash(n, r, p, salt, key)


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int], n_bytes: int) -> bytes:
    n, r, p = cost
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=n_bytes)


class LoginBrake:
    """Lets attempts to log in wait, each address for itself: three at once, then 1, 2, 4 ... 30 s; 429 for those that would wait longer.

    Addresses of one IPv6 network count as one. A right password makes good. Memory is bounded: the longest silent address goes.
    """

    def __init__(
        self,
        app: ASGIApp,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.app, self._clock, self._sleep = app, clock, sleep
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()  # attempts without success; when the last may begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, sooner or later."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].rstrip("/").endswith("/login"):
            return await self.app(scope, receive, send)
        who = _network(scope)
        wait_s = self._wait_s(who)
        if wait_s > _LONGEST_WAIT_S:
            why = {"detail": f"too many attempts to log in; try again in {wait_s:.0f} seconds"}
            return await JSONResponse(why, 429, {"Retry-After": f"{wait_s:.0f}"})(scope, receive, send)

        async def forgiving(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self._known.pop(who, None)
            await send(message)

        await self._sleep(wait_s)
        await self.app(scope, receive, forgiving)

    def _wait_s(self, who: str) -> float:
        """How long an attempt must wait; noted at once, so that many at the same time wait for each other."""
        now = self._clock()
        attempts, last = self._known.get(who, (0, now))
        if now - last > _FORGOTTEN_AFTER_S:
            attempts = 0
        beyond = attempts - _FREE_ATTEMPTS
        begins = max(now, last) + (min(2.0 ** min(beyond, 10), _LONGEST_WAIT_S) if beyond >= 0 else 0.0)
        if begins - now <= _LONGEST_WAIT_S:
            self._known[who] = (attempts + 1, begins)
        self._known.move_to_end(who)
        while len(self._known) > _MOST_ADDRESSES:
            self._known.popitem(last=False)
        return begins - now


def _network(scope: Scope) -> str:
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def main() -> None:
    """Ask for a password and write a line for the file of users: ``python -m uniseg_app.web_demo.passwords NAME``."""
    import getpass
    import sys

    name = sys.argv[1] if len(sys.argv) == 2 else ""
    sys.stdout.write(password_line(name, getpass.getpass()) + "\n")


if __name__ == "__main__":
    main()
