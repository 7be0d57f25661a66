"""Training on a real scan: one structure of one scan is learned and asked back.

    python benchmarks/overfit.py IMAGE LABELS --value 5 [--minutes 15] [--title Liver]

A narrow network is trained from nothing on the scan itself, so this says that the way from files through training to
labels works on real data. It says nothing about other scans.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from uniseg_model.dataset import write_case
from uniseg_model.evaluation.metrics import dice
from uniseg_model.files import write_json
from uniseg_model.io import read_labels, read_volume
from uniseg_model.network.config import NetworkConfig
from uniseg_model.predictor import load_model
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.tasks import Label, Task, TaskRegistry
from uniseg_model.training.plan import Plan
from uniseg_model.training.start import TrainingRequest, run_training

NETWORK = NetworkConfig(window=(32, 64, 64), features=(8, 16, 32, 64, 80, 80))


def main() -> None:
    """Train, segment, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--value", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    volume = read_volume(given.image)
    truth = read_labels(given.labels)[0] == given.value
    task = Task("organ", "Organ", ("CT",), (Label("organ", "#0072B2"),), (3.0, 3.0, 3.0), ("hu",))
    plan = Plan(TaskRegistry([task]), NETWORK, iterations=given.steps, epoch=100, optimiser="adamw", rate=3e-3, warm_up=20,
                augmentation="none", validation_windows=8, save_every=100)  # fmt: skip
    start = time.monotonic()

    def watch(progress: Progress) -> None:
        if time.monotonic() - start > 60 * given.minutes:
            raise Cancelled

    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "organ", Path(folder) / "run"
        for name in ("scan", "same"):  # the same scan on both sides: this is about learning it by heart
            write_case(data, name, volume, truth.astype(np.uint8))
        write_json(data / "splits_final.json", [{"train": ["scan"], "val": ["same"]}])
        weights = run_training(TrainingRequest(data, run, plan), watch).final
        [answer] = load_model(weights).open(volume).segment(["organ"])
    print(f"Dice {dice(answer.labels > 0, truth):.3f} after {given.steps} steps, {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
