"""Training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_app.cli.options import Json
from uniseg_app.console import progress_shown, say, say_json


def train(
    data: Annotated[Path, typer.Option("--data", metavar="ROOT", help="A data set per task, in folders named by task.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run folder: checkpoints, curve, weights.")],
    tasks: Annotated[str, typer.Option("--tasks", metavar="KEY[,KEY...]|all")] = "all",
    plan: Annotated[Path | None, typer.Option("--plan", metavar="PLAN.toml", help="What differs from the paper's training.")] = None,
    start: Annotated[Path | None, typer.Option("--from", metavar="W", help="Weights to start from.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps in all.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut and augment windows.")] = 0,
    cache: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Where prepared cases are kept. Default: in the run folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the run folder.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train one network for all tasks, as the paper does or as a plan says."""
    from uniseg_app import backend
    from uniseg_model.training.start import TrainingRequest

    chosen = backend.make_plan(tasks.split(","), plan, iterations=iterations, seed=seed)
    request = TrainingRequest(data, out, chosen, start, device.lower(), workers, cache, resume)
    with progress_shown(quiet=as_json) as progress:
        facts = backend.train(request, progress)
    if as_json:
        say_json(facts)
    else:
        for name, value in facts.items():
            say(f"{name:20} {value}")
