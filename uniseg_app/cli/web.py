"""The page in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_app.cli.options import Weights
from uniseg_app.console import say
from uniseg_model.errors import MissingPackageError


def web(
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine needs --auth.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    weights: Weights = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of the CPU; default: torch's choice.")] = None,
    auth: Annotated[Path | None, typer.Option("--auth", metavar="FILE", help="Who may sign in; lines of name:hash.")] = None,
) -> None:
    """Serve the web demo on this machine."""
    try:
        from uniseg_app.web_demo.app import WebRequest, serve
    except ImportError as exc:
        raise MissingPackageError(f"the web demo needs {exc.name}", hint="pip install 'uniseg-app[web]'") from exc
    say(f"The page will be at http://{host}:{port}/ until you press Ctrl-C.")
    serve(WebRequest(host, port, weights, device.lower(), threads, auth))
