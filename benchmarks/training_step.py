"""Seconds of one training step of the demo network: float32 or bfloat16, as it is or compiled.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py [--steps 12]

Prints medians, and ratios to float32 as it is. Compiling takes minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from uniseg_model.tasks import builtin_tasks
from uniseg_model.training.batches import Batch
from uniseg_model.training.plan import Plan, read_plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.trainer import Trainer, fresh_network

PLAN = Path(__file__).parents[1] / "assets" / "demo" / "plan.toml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    plan, first = read_plan(PLAN, builtin_tasks()), 0.0
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, window {plan.network.window}, batch {plan.batch}")
    for precision in ("float32", "bfloat16"):
        for compiled in (False, True):
            seconds = step_seconds(replace(plan, precision=precision, compile=compiled), given.steps)
            first = first or seconds
            way = "compiled" if compiled else "as it is"
            print(f"{precision:9} {way}  {seconds:.3f} s a step, {first / seconds:.2f} times as fast", flush=True)


def step_seconds(plan: Plan, steps: int) -> float:
    """Median seconds of a step, after some that warm up."""
    trainer = Trainer(plan, RunFolder(Path("unused")), fresh_network(plan), torch.device("cpu"))
    model = trainer._parallel()
    task, shape = plan.tasks["liver"], plan.network.window
    batch = Batch(task, torch.randn(plan.batch, 1, *shape), torch.zeros((plan.batch, *shape), dtype=torch.uint8), ("noise",))
    batch.labels[:, 8:16, 30:60, 30:60] = 1
    times = []
    for _ in range(steps + 3):
        start = time.monotonic()
        trainer._learn(model, batch)
        times.append(time.monotonic() - start)
    return median(times[3:])


if __name__ == "__main__":
    main()
