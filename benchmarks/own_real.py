"""A task of one's own on one real scan: learned by heart at two depths and asked back.

    python -m benchmarks.own_real IMAGE LABELS --value 5 -o DIR [--title Liver] [--depths pack,full] [--steps 300] [--report]

One structure of one scan is both what is learned and what is asked for, so this says that the way from files through training
to labels works on real data, and how much a pack can hold beside ``full``. It says nothing about other scans. The task stands
at 3 mm. DIR keeps each result as JSON; what is there is not done again. ``--report`` prints the table of all results in DIR.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.checkpoint import load_checkpoint
from uniseg_model.dataset import write_case
from uniseg_model.embedded import embedded_weights
from uniseg_model.errors import OptionError
from uniseg_model.evaluation.metrics import dice
from uniseg_model.files import make_folder, write_json
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import read_labels, read_volume
from uniseg_model.packs.file import load_pack
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Progress
from uniseg_model.tasks import Label, Task
from uniseg_model.training.run import RunFolder
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.tune import tuning_plan
from uniseg_model.volume import Volume


def main() -> None:
    """Train what is missing, ask back, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--value", type=int, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--title", default="Organ")
    parser.add_argument("--depths", default="pack,full")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    make_folder(given.out)
    if not given.report:
        volume, truth = read_pair(given.image, given.labels, given.value)
        for depth in given.depths.split(","):
            path = given.out / f"{depth}_{given.steps}.json"
            if not path.exists():
                write_json(path, measure(given.out, volume, truth, given.title, depth, given.steps))
    report(given.out)


def read_pair(image: Path, labels: Path, value: int) -> tuple[Volume, np.ndarray]:
    """The scan and where the structure is.

    Raises:
        GeometryError: the labels lie on another grid. OptionError: they do not hold the value.
    """
    volume, (values, affine) = read_volume(image), read_labels(labels)
    check_same_grid("the label map", Grid(values.shape, affine), "the image", Grid(volume.shape, volume.affine))
    if not (values == value).any():
        raise OptionError(f"{labels} does not hold the value {value}, it holds {np.unique(values).tolist()}")
    return volume, values == value


def measure(out: Path, volume: Volume, truth: np.ndarray, title: str, depth: str, steps: int) -> dict[str, Any]:
    """One training, asked back."""
    task = Task("organ", title, ("CT",), (Label(title, "#0072B2"),), (3.0, 3.0, 3.0), ("hu",))
    base, data, run = load_checkpoint(embedded_weights()), out / "data", out / f"run_{depth}_{steps}"
    for name in ("scan", "same"):  # the same scan on both sides: this is about learning it by heart
        write_case(data, name, volume, truth.astype(np.uint8))
    write_json(data / "splits_final.json", [{"train": ["scan"], "val": ["same"]}])
    plan = tuning_plan(base, task, depth, changes={"iterations": steps})
    request = TrainingRequest(
        data, run, plan, embedded_weights(), "cpu", cache=out / "cache", resume=(run / "plan.json").exists()
    )
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    folder = run_training(request, show)
    taken_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    learned = base.with_packs([load_pack(folder.best)]) if depth == "pack" else load_checkpoint(folder.best)
    [answer] = Predictor(learned, device="cpu").open(volume).segment(["organ"])
    return {
        "title": title, "depth": depth, "steps": steps, "seconds": round(taken_s), "cpu_seconds": round(cpu_s),
        "resumed": request.resume, "bytes": folder.best.stat().st_size, "windows": validations(folder),
        "dice": dice(answer.labels > 0, truth), "truth_ml": float(truth.sum()) * volume.voxel_ml,
        "found_ml": float((answer.labels > 0).sum()) * volume.voxel_ml,
    }  # fmt: skip


def validations(folder: RunFolder) -> list[tuple[int, float]]:
    """Step and Dice of the windows that are looked at during training; the first is the start."""
    return [(line["step"], line["mean_dice"]) for line in folder.curve() if "mean_dice" in line]


def show(progress: Progress) -> None:
    """A line now and then."""
    if progress.stage == "train" and progress.done % 50 == 0:
        print(f"step {progress.done:.0f} of {progress.total}", flush=True)


def report(out: Path) -> None:
    """The table, for docs/own-data.md."""
    print("| structure | depth | steps | windows before | Dice, whole scan | volume, ml | truth, ml | CPU minutes | file, MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in (json.loads(path.read_text()) for path in sorted(out.glob("*.json"))):
        print(f"| {one['title']} | {one['depth']} | {one['steps']} | {one['windows'][0][1]:.2f} | {one['dice']:.3f} | {one['found_ml']:.0f} "
              f"| {one['truth_ml']:.0f} | {one['cpu_seconds'] / 60:.1f} | {one['bytes'] / 1e6:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
