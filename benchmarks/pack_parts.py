"""Which parts of a task pack matter, and how many ranks: the same short training with parts of it held still.

    python -m benchmarks.pack_parts -o DIR [--task gallbladder] [--cases 10] [--steps 60] [--variants "rank 4,no updates"] [--report]

A part that is held still stays as it starts: updates at nothing, norms at the base's, heads and fusion at those of the old task
that the new one starts like. Each variant is judged on whole scans that decide nothing. DIR keeps each result as JSON; what is
there is not done again. ``--report`` prints the table of all results in DIR.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.own_data import FIRST_SEED, TEST_SEEDS, score, show
from uniseg_app.commands import make_phantoms
from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.embedded import embedded_weights
from uniseg_model.files import make_folder, write_json
from uniseg_model.network.pack import PackNet
from uniseg_model.packs.file import load_pack
from uniseg_model.phantom import phantom_tasks
from uniseg_model.predictor import Predictor
from uniseg_model.progress import ignore_progress
from uniseg_model.training.batches import Batches
from uniseg_model.training.cache import Cache
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.start import find_splits
from uniseg_model.training.trainer import Trainer
from uniseg_model.training.tune import nearest_task, start_like, start_net, tuning_plan

CPU = torch.device("cpu")
VARIANTS: dict[str, tuple[int, tuple[str, ...]]] = {  # rank, and the parts that are held still
    "rank 4": (4, ()),
    "no updates": (4, ("updates",)),
    "rank 8": (8, ()),
    "rank 2": (2, ()),
    "no norms": (4, ("norms",)),
    "prompt, fusion and heads": (4, ("updates", "norms")),
    "prompt alone": (4, ("updates", "norms", "heads", "fusion")),
}


def main() -> None:
    """Train the variants that are missing, judge them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--task", default="gallbladder")
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    make_folder(given.out)
    for name in () if given.report else given.variants:
        path = given.out / f"{_file_name(name)}_{given.steps}.json"
        if not path.exists():
            write_json(path, measure(given.out, name, given.task, given.cases, given.steps))
    report(given.out)


def _file_name(variant: str) -> str:
    return variant.replace(", ", "_").replace(" ", "_")


def measure(out: Path, name: str, key: str, cases: int, steps: int) -> dict[str, Any]:
    """One variant, trained and judged."""
    (rank, held), data, began_cpu_s = VARIANTS[name], out / f"data_{cases}", time.process_time()
    if not (data / "dataset.json").exists():
        make_phantoms([key], data, cases, FIRST_SEED)
    base = load_checkpoint(embedded_weights())
    plan = tuning_plan(base, phantom_tasks()[key], "pack", changes={"iterations": steps, "rank": rank})
    run, n_learned = train(out, data, RunFolder(out / f"run_{_file_name(name)}_{steps}"), base, plan, held)
    cpu_s = time.process_time() - began_cpu_s
    model = Predictor(base.with_packs([load_pack(run.best)]), device="cpu")
    return {
        "variant": name, "task": key, "cases": cases, "steps": steps, "learned": n_learned, "cpu_seconds": round(cpu_s),
        "dice": [score(model, key, seed) for seed in TEST_SEEDS],
    }  # fmt: skip


def train(out: Path, data: Path, run: RunFolder, base: Checkpoint, plan: Plan, held: Sequence[str]) -> tuple[RunFolder, int]:
    """A training as ``uniseg train --depth pack`` does it, but for the parts that are held still; how many numbers learned."""
    [task] = plan.tasks.values()
    [split] = find_splits(data, plan).values()
    cache = Cache(out / "cache")
    learn, validate = (cache.prepare_all({task: part}, ignore_progress) for part in (split.train, split.validation))
    net = start_net(plan, base)
    assert isinstance(net, PackNet)
    like = nearest_task(net, plan, base, [Batches(plan, learn)[step] for step in range(4)], CPU)
    if like:
        start_like(net, 0, base.place(base.tasks[like]))
    for name, weights in net.named_parameters():
        weights.requires_grad_(weights.requires_grad and part_of(name) not in held)
    origin = {"started_from": {"name": base.about.name, "sha256": base.sha256, "licence": base.about.licence}}
    with run.claimed(plan, resume=True):
        state = run.begin(plan, {})
        trainer = Trainer(plan, run, net, CPU, origin=origin)
        if state:
            trainer.resume(state)
        trainer.train(learn, validate, show)
    return run, sum(weights.numel() for weights in net.parameters() if weights.requires_grad)


def part_of(name: str) -> str:
    """The part of a pack that weights of this name belong to."""
    if name.endswith((".conv.down", ".conv.up")):
        return "updates"
    return "norms" if name.startswith("decoder.") else name.partition(".")[0]


def report(out: Path) -> None:
    """The table, for docs/own-data.md."""
    print("| what learns | numbers | Dice, 8 scans | lowest | CPU minutes |")
    print("|---|---|---|---|---|")
    found = [json.loads(path.read_text()) for path in out.glob("*.json")]
    for one in sorted(found, key=lambda one: -one["learned"]):
        print(
            f"| {one['variant']} | {one['learned']:,} | {np.mean(one['dice']):.3f} | {min(one['dice']):.3f} | {one['cpu_seconds'] / 60:.1f} |"
        )


if __name__ == "__main__":
    main()
