"""Training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uniseg_app.cli.options import Json
from uniseg_app.console import progress_shown, say, say_json, say_table
from uniseg_model.errors import OptionError

if TYPE_CHECKING:
    from uniseg_app.tuning import TuningRequest


def train(
    data: Annotated[Path, typer.Option("--data", metavar="ROOT", help="A data set per task, in folders named by task.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run folder: checkpoints, curve, weights.")],
    tasks: Annotated[str, typer.Option("--tasks", metavar="KEY[,KEY...]|all")] = "all",
    task_file: Annotated[Path | None, typer.Option("--task-file", metavar="T.toml", help="Tasks of your own, in the form of tasks.toml.")] = None,
    plan: Annotated[Path | None, typer.Option("--plan", metavar="PLAN.toml", help="What differs from the paper's training.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting of the plan, as in TOML; may come several times.")] = None,
    start: Annotated[Path | None, typer.Option("--from", metavar="W", help="Weights to start from.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps in all.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut and augment windows.")] = 0,
    cache: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Where prepared cases are kept. Default: in the run folder.")] = None,
    depth: Annotated[str, typer.Option(metavar="scratch|pack|full|backbone", help="pack: add a task and leave the weights as they are. full: all weights learn it. backbone: new task only.")] = "scratch",
    minutes: Annotated[float | None, typer.Option(help="How long the steps of pack, full or backbone may take. Default: 10.")] = None,
    replay: Annotated[Path | None, typer.Option("--replay", metavar="ROOT", help="Data sets of old tasks, with full: trained on too, and measured before and after.")] = None,
    pack: Annotated[Path | None, typer.Option("--from-pack", metavar="PACK", help="Go on with a pack of the same task.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Parts of a new splits_final.json; each validates once.")] = None,
    fold: Annotated[int, typer.Option(min=0, help="Which part validates, from 0.")] = 0,
    install: Annotated[bool, typer.Option("--install", help="Take the result into use, if it is better than its start.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the run folder.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events, too.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train one network for all tasks, as the paper does or as a plan says; or add a task of your own with --depth."""
    if depth != "scratch":
        from uniseg_app.tuning import TuningRequest

        _refuse_with_depth({"--plan": plan, "--tensorboard": tensorboard or None})
        settings = {**_settings(change or []), **({} if seed is None else {"seed": seed})}
        key = None if tasks == "all" else tasks
        _add_task(
            TuningRequest(
                data, out, depth, task_file, key, start, minutes, iterations, settings, replay, pack, fold, folds,
                device.lower(), workers, cache, resume, install,
            ), as_json,
        )  # fmt: skip
        return
    _refuse_without_depth({"--minutes": minutes, "--replay": replay, "--from-pack": pack, "--install": install or None})
    from uniseg_app import commands
    from uniseg_model.training.estimate import training_memory_gb
    from uniseg_model.training.start import TrainingRequest, find_splits

    numbers = {"iterations": iterations, "seed": seed}
    changes = [*(change or []), *(f"{name}={value}" for name, value in numbers.items() if value is not None)]
    chosen = commands.make_plan(tasks.split(","), plan, task_file, changes)
    request = TrainingRequest(data, out, chosen, start, device.lower(), workers, cache, resume, tensorboard, fold, folds)
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if is_first and not as_json:
        say(f"{len(chosen.tasks)} tasks, {chosen.iterations} steps of {chosen.batch} windows; about "
            f"{training_memory_gb(chosen):.1f} GB in float32, {training_memory_gb(chosen, half_precision=True):.1f} GB on a GPU")  # fmt: skip
        for key, split in find_splits(data, chosen, fold, folds).items():
            unused = f", {len(split.unused)} in no part of splits_final.json" if split.unused else ""
            say(f"{key}: {len(split.train)} cases to learn from, {len(split.validation)} to validate on{unused}")
    with progress_shown(quiet=as_json or not is_first) as progress:
        facts = commands.train(request, progress, [] if as_json else [_tell])
    if not is_first:
        return
    if as_json:
        say_json(facts)
    else:
        for name, value in facts.items():
            say(f"{name:20} {value}")


def _add_task(request: TuningRequest, as_json: bool) -> None:
    """The price first, then the training, then what came of it."""
    from uniseg_app.tuning import prepare_tuning, tune

    training, price = prepare_tuning(request)
    if not as_json:
        say(f"{request.depth}: {price.sentence()}")
    with progress_shown(quiet=as_json) as progress:
        found = tune(request, training, progress, [] if as_json else [_tell])
    if as_json:
        say_json({"price": price.to_dict(), **found})
        return
    old = found["verdict"]["old_tasks"]
    if old:
        say_table(
            ["old task", "before, Dice", "after, Dice"],
            [[k, f"{v['before']:.2f}", f"{v['after']:.2f}"] for k, v in old.items()],
        )
    say(found["verdict"]["sentence"])
    if "certificate" in found:
        say(found["certificate"]["sentence"])
    say(f"Wrote {found['result']} ({found['bytes'] / 1e6:.2f} MB)")
    if "installed" in found:
        say(f"In use: {found['installed']}")


def _settings(changes: list[str]) -> dict[str, Any]:
    """Lines such as rate=0.001 as fields of a plan."""
    from uniseg_model.training.plan import read_changes

    return read_changes(changes)


def _refuse_with_depth(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name} is for training from scratch, a task is added without it", hint="Change single settings with --set."
            )


def _refuse_without_depth(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"{name} is for adding a task", hint="Add --depth pack, full or backbone.")


def _tell(line: dict[str, Any]) -> None:
    """One validation on a line."""
    if "mean_dice" in line:
        found = {key: [value for value in dice.values() if value is not None] for key, dice in line["dice"].items()}
        tasks = ", ".join(f"{key} {sum(dice) / len(dice):.2f}" for key, dice in found.items() if dice)
        say(f"step {line['step']}: validation Dice {line['mean_dice']:.3f} ({tasks})")
