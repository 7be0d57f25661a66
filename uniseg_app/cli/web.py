"""The page in a browser. The one door of the command line into the web demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uniseg_app.cli.options import Weights
from uniseg_app.console import say
from uniseg_model.errors import MissingPackageError

DataRoot = Annotated[
    list[Path] | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data sets that may be trained on; may come several times."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")]


def web(
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine needs --auth.")] = "127.0.0.1",
    port: Port = 7860,
    weights: Weights = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU; default: torch's choice.")] = None,
    auth: Annotated[Path | None, typer.Option("--auth", metavar="FILE", help="Who may sign in; lines of name:hash.")] = None,
    data_root: DataRoot = None,
    training: Annotated[bool | None, typer.Option("--training/--no-training", help="Let people train. Default: on this machine alone, or with --data-root.")] = None,
) -> None:  # fmt: skip
    """Serve the web demo on this machine."""
    serve(
        host=host, port=port, weights=weights, device=device.lower(), threads=threads, auth=auth, data_roots=tuple(data_root or ()),
        training=training,
    )  # fmt: skip


def serve(**request: Any) -> None:
    """Serve what a ``WebRequest`` of these facts says."""
    try:
        from uniseg_app.web_demo import app
    except ImportError as exc:
        raise MissingPackageError(f"the web demo needs {exc.name}", hint="pip install 'uniseg-app[web]'") from exc
    app.serve(app.WebRequest(**request), say)
