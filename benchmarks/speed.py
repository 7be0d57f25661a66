"""Rows of the table of speed: each does the same work twice, as the original does it and as this program does.

A row runs in a process of its own, so that its memory is its own and nothing is warm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import reference
from benchmarks.engine import CT_SHAPE, CT_SPACING_MM, TARGET_MM, best_of_three
from benchmarks.scale import Peaks
from uniseg_model.checkpoint import untrained
from uniseg_model.files import whole_file
from uniseg_model.io import read_volume
from uniseg_model.network.config import NetworkConfig
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Options, Predictor
from uniseg_model.preprocess import Recipe, new_shape, prepare
from uniseg_model.progress import Progress
from uniseg_model.record import peak_memory_gb
from uniseg_model.resample import coarse_axis
from uniseg_model.suitability import suitable_tasks
from uniseg_model.volume import Shape, Volume

LARGE_CT = Recipe(TARGET_MM, ("hu",), "stored")  # how the large CT is prepared


@dataclass(frozen=True)
class Row:
    """One line. reference, ours: what was measured, in words. ratio: of the two, in words. note: what was checked beside."""

    reference: str
    ours: str
    ratio: str
    note: str = ""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one run, on a GPU until it is done, and what it gave."""
    _settle()
    began_s = time.perf_counter()
    value = work()
    _settle()
    return time.perf_counter() - began_s, value


def _settle() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def print_table(lines: Iterable[str], out: Path | None) -> None:
    """Print each line as soon as it is known, and keep the file up to it whole."""
    told: list[str] = []
    for line in lines:
        told.append(line)
        print(line, flush=True)
        if out:
            with whole_file(out) as path:
                path.write_text("\n".join(told) + "\n", encoding="utf-8")


def compared(reference_s: float, ours_s: float, note: str = "") -> Row:
    """A row of two times."""
    return Row(f"{reference_s:.2f} s", f"{ours_s:.2f} s", f"{reference_s / ours_s:.1f}x", note)


def full_size() -> Predictor:
    """The full-size network with random weights, which cost what trained ones cost, on the engine that is chosen by itself."""
    torch.manual_seed(0)
    return Predictor(untrained(NetworkConfig()), device="cpu")


def scan(path: str | None) -> Volume:
    """The CT to segment: a file, or a phantom of 3 mm."""
    return read_volume(path) if path else make_phantom("liver", 1, spacing_mm=(3.0, 3.0, 3.0)).volume


def window_row(path: str | None) -> Row:
    """One window of 64 x 192 x 192 voxels, full-size network, float32."""
    return window(full_size())


def window(model: Predictor) -> Row:
    """One window of a model's, on its device; the reference computes in float32."""
    device = model.engine.device
    net, values = model.checkpoint.network().to(device), torch.randn(1, 1, *model.engine.window)

    def original() -> torch.Tensor:
        with torch.no_grad():
            return reference.logits(net, values.to(device), 0).softmax(1)

    def ours() -> torch.Tensor:
        return model.engine.run(values, [0], mirror=False, tick=lambda share: None)[0]

    taken = [(timed(original), timed(ours)) for _ in range(3)]
    (reference_s, known), (ours_s, found) = (min(column, key=lambda one: one[0]) for column in zip(*taken, strict=True))
    others, apart = int((known.argmax(1) != found.argmax(1)).sum()), float((known - found).abs().max())
    note = f"{model.engine.name}; {others} of {known[0, 0].numel()} labels differ, probabilities by {apart:.0e}"
    return compared(reference_s, ours_s, note)


def prepare_row(path: str | None) -> Row:
    """512 x 512 x 200 voxels at 0.8 x 0.8 x 2.5 mm to 1.5 x 1.5 x 3 mm."""
    volume, recipe, shape = large_ct(), LARGE_CT, new_shape(CT_SHAPE, CT_SPACING_MM, TARGET_MM)
    ours_s = best_of_three(lambda: prepare(volume, recipe))
    reference_s, known = timed(lambda: reference.prepare(volume.array[0], shape, coarse_axis(CT_SPACING_MM, TARGET_MM)))
    return compared(reference_s, ours_s, f"numbers differ by {np.abs(prepare(volume, recipe).array[0] - known).max():.0e}")


