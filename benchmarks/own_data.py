"""A new task from few cases: pack against full, on phantoms of two tasks that the demo weights were never taught.

    python -m benchmarks.own_data -o DIR [--tasks gallbladder,ribs] [--depths pack,full] [--cases 10] [--steps 200] [--report]

Trains on phantoms of seeds 3000 and up (a fifth of them validate) and judges whole scans of seeds 4000 to 4007, which decide
nothing. DIR keeps each result as JSON; what is there is not done again. ``--report`` prints the table of all results in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniseg_app.commands import make_phantoms
from uniseg_model.checkpoint import load_checkpoint
from uniseg_model.embedded import embedded_weights
from uniseg_model.evaluation.metrics import dice
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import own_shapes
from uniseg_model.packs.certificate import certify
from uniseg_model.packs.file import load_pack
from uniseg_model.phantom import make_phantom, phantom_tasks
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Progress
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.tune import tuning_plan

FIRST_SEED, TEST_SEEDS = 3000, range(4000, 4008)


def main() -> None:
    """Train what is missing, judge it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--tasks", default="gallbladder,ribs")
    parser.add_argument("--depths", default="pack,full")
    parser.add_argument("--cases", default="10")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if not given.report:
        for cases, key, depth in product(map(int, given.cases.split(",")), given.tasks.split(","), given.depths.split(",")):
            path = given.out / f"{key}_{depth}_{cases}_{given.steps}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(given.out, key, depth, cases, given.steps), indent=1) + "\n")
    report(given.out)


def measure(out: Path, key: str, depth: str, cases: int, steps: int) -> dict[str, Any]:
    """One training, judged."""
    data, run = out / f"data_{cases}", out / f"run_{key}_{depth}_{cases}_{steps}"
    if not (data / key / "dataset.json").exists():
        make_phantoms([key], data / key, cases, FIRST_SEED)
    base = load_checkpoint(embedded_weights())
    plan = tuning_plan(base, phantom_tasks()[key], depth, changes={"iterations": steps})
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    resume = (run / "plan.json").exists()
    folder = run_training(
        TrainingRequest(data / key, run, plan, embedded_weights(), "cpu", cache=out / "cache", resume=resume), show
    )
    taken_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    packed = base.with_packs([load_pack(folder.best)]) if depth == "pack" else load_checkpoint(folder.best)
    scores = [score(Predictor(packed, device="cpu"), key, seed) for seed in TEST_SEEDS]
    return {
        "task": key, "depth": depth, "cases": cases, "steps": steps, "seconds": round(taken_s), "cpu_seconds": round(cpu_s),
        "resumed": resume, "threads": torch.get_num_threads(), "load": os.getloadavg()[1], "bytes": folder.best.stat().st_size,
        "dice": scores, "validation": max(line["mean_dice"] for line in folder.curve() if "mean_dice" in line),
        "unchanged": not certify(packed).changed if depth == "pack" else None,
    }  # fmt: skip


def show(progress: Progress) -> None:
    """A line now and then."""
    if progress.stage == "train" and progress.done % 50 == 0:
        print(f"step {progress.done:.0f} of {progress.total}", flush=True)


def score(model: Predictor, key: str, seed: int) -> float:
    """Dice of a whole scan."""
    phantom = make_phantom(key, seed)
    [answer] = model.open(phantom.volume).segment([key])
    return dice(answer.labels > 0, phantom.labels[key] > 0)


def report(out: Path) -> None:
    """The table, for docs/own-data.md."""
    print("| cases | task | depth | Dice, 8 scans | lowest | CPU minutes | minutes | file, MB | old tasks |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    for one in sorted(found, key=lambda one: (one["cases"], one["task"], one["depth"] != "pack")):
        old = {True: "identical", False: "CHANGED", None: "may change"}[one["unchanged"]]
        print(f"| {one['cases']} | {one['task']} | {one['depth']} | {np.mean(one['dice']):.3f} | {min(one['dice']):.3f} "
              f"| {one['cpu_seconds'] / 60:.1f} | {one['seconds'] / 60:.1f} | {one['bytes'] / 1e6:.2f} | {old} |")  # fmt: skip
    full_size = 2 * sum(int(np.prod(shape)) for shape in own_shapes(NetworkConfig(), 2, 4).values())
    print(f"\nA pack of one structure for the full-size network: {full_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
