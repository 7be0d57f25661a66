"""Seconds and peak memory of each stage of one segmentation, and memory of a large scan's way in and back.

    python benchmarks/engine.py [IMAGE] [--weights W] [--task liver]

Without IMAGE a phantom CT is segmented; without weights a full-size network with random weights is used, which costs
what a trained one costs. Each stage runs in a process of its own, so that its peak memory is its own. Ratios
to the original's way are printed by ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CT_SHAPE, CT_SPACING_MM, TARGET_MM = (200, 512, 512), (2.5, 0.8, 0.8), (3.0, 1.5, 1.5)


def measured(work: Callable[..., Any], *arguments: Any) -> tuple[float, float, Any]:
    """Seconds, peak GB of a fresh process, and what the work returned."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, value, peak_gb = pool.submit(_timed, work, arguments).result()
    return seconds, peak_gb, value


def _timed(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, Any, float]:
    from uniseg_model.record import peak_memory_gb

    start = time.perf_counter()
    value = work(*arguments)
    return time.perf_counter() - start, value, peak_memory_gb()


def phantom_file(folder: Path) -> Path:
    from uniseg_model.dataset import write_case
    from uniseg_model.phantom import make_phantom

    phantom = make_phantom("liver", 1, spacing_mm=(3.0, 3.0, 3.0))
    write_case(folder, "ct", phantom.volume, phantom.labels["liver"])
    return folder / "imagesTr" / "ct_0000.nii.gz"


def random_weights(folder: Path) -> Path:
    from uniseg_model.checkpoint import untrained
    from uniseg_model.network.config import NetworkConfig

    untrained(NetworkConfig()).save(folder / "full.safetensors")
    return folder / "full.safetensors"


def read(image: Path) -> None:
    from uniseg_model.io import read_volume

    read_volume(image)


def load(weights: Path) -> None:
    from uniseg_model.predictor import load_model

    load_model(weights, device="cpu")


def whole(image: Path, weights: Path, task: str) -> dict[str, Any]:
    from uniseg_model.io import read_volume
    from uniseg_model.predictor import Options, load_model

    model = load_model(weights, device="cpu", threads=os.cpu_count())
    [found] = model.open(read_volume(image)).segment([task], Options(mirror=False))
    return found.record.to_dict()


def large_scan() -> tuple[float, float]:
    """GB allocated beyond the image while a 512 x 512 x 600 scan is prepared, and while three classes come back."""
    import tracemalloc

    from uniseg_model.preprocess import Recipe, prepare
    from uniseg_model.volume import Volume

    spacing_mm = (1.0, 0.8, 0.8)
    image = np.random.default_rng(0).normal(0, 300, (1, 600, 512, 512)).astype(np.float32)
    volume = Volume(image, np.diag([*spacing_mm[::-1], 1.0])[:, [2, 1, 0, 3]], spacing_mm=spacing_mm)
    tracemalloc.start()
    prepared = prepare(volume, Recipe(TARGET_MM, ("hu",), "stored"))
    preparing = tracemalloc.get_traced_memory()[1]
    probabilities = np.random.default_rng(0).random((3, *prepared.shape), np.float32)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    prepared.restore(probabilities)
    return preparing / 1e9, (tracemalloc.get_traced_memory()[1] - before) / 1e9


def best_of_three(work: Callable[[], Any]) -> float:
    """Seconds of the quickest of three runs."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--task", default="liver")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = arguments.image or measured(phantom_file, Path(folder))[2]
        weights = arguments.weights or measured(random_weights, Path(folder))[2]
        print(f"{'stage':34}{'seconds':>9}{'peak GB':>9}")
        for name, work, given in (("read the image", read, image), ("load the weights (with imports)", load, weights)):
            seconds, peak_gb, _ = measured(work, given)
            print(f"{name:34}{seconds:9.1f}{peak_gb:9.2f}")
        seconds, peak_gb, record = measured(whole, image, weights, arguments.task)
        for stage, stage_seconds in record["seconds"].items():
            print(f"{stage:34}{stage_seconds:9.1f}")
        print(f"{'all, in one process':34}{seconds:9.1f}{peak_gb:9.2f}")
    preparing_gb, restoring_gb = measured(large_scan)[2]
    print(
        f"\n512 x 512 x 600 voxels: {preparing_gb:.2f} GB beyond the image to prepare it, {restoring_gb:.2f} GB to bring 3 classes back"
    )


if __name__ == "__main__":
    main()
