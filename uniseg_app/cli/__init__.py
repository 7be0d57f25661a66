"""The command line. Its names, options and exit codes are a promise.

Exit codes: 0 done, 1 a ``UniSegError`` (one line on stderr), 2 wrong usage, 130 interrupted. ``--json`` prints one JSON
document on stdout and nothing else. Nothing ever waits for an answer. What needs torch is imported inside the commands,
so that ``--help`` and ``tasks`` answer at once.

    options     what several commands share             data        phantom, import, doctor, evaluate
    prompts     prompts
    predict     tasks, segment, demo                    training    train
    weights     weights import | info | verify         web         web, the page of demo
    napari      napari                              packs       packs install | list | remove | export | certify
    batch       batch
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from uniseg_app.cli import batch, data, napari, packs, predict, prompts, training, web, weights
from uniseg_app.console import say, tell_error, warn
from uniseg_model import DISCLAIMER, __version__
from uniseg_model.errors import UniSegError

INTERRUPTED = 130

app = typer.Typer(
    help=f"Segment 3D medical images with one promptable model. {DISCLAIMER}",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
app.add_typer(weights.app, name="weights")
app.add_typer(packs.app, name="packs")
app.command()(predict.tasks)
app.command()(predict.segment)
app.command()(batch.batch)
app.command()(prompts.prompts)
app.command()(data.phantom)
app.command("import")(data.import_data)
app.command()(training.train)
app.command()(data.doctor)
app.command()(data.evaluate)
app.command()(predict.demo)
app.command()(web.web)
app.command()(napari.napari)


def _version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def main() -> None:
    """The ``uniseg`` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be no valid text
    try:
        app()
    except UniSegError as error:
        tell_error(error)
        sys.exit(1)
    except MemoryError as error:
        tell_error(
            UniSegError(
                f"memory ran out: {error or 'no more is free'}", hint="Close other programs or choose a coarser --spacing."
            )
        )
        sys.exit(1)
    except OSError as error:  # a path or a disk that nobody foresaw
        tell_error(UniSegError(str(error), hint="Choose other paths, and check the space on the disk."))
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer turns Ctrl-C into this
            warn("uniseg: interrupted; no file is half-written")
        raise
