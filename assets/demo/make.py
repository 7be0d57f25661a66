"""Make the embedded demo weights from nothing: phantoms, four stages of training, half precision.

    python assets/demo/make.py FOLDER [--steps N]

FOLDER keeps phantoms, cache and run; started again, the script goes on where it was. Hours on two CPU cores. The command
that trains is the project's own, with the plan beside this file; what it wrote while the shipped weights were made is
kept in ``curve_first.jsonl`` to ``curve_fourth.jsonl``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from uniseg_model.checkpoint import About, load_checkpoint
from uniseg_model.dataset import label_files

HERE = Path(__file__).parent
CT = "liver,kidney,hepatic_vessel,pancreas,colon,lung,spleen,vertebrae"
PHANTOMS = ((CT, 400), ("prostate,brain,whole_body", 160))  # tasks and patients
FIRST_SEED = 10_000  # seeds below are for tests, examples and held-out phantoms
TRAINED_ON = (  # what differs from the plan when weights are trained on
    "--set", "batch_dice=true", "--set", 'precision="bfloat16"', "--set", "compile=true",
)  # fmt: skip
STAGES: dict[str, tuple[object, ...]] = {  # each goes on from the weights of the one before
    "first": (),
    "second": (
        *TRAINED_ON, "--seed", 1, "--iterations", 8000, "--set", "rate=1.5e-3", "--set", "negatives=0.15", "--set",
        "task_weights={liver=1.5,kidney=1.2,hepatic_vessel=1.5,pancreas=2,colon=2,lung=2,prostate=0.6,whole_body=0.7}",
    ),
    "third": (
        *TRAINED_ON, "--seed", 2, "--iterations", 4000, "--set", "rate=1e-3", "--set", "negatives=0.15", "--set",
        "task_weights={liver=1.5,kidney=1.2,hepatic_vessel=2,pancreas=1.5,colon=1.5,lung=1.5,prostate=0.6,whole_body=0.7}",
    ),
    "fourth": (
        *TRAINED_ON, "--seed", 3, "--iterations", 3600, "--set", "rate=1e-3", "--set", "negatives=0.1", "--set",
        "task_weights={liver=1.3,kidney=1,hepatic_vessel=2.5,pancreas=2.5,colon=2.5,lung=2.5,spleen=0.5,vertebrae=0.5,"
        "prostate=0.3,brain=0.7,whole_body=0.5}",
    ),
}  # fmt: skip


def uniseg(*arguments: object) -> None:
    """Run the command line."""
    subprocess.run([Path(sys.executable).with_name("uniseg"), *map(str, arguments)], check=True)


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    data = given.folder / "data"
    for tasks, count in PHANTOMS:
        if any(len(label_files(data / key)) < count for key in tasks.split(",")):
            uniseg("phantom", "--task", tasks, "--count", count, "--seed", FIRST_SEED, "-o", data)
    steps = ["--iterations", given.steps] if given.steps else []
    common = ["--data", data, "--plan", HERE / "plan.toml", "--cache", given.folder / "cache", "--resume"]
    weights: list[object] = []
    for stage, changes in STAGES.items():
        run = given.folder / stage
        uniseg("train", *common, "-o", run, *weights, *changes, *steps)
        shutil.copyfile(run / "curve.jsonl", HERE / f"curve_{stage}.jsonl")
        weights = ["--from", run / "final.safetensors"]
    ship(run / "final.safetensors", HERE.parent / "demo.safetensors")


def ship(trained: Path, out: Path) -> None:
    """The trained weights in half precision, under their own name."""
    checkpoint = load_checkpoint(trained)
    about = About("UniSeg App demo", "demo", "Apache-2.0", checkpoint.about.history, mirrored=checkpoint.about.mirrored)
    halves = {name: tensor.half() for name, tensor in checkpoint.weights.items()}
    replace(checkpoint, weights=halves, about=about).save(out)


if __name__ == "__main__":
    main()
