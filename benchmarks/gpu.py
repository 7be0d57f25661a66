"""One table of what a GPU gives, as ratios to the original's way of working on the same GPU, measured in the same run.

    python -m benchmarks.gpu [--image CT] [-o table.md]

The reference is ``benchmarks.reference``: windows one by one through the network on the GPU in float32, everything else on the
CPU, as the original does it. Whether torch computes float32 convolutions in TF32 is its own choice, for both. Nobody
has run this on a GPU yet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import reference, speed
from benchmarks.engine import CT_SHAPE, CT_SPACING_MM, TARGET_MM
from benchmarks.speed import LARGE_CT, Row, compared, large_ct, print_table, scan, timed
from uniseg_model.checkpoint import load_checkpoint, untrained
from uniseg_model.embedded import embedded_weights
from uniseg_model.network.config import NetworkConfig
from uniseg_model.predictor import Options, Predictor
from uniseg_model.preprocess import prepare
from uniseg_model.resample import coarse_axis
from uniseg_model.volume import Shape

_HEAD = "| work | reference | ours | ratio | seen beside |\n|---|---|---|---|---|"
_ROUNDS = 3  # the quickest counts; the first finds everything cold


@dataclass(frozen=True)
class Setting:
    """What is measured, and where. config: the network of the rows of speed. shape: voxels of the scan that is resampled."""

    device: str
    image: str | None = None
    precisions: tuple[str, ...] = ("float32", "float16")
    config: NetworkConfig = field(default_factory=NetworkConfig)
    shape: Shape = CT_SHAPE


def rows(setting: Setting) -> Iterator[tuple[str, Row]]:
    """Row by row, each as soon as it is known."""
    for precision in setting.precisions:
        model = Predictor(untrained(setting.config), device=setting.device, precision=precision, engine="torch")
        yield f"one window, {precision}", speed.window(model)
        for mirror in (False, True):
            work = f"a trunk CT, {precision}, {'eight flips' if mirror else 'no mirroring'}"
            yield work, speed.whole(model, scan(setting.image), Options(mirror=mirror), mirror=mirror)
    yield "the way in", way_in(setting)
    yield "the way back of three classes", way_back(setting)
    for precision in setting.precisions:
        yield f"labels of the demo weights, {precision}", labels(setting, precision)


def way_in(setting: Setting) -> Row:
    """A large CT to the network's grid."""
    volume = large_ct(setting.shape)
    there_s, there = best(lambda: prepare(volume, LARGE_CT, torch.device(setting.device)))
    here_s, here = best(lambda: prepare(volume, LARGE_CT))
    reference_s, _ = timed(lambda: reference.prepare(volume.array[0], here.shape, coarse_axis(CT_SPACING_MM, TARGET_MM)))
    apart = np.abs(there.array - here.array).max()
    return compared(reference_s, there_s, f"on the CPU {here_s:.2f} s, numbers apart by {apart:.0e}")


def way_back(setting: Setting) -> Row:
    """Three class probabilities to a large CT's grid, and the best of them."""
    prepared = prepare(large_ct(setting.shape), LARGE_CT)
    probabilities = np.random.default_rng(0).random((3, *prepared.shape), np.float32)
    summed = torch.from_numpy(probabilities).to(setting.device)
    there_s, there = best(lambda: prepared.restore(summed))
    here_s, here = best(lambda: prepared.restore(probabilities))
    reference_s, _ = timed(lambda: reference.restore(probabilities, setting.shape, coarse_axis(CT_SPACING_MM, TARGET_MM)))
    others = np.count_nonzero(there.labels != here.labels)
    return compared(reference_s, there_s, f"on the CPU {here_s:.2f} s, {others} of {here.labels.size} voxels differ")


def labels(setting: Setting, precision: str) -> Row:
    """How far the answers of trained weights agree with those of a CPU in float32; the times are of whole runs."""
    checkpoint, volume = load_checkpoint(embedded_weights()), scan(setting.image)
    taken = []
    for device, chosen in (("cpu", "float32"), (setting.device, precision)):
        model = Predictor(checkpoint, device=device, precision=chosen, engine="torch")
        model.measure_speed()
        taken.append(timed(lambda model=model: model.open(volume).segment(["liver"])[0].labels))
    (here_s, here), (there_s, there) = taken
    row = compared(here_s, there_s, f"{np.count_nonzero(here != there)} of {here.size} voxels differ")
    return replace(row, reference=f"{row.reference} on the CPU")


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the quickest of some runs, and what the last gave."""
    taken = [timed(work) for _ in range(_ROUNDS)]
    return min(seconds for seconds, _ in taken), taken[-1][1]


def described() -> str:
    """The GPU and torch, in a line."""
    tf32 = "with" if torch.backends.cudnn.allow_tf32 else "without"
    return f"{torch.cuda.get_device_name()}; torch {torch.__version__}, float32 convolutions {tf32} TF32"


def main() -> None:
    """Measure row by row, and print each as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image")
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            f"this measures a CUDA GPU, and torch {torch.__version__} sees none: install a CUDA build of torch and the driver."
        )
    found = rows(Setting("cuda", given.image))
    table = (f"| {work} | {row.reference} | {row.ours} | {row.ratio} | {row.note} |" for work, row in found)
    print_table(chain([described(), "", _HEAD], table), given.out)


if __name__ == "__main__":
    main()
