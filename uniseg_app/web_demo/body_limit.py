"""How much one request may send: an ASGI layer that counts.

An upload that is too large or breaks off ends like a malformed form, so that Gradio removes what it has written of it.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniseg_app.web_demo.words import size_text

MOST_UPLOAD_BYTES = 2 << 30
MOST_OTHER_BYTES = 8 << 20  # calls hold names and numbers only


class BodyLimit:
    """413 for bodies above a limit: one for uploads, a small one for everything else; counted, whatever the header says."""

    def __init__(
        self, app: ASGIApp, most_upload_bytes: int = MOST_UPLOAD_BYTES, most_other_bytes: int = MOST_OTHER_BYTES
    ) -> None:
        self.app, self._most_upload, self._most_other = app, most_upload_bytes, most_other_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        body = _Body(receive, self._most_upload if is_upload else self._most_other, breaks=is_upload)
        body.is_too_large = _declared(scope) > body.most
        if not body.is_too_large:
            await self._counted(scope, body, send)
        if body.is_too_large and not body.is_answered:
            await body.drain()
            text = f"what was sent is larger than {size_text(body.most)}, which is the most that this server takes; send one scan at a time"
            await PlainTextResponse(text, 413, {"Connection": "close"})(scope, receive, send)

    async def _counted(self, scope: Scope, body: _Body, send: Send) -> None:
        async def while_small(message: Message) -> None:
            if not body.is_too_large:
                body.is_answered = True
                await send(message)

        try:
            await self.app(scope, body.receive, while_small)
        except Exception:  # the app may have wrapped what stopped it
            if not body.is_too_large:
                raise


class _Stop(MultiPartException):
    """What a form parser takes for a malformed form."""


class _Body:
    """A request's body that counts itself. breaks: an early end is an error at once."""

    def __init__(self, receive: Receive, most: int, breaks: bool) -> None:
        self._receive, self.most, self._breaks = receive, most, breaks
        self.is_too_large = self.is_answered = self._is_whole = False
        self._seen = 0

    async def receive(self) -> Message:
        """The next part; raises when the parts are too many bytes."""
        message = await self._receive()
        self._note(message)
        if self.is_too_large:
            raise _Stop("the request is too large")
        if message["type"] == "http.disconnect" and self._breaks and not self._is_whole:
            raise _Stop("the upload broke off")
        return message

    async def drain(self) -> None:
        """Let a browser finish sending, or it would show a broken connection instead of the answer; but not for ever."""
        while not self._is_whole and self._seen <= 2 * self.most:
            self._note(message := await self._receive())
            if message["type"] == "http.disconnect":
                return

    def _note(self, message: Message) -> None:
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            self.is_too_large = self.is_too_large or self._seen > self.most


def _declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
