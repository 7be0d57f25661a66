"""Until the page is made, which takes some ten seconds, whoever comes early is told so and sees it once it is there."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from uniseg_model import DISCLAIMER

_LOOK_EVERY_S = 0.1
_REQUEST_S = 1.0  # for a request to come; no longer, because they are answered one by one
_MOST_BYTES = 65536

_PAGE = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>UniSeg is starting</title>
<style>
  :root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
  main {{ max-width: 34rem; margin: 20vh auto 0; padding: 0 1.5rem }}
  h1 {{ font-size: 1.5rem; font-weight: 600; margin: 0 0 .5rem }}
  p {{ margin: 0 0 1rem; opacity: .8 }}
  i {{ display: block; height: 4px; border-radius: 2px; background: #0072b2; animation: breathe 1s ease-in-out infinite }}
  @keyframes breathe {{ 50% {{ opacity: .25 }} }}
  @media (prefers-reduced-motion: reduce) {{ i {{ animation: none }} }}
</style>
<main><h1>UniSeg is starting</h1>
<p role="status">It loads its program and its model, which takes some ten seconds. The page comes by itself.</p><i></i>
<p style="margin-top: 1rem">{DISCLAIMER}</p></main></html>
""".encode()
_HEAD = f"""HTTP/1.1 503 Service Unavailable
Content-Type: text/html; charset=utf-8
Content-Length: {len(_PAGE)}
Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'
Cache-Control: no-store
Refresh: 1
Retry-After: 1
Connection: close

""".replace("\n", "\r\n").encode()


@contextmanager
def waiting_page(listener: socket.socket) -> Iterator[None]:
    """Answer whoever comes to the listener, as long as the block lasts. Who comes later is left to the next who listens."""
    over = threading.Event()
    thread = threading.Thread(target=_answer, args=(listener, over), name="waiting page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _answer(listener: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        if select.select([listener], [], [], _LOOK_EVERY_S)[0]:
            with suppress(OSError), listener.accept()[0] as visitor:
                _answer_one(visitor)


def _answer_one(visitor: socket.socket) -> None:
    """Hear the request out, since a browser takes an answer before its end for an error; then the page."""
    visitor.settimeout(_REQUEST_S)
    heard = b""
    while b"\r\n\r\n" not in heard and len(heard) < _MOST_BYTES:
        part = visitor.recv(_MOST_BYTES)
        if not part:
            return
        heard += part
    visitor.sendall(_HEAD if heard.startswith(b"HEAD") else _HEAD + _PAGE)
