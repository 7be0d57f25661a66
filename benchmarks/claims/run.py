"""The command: settle, paint, estimate, run what is left, report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.claims.figure import draw
from benchmarks.claims.report import write_markdown
from benchmarks.claims.results import read_results
from benchmarks.claims.runs import Laboratory, describe
from benchmarks.claims.settings import Job, Settings, jobs, settle, store, stored_settings
from benchmarks.claims.timing import estimate, speeds, steps_within
from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.engines.torch_engine import find_device
from uniseg_model.errors import UniSegError
from uniseg_model.files import whole_file
from uniseg_model.predictor import embedded_weights

_COUNTS = ("steps", "downstream_steps", "seeds", "trunk_cases", "other_cases", "held_out")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.claims", description="The paper's claims, measured on phantoms.")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of data, running trainings and results")
    parser.add_argument("--part", choices=("a", "b", "ab"), default="ab", help="a: multi-task, b: downstream")
    for name in _COUNTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default {getattr(Settings(), name)}")
    parser.add_argument("--downstream-cases", type=int, nargs="+", help="training cases of the new tasks; default 5 10 20")
    parser.add_argument("--minutes-budget", type=float, help="choose the steps so that all of it takes about so long")
    parser.add_argument("--weights", type=Path, default=embedded_weights(), help="what part b starts from; default: the demo's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("estimate", "report"), help="stop after the estimate, or run nothing at all")
    parser.add_argument("--report", type=Path, nargs="?", const=Path("docs"), metavar="FOLDER",
                        help="write claims.md and claims.svg there; default docs")  # fmt: skip
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    options = parse(words)
    try:
        if options.only != "report":
            work(options)
        report(options.out, options.report)
    except UniSegError as exc:
        sys.exit(f"error: {exc}")


def work(options: argparse.Namespace) -> None:
    """All runs that are not done yet, the estimate before them."""
    laboratory = prepare(options)
    every = list(jobs(laboratory.settings, options.part))
    left = [job for job in every if not laboratory.result_file(job).exists()]
    print(f"{len(every) - len(left)} of {len(every)} runs are done")
    if left:
        tell_estimate(laboratory, left)
    if options.only != "estimate":
        store(laboratory.folder, laboratory.settings)
        run_all(laboratory, left)


def prepare(options: argparse.Namespace) -> Laboratory:
    """The settings of this folder, and the laboratory; a budget of minutes decides the steps the first time only."""
    weights = load_checkpoint(options.weights) if "b" in options.part else None
    device = find_device(options.device)
    is_first = stored_settings(options.out) is None
    wanted = wanted_settings(options, weights)
    if is_first and options.minutes_budget:
        trial = Laboratory(options.out, replace(Settings(), **wanted), device, weights)
        planned = list(jobs(trial.settings, options.part))
        bought = steps_within(options.minutes_budget, trial.settings, estimate(trial, planned, speeds(trial, planned)))
        wanted = {"steps": bought.steps, "downstream_steps": bought.downstream_steps} | wanted
    return Laboratory(options.out, settle(options.out, wanted), device, weights)


def wanted_settings(options: argparse.Namespace, weights: Checkpoint | None) -> dict[str, Any]:
    """The fields of the settings that the command line names."""
    named = {name: getattr(options, name) for name in (*_COUNTS, "downstream_cases")}
    wanted = {name: tuple(value) if isinstance(value, list) else value for name, value in named.items() if value is not None}
    return {**wanted, "weights": weights.sha256} if weights else wanted


def tell_estimate(laboratory: Laboratory, left: Sequence[Job]) -> None:
    """Paint what is not there yet, measure a few steps, and say what is coming."""
    print(f"on {describe(laboratory.device)}; painting phantoms where there are none yet", flush=True)
    measured = speeds(laboratory, left)
    for (part, network), speed in measured.items():
        size, step, window = f"{speed.n_parameters:,}", f"{speed.step_s:.3f}", f"{speed.window_s:.3f}"
        print(f"{part:11}{network:13}{size:>10} parameters  {step} s a step  {window} s a window")
    needed = estimate(laboratory, left, measured)
    print(f"{len(left)} runs: about {needed.minutes:.0f} min, {needed.judge_s / 60:.0f} of them to judge", flush=True)


def run_all(laboratory: Laboratory, left: Sequence[Job]) -> None:
    """One job after the other."""
    started = time.monotonic()
    for done, job in enumerate(left, start=1):
        print(f"{done}/{len(left)} {job.name} ...", end=" ", flush=True)
        facts = laboratory.run(job)
        train_s, judge_s, minutes = facts["train_seconds"], facts["judge_seconds"], (time.monotonic() - started) / 60
        print(f"{train_s:.0f} s to train, {judge_s:.0f} s to judge; {minutes:.0f} min so far", flush=True)


def report(folder: Path, into: Path | None) -> None:
    """Print what the folder holds; ``into`` gets the page and its figure."""
    results = read_results(folder / "results")
    page = write_markdown(results, stored_settings(folder) or Settings())
    print(page)
    if into:
        into.mkdir(parents=True, exist_ok=True)
        for name, content in (("claims.md", page), ("claims.svg", draw(results))):
            with whole_file(into / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
