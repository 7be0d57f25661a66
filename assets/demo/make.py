"""Make the embedded demo weights from nothing: phantoms, training, half precision.

    python assets/demo/make.py FOLDER [--steps N]

FOLDER keeps phantoms, cache and run; started again, the script goes on where it was. Hours on two CPU cores. The command
that trains is the project's own, with the plan beside this file; what it wrote while the shipped weights were made is
kept in ``curve.jsonl``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from uniseg_model.checkpoint import About, load_checkpoint

HERE = Path(__file__).parent
CT = "liver,kidney,hepatic_vessel,pancreas,colon,lung,spleen,vertebrae"
PHANTOMS = ((CT, 400), ("prostate,brain,whole_body", 160))  # tasks and patients
FIRST_SEED = 10_000  # seeds below are for tests, examples and held-out phantoms


def uniseg(*arguments: object) -> None:
    """Run the command line."""
    subprocess.run([Path(sys.executable).with_name("uniseg"), *map(str, arguments)], check=True)


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    data, run = given.folder / "data", given.folder / "run"
    for tasks, count in PHANTOMS:
        if any(cases_in(data / key) < count for key in tasks.split(",")):
            uniseg("phantom", "--task", tasks, "--count", count, "--seed", FIRST_SEED, "-o", data)
    steps = ["--iterations", given.steps] if given.steps else []
    uniseg("train", "--data", data, "--plan", HERE / "plan.toml", "-o", run, "--cache", given.folder / "cache", "--resume", *steps)
    ship(run / "final.safetensors", HERE.parent / "demo.safetensors")
    shutil.copyfile(run / "curve.jsonl", HERE / "curve.jsonl")


def cases_in(folder: Path) -> int:
    """How many cases a data set holds."""
    return len(list((folder / "labelsTr").glob("[!.]*.nii.gz")))


def ship(trained: Path, out: Path) -> None:
    """The trained weights in half precision, under their own name."""
    checkpoint = load_checkpoint(trained)
    about = About("UniSeg App demo", "demo", "Apache-2.0", checkpoint.about.history, mirrored=checkpoint.about.mirrored)
    halves = {name: tensor.half() for name, tensor in checkpoint.weights.items()}
    replace(checkpoint, weights=halves, about=about).save(out)


if __name__ == "__main__":
    main()