def restore_row(path: str | None) -> Row:
    """Three class probabilities back to 512 x 512 x 200 voxels, and the best of them."""
    prepared = prepare(large_ct(), LARGE_CT)
    probabilities = np.random.default_rng(0).random((3, *prepared.shape), np.float32)
    peaks = Peaks()
    peaks(Progress("ours"))
    before_gb = peak_memory_gb()
    ours_s = best_of_three(lambda: prepared.restore(probabilities))
    peaks(Progress("reference"))
    reference_s, known = timed(lambda: reference.restore(probabilities, CT_SHAPE, coarse_axis(CT_SPACING_MM, TARGET_MM)))
    peaks.close()
    ours_gb, reference_gb = (peaks.stages[name][1] - before_gb for name in ("ours", "reference"))
    others = np.count_nonzero(prepared.restore(probabilities).labels != known)
    return compared(
        reference_s, ours_s, f"{ours_gb:.2f} GB beyond the input, reference {reference_gb:.1f} GB; {others} voxels differ"
    )


def pipeline_row(path: str | None) -> Row:
    """A trunk CT, one task, full-size network, no mirroring."""
    return whole(full_size(), scan(path), Options(), mirror=False)


def default_row(path: str | None) -> Row:
    """The defaults of both: mirroring in the original, none here on a CPU; a scan of a single window."""
    volume = scan(path)
    middle = tuple(slice(n // 2 - n // 5, n // 2 + n // 5) for n in volume.shape)
    return whole(full_size(), Volume(volume.array[(slice(None), *middle)], volume.affine), Options(), mirror=True)


def whole(model: Predictor, volume: Volume, options: Options, *, mirror: bool) -> Row:
    """A whole scan with a model on its device under our options; mirror: whether the reference mirrors."""
    task, net = model.checkpoint.tasks["liver"], model.checkpoint.network().to(model.engine.device)
    model.measure_speed()  # warm
    ours_s, [found] = timed(lambda: model.open(volume).segment([task], options))
    place = model.checkpoint.place(task)
    reference_s, known = timed(lambda: reference.segment(net, volume, task.spacing_mm, place, task.n_classes, mirror=mirror))
    others = (
        "random weights: the answers cannot be compared"
        if mirror != found.record.options["mirror"]
        else f"{np.count_nonzero(found.labels != known)} of {known.size} voxels differ"
    )
    return compared(reference_s, ours_s, f"{model.engine.name}; {others}")


def tasks_row(path: str | None) -> Row:
    """All CT tasks of one grid at once, and one after the other; full-size network."""
    model, volume = full_size(), scan(path)
    tasks = suitable_tasks(model.checkpoint.tasks, volume)
    model.measure_speed()
    options = Options(spacing_mm=(6.0, 3.0, 3.0))
    apart_s, apart = timed(lambda: [model.open(volume).segment([task], options)[0] for task in tasks])
    together_s, together = timed(lambda: model.open(volume).segment(tasks, options))
    same = all(np.array_equal(a.labels, b.labels) for a, b in zip(apart, together, strict=True))
    note = f"{len(tasks)} tasks, {'same labels' if same else 'LABELS DIFFER'}"
    return Row(f"{apart_s:.1f} s", f"{together_s:.1f} s", f"{together_s / apart_s:.2f} of it", note)


def large_ct(shape: Shape = CT_SHAPE) -> Volume:
    """Noise of a CT's range, at 0.8 x 0.8 x 2.5 mm."""
    values = np.random.default_rng(0).normal(0, 300, (1, *shape)).astype(np.float32)
    return Volume(values, np.diag([*CT_SPACING_MM[::-1], 1.0])[:, [2, 1, 0, 3]], spacing_mm=CT_SPACING_MM)
