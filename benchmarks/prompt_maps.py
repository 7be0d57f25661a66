"""What looking at prompts costs: maps of all tasks against the encoder alone over the same windows, and a swap at one window.

    python benchmarks/prompt_maps.py [--weights W] [--spacing 3,1.5,1.5] [--runs 5]

A phantom CT under the demo weights, or weights of your own. Encoder and maps take turns in one process, and the quickest of the runs
counts; the image is prepared before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from uniseg_model.options import Options
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Predictor, Session, load_model
from uniseg_model.prompts.changes import Swap
from uniseg_model.regions import OneWindow
from uniseg_model.suitability import suitable_tasks
from uniseg_model.windows import Layout

SEED = 3200  # of no phantom that was trained on or judged with


def encoder_pass(model: Predictor, session: Session, options: Options) -> Callable[[], object]:
    """The work of encoding each window once, as the maps do, and nothing else."""
    [prepared] = session._prepared.values()
    net, layout = model.checkpoint.network(), Layout.over(prepared.shape, model.engine.window, options.step)
    padded = torch.from_numpy(np.pad(prepared.array, [(0, 0), *layout.pads]))
    sides = [tuple(slice(at, at + n) for at, n in zip(start, layout.window, strict=True)) for start in layout.starts]
    batch = model.engine.best_batch()

    def work() -> None:
        with torch.inference_mode():
            for i in range(0, len(sides), batch):
                net.encode(torch.stack([padded[(slice(None), *side)] for side in sides[i : i + batch]]))

    return work


def seconds(*works: Callable[[], object], runs: int) -> list[float]:
    """The quickest of several runs of each, taken in turns, so that a busy machine is busy for all."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for own, work in zip(taken, works, strict=True):
            start = time.perf_counter()
            work()
            own.append(time.perf_counter() - start)
    return [min(own) for own in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--spacing", help="z,y,x in mm, so that all tasks stand on one grid")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    spacing_mm = tuple(map(float, arguments.spacing.split(","))) if arguments.spacing else None
    options = Options(mirror=False, spacing_mm=spacing_mm, axes="RAS" if spacing_mm else None)  # type: ignore[arg-type]
    model = load_model(arguments.weights, device="cpu", threads=os.cpu_count())
    phantom = make_phantom("liver", SEED)
    session = model.open(phantom.volume)
    keys = [task.key for task in suitable_tasks(session.tasks, session.volume)]
    [maps] = session.prompt_maps(keys, options)  # prepares the image and warms up
    middle = tuple(float(n // 2) for n in phantom.volume.shape)
    encoding, whole, swap = seconds(
        encoder_pass(model, session, options),
        lambda: session.prompt_maps(keys, options),
        lambda: session.what_if("liver", Swap("spleen"), options, OneWindow(middle)),  # type: ignore[arg-type]
        runs=arguments.runs,
    )
    print(
        f"{len(keys)} tasks, {maps.record.options['windows']} windows of {model.engine.window} voxels, {torch.get_num_threads()} threads"
    )
    print(f"{'encoder alone':44}{encoding:8.2f} s")
    print(f"{'prompt maps of all tasks':44}{whole:8.2f} s   {whole / encoding:.2f} times the encoder")
    print(f"{'liver under the prompt of the spleen, one window':44}{swap:8.2f} s")


if __name__ == "__main__":
    main()
