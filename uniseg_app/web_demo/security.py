"""Who may speak to the server, and how much: ASGI layers around the app.

Why they are needed on a server that listens on this machine only: any page in the same browser can send requests to
``localhost``. Another site's page could upload files and start work (refused by ``SameOrigin``), or give its own name the address
127.0.0.1 and then count as the same site (refused by ``TrustedHosts``, since the name is not one of ours).

A reverse proxy in front must hand the ``Host`` header on as the browser sent it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniseg_app.web_demo.body_limit import MOST_UPLOAD_BYTES, BodyLimit

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_EVERYWHERE = ("0.0.0.0", "::", "[::]")
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")
_CLOSED = {"type": "websocket.close", "code": 1008}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(:[0-9]{1,5})?", re.IGNORECASE)

# Gradio's page has inline scripts and styles and makes functions of strings (``js=``, ``js_on_load``). What a script could steal
# has nowhere to go: every request is bound to this server. NiiVue needs blob: for its pictures and WebGL textures.
CONTENT_POLICY = "; ".join([
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
])
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_DATA = "/gradio_api/"  # what lies below may be of a patient, so no browser keeps it on its disk


def secure(
    app: Starlette, host: str = "127.0.0.1", names: Collection[str] = (), most_upload_bytes: int = MOST_UPLOAD_BYTES
) -> None:
    """Put all layers around an app. Call it last: what is added first is innermost.

    host: the address that the server listens on. names: further names under which browsers know this machine.
    """
    app.add_middleware(BodyLimit, most_upload_bytes=most_upload_bytes)
    app.add_middleware(SameOrigin)
    app.add_middleware(TrustedHosts, hosts=trusted_hosts(host, names), any_address=host in _EVERYWHERE)
    app.add_middleware(SecurityHeaders)


def trusted_hosts(host: str, names: Collection[str] = ()) -> tuple[str, ...]:
    """The names under which a server that listens on ``host`` may be spoken to."""
    own = (socket.gethostname(), f"{socket.gethostname()}.local", socket.getfqdn()) if host in _EVERYWHERE else (host,)
    bracketed = (f"[{name}]" if ":" in name and not name.startswith("[") else name for name in (*own, *names))
    return tuple(dict.fromkeys(name.lower() for name in (*LOOPBACK, *bracketed) if name))


class TrustedHosts:
    """400 for requests that were meant for another name than ``hosts``.

    any_address: numbers are trusted, too; a name is what an attacker needs to let a browser mistake his site for ours.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK, any_address: bool = False) -> None:
        self.app, self._hosts, self._any_address = app, frozenset(hosts), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        host = Headers(scope=scope).get("host", "") if scope["type"] in ("http", "websocket") else None
        if host is None or self._trusts(host):
            await self.app(scope, receive, send)
        else:
            await _refuse(
                scope, receive, send, 400, f"this server is not {host!r}: open it under the address that it told at its start"
            )

    def _trusts(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        name = found[1].lower() if found else ""
        return name in self._hosts or (self._any_address and _is_address(name))


class SameOrigin:
    """403 for requests that change something and come from another site's page; no other site may read an answer.

    Programs that are no browsers send no ``Origin`` and are let through: whoever can run one needs no trick.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        is_own = _is_own(Headers(scope=scope))
        if not is_own and scope.get("method") not in _HARMLESS:
            return await _refuse(
                scope, receive, send, 403, "cross-origin request refused: only this server's own page may do this"
            )

        async def unshared(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_own:
                message["headers"] = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            await send(message)

        await self.app(scope, receive, unshared)


class SecurityHeaders:
    """Every answer carries ``HEADERS``; what may be of a patient is not kept by the browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on."""

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if _DATA in scope["path"]:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, headed if scope["type"] == "http" else send)


def _is_own(headers: Headers) -> bool:
    """Whether a request comes from our own page, from no page, or from no browser."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in _OWN_SITES:
        return False
    if origin is None or (origin == "null" and site == "same-origin"):  # null: a form's, under Referrer-Policy no-referrer
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:  # an address that is none
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send(_CLOSED)
    else:
        await PlainTextResponse(why, status)(scope, receive, send)
