"""How time and memory grow with the size of a scan, and what two very large scans take.

    python -m benchmarks.scale [--sizes 128,256,384,512,768] [--large] [--air] [--threads 2]

A made-up CT trunk in air goes the whole way of ``uniseg segment``, from a file to files, under the demo weights and one task; each
in a process of its own. Peaks are of the whole process, libraries included, the largest of each stage. With ``--air``: what a row
of windows of which 40 % are nothing but air takes, these computed once and every time; in seconds of the processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.engine import measured as in_a_process

CUBE_SPACING_MM = (2.0, 2.0, 2.0)
LARGE = (
    ((1000, 512, 512), (0.8, 0.8, 0.8)),
    ((768, 1024, 1024), (0.8, 0.4, 0.4)),
)  # shape and spacing along z, y, x


def write_trunk(path: Path, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
    """An int16 ``.nii`` of an elliptic body with soft noise in air with a little; slice by slice."""
    rng = np.random.default_rng(0)
    n_z, n_y, n_x = shape
    y, x = np.ogrid[-1 : 1 : n_y * 1j, -1 : 1 : n_x * 1j]
    body = (y / 0.6) ** 2 + (x / 0.85) ** 2 < 1
    pool = [np.where(body, rng.normal(40, 25, (n_y, n_x)), rng.normal(-1000, 8, (n_y, n_x))).astype("<i2") for _ in range(4)]
    header = nib.Nifti1Header()
    header.set_data_dtype("<i2")
    header.set_data_shape(shape[::-1])
    header.set_zooms(spacing_mm[::-1])
    header.set_sform(np.diag([*spacing_mm[::-1], 1.0]), code="scanner")
    header["vox_offset"] = 352
    with path.open("wb") as file:
        header.write_to(file)
        file.write(bytes(4))
        for z in range(n_z):
            (pool[z % 4] + np.int16(10 * np.sin(z / 9))).astype("<i2").tofile(file)


class Peaks:
    """A progress hook that keeps the seconds and the largest memory of each stage."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[float, float]] = {}
        self._stage, self._began_s = "", 0.0

    def __call__(self, progress: Any) -> None:
        """See ``progress.ProgressHook``."""
        if progress.stage != self._stage:
            self.close(progress.stage)

    def close(self, following: str = "") -> None:
        """End the stage, and begin one."""
        from uniseg_model.record import peak_memory_gb

        if self._stage:
            seconds, peak_gb = self.stages.get(self._stage, (0.0, 0.0))
            spent_s = time.perf_counter() - self._began_s
            self.stages[self._stage] = (seconds + spent_s, max(peak_gb, peak_memory_gb()))
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        self._stage, self._began_s = following, time.perf_counter()


def whole_way(image: Path, task: str, threads: int) -> dict[str, tuple[float, float]]:
    """Seconds and peak GB of each stage, from the file to its labels."""
    from uniseg_app.commands import SegmentRequest, segment
    from uniseg_model.options import Options

    peaks = Peaks()
    with tempfile.TemporaryDirectory(dir=image.parent) as out:
        segment(SegmentRequest((image,), (task,), Path(out) / "answer", Options(), threads=threads), peaks)
    peaks.close()
    return peaks.stages


Stages = dict[str, tuple[float, float]]


def stages_of(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], folder: Path | None, task: str, threads: int
) -> Stages:
    """Seconds and peak GB of each stage of the whole way of a made-up scan, in a process of its own; weights are loaded before."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        image = Path(inside) / "trunk.nii"
        write_trunk(image, shape, spacing_mm)
        stages: Stages = in_a_process(whole_way, image, task, threads)[2]
    stages.pop("load weights", None)
    return stages


def summed(stages: Stages) -> tuple[float, float]:
    """Seconds of all stages, and the largest of their peaks in GB."""
    return sum(s for s, _ in stages.values()), max(gb for _, gb in stages.values())


def measured(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], arguments: argparse.Namespace) -> None:
    """Print a row of stages and their sum."""
    stages = stages_of(shape, spacing_mm, arguments.folder, arguments.task, arguments.threads)
    seconds, peak_gb = summed(stages)
    voxels = float(np.prod(shape)) / 1e6
    parts = "  ".join(f"{name} {s:.1f} s {gb:.2f} GB" for name, (s, gb) in stages.items())
    print(
        f"{'x'.join(map(str, shape[::-1])):>14} {voxels:7.1f} {seconds:8.1f} {seconds / voxels:7.3f} {peak_gb:6.2f}   {parts}",
        flush=True,
    )


def air(threads: int) -> tuple[float, float]:
    """Seconds of 20 windows, 8 of them nothing but air, all computed, and with air computed once."""
    from dataclasses import replace

    from uniseg_model.predictor import load_model
    from uniseg_model.progress import ignore_progress
    from uniseg_model.sliding import Sweep, sweep_windows

    engine = load_model(None, device="cpu", threads=threads).engine
    n_z, n_y, n_x = engine.window
    array = np.zeros((1, n_z, n_y, n_x // 2 * 21), np.float32)  # 20 windows
    body = array[..., n_x // 2 * 9 :]  # the first that sees it is the ninth
    body += np.random.default_rng(0).random(body.shape, np.float32)
    taken: dict[bool, list[float]] = {True: [], False: []}
    for reuse in (True, False) * 2:
        began_s = time.process_time()
        sweep_windows(engine, array, replace(Sweep((0,), (3,)), reuse=reuse), ignore_progress)
        taken[reuse].append(time.process_time() - began_s)
    return min(taken[False]), min(taken[True])


def main(given: Sequence[str] | None = None) -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="128,256,384,512,768")
    parser.add_argument("--large", action="store_true", help="also 512 x 512 x 1000 and 1024 x 1024 x 768")
    parser.add_argument("--air", action="store_true", help="also what air costs")
    parser.add_argument("--task", default="liver")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="where the scans are put for the while")
    arguments = parser.parse_args(given)
    print(f"{'x, y, z':>14} {'Mvoxels':>7} {'seconds':>8} {'s/Mv':>7} {'GB':>6}   (load {os.getloadavg()[0]:.1f})", flush=True)
    for size in map(int, filter(None, arguments.sizes.split(","))):
        measured((size, size, size), CUBE_SPACING_MM, arguments)
    for shape, spacing_mm in LARGE if arguments.large else ():
        measured(shape, spacing_mm, arguments)
    if arguments.air:
        always_s, once_s = air(arguments.threads)
        print(f"20 windows, 8 of them air: {always_s:.1f} s when all are computed, {once_s:.1f} s when air is computed once: "
              f"{1 - once_s / always_s:.0%} less (13 of 20 windows are computed: 35 % less)")  # fmt: skip


if __name__ == "__main__":
    main()
