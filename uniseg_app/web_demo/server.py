"""The server that runs the app, and how it ends."""

from __future__ import annotations

import logging
import socket
from typing import Any

import uvicorn

_FAREWELL_S = 1  # for answers on their way; a page that is open listens for ever


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut off who is still there, which uvicorn would call errors."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def run(app: Any, listener: socket.socket) -> None:
    """Serve until interrupted or terminated."""
    _Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_FAREWELL_S)).run(sockets=[listener])
