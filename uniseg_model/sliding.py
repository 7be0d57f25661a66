"""The network over a whole prepared array: windows in, blended class probabilities out.

Window probabilities are weighted with a Gaussian and averaged, as in nnU-Net v1; a lone window is not weighted. Windows that hold
nothing but one value, such as the air around a patient, have one answer: it is computed once and counts in each of their places. Only a
true out-of-memory makes the work go on in a smaller way (fewer windows at once, then sums on the CPU), and each such
step is told to the caller. What is summed on a GPU stays there, because it is labels that are wanted of it, and they are smaller.
Letters: C channels, K classes, z, y, x the prepared grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uniseg_model.blend import Blend, sums_bytes
from uniseg_model.cost import room_for_sums_gb
from uniseg_model.engines import Engine, Tick
from uniseg_model.engines.rules import PromptChoice
from uniseg_model.memory import halved, or_on_cpu
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.volume import Triple
from uniseg_model.walk import through_windows
from uniseg_model.windows import Layout


@dataclass(frozen=True)
class Sweep:
    """What one pass over the windows is asked to do.

    prompts: what the decoder is told, one answer each: a task's place in the universal prompt, or a rule.
    n_classes: how many classes of each to keep.
    step: see ``windows.window_starts``. batch: windows at once; None leaves it to the engine.
    focus: a voxel z, y, x of the prepared array; windows near it come first.
    layout: these windows only, in place of all that ``step`` makes; where none stands the probabilities are 0.
    body_share: of a CT, see ``Layout.with_body``; where no window is computed the first class, background, has probability 1.
    memory_gb: what the sums may take on a CPU before they go to disk; None: half of what is free.
    reuse: compute equal constant windows once. Off, the answer is the same and takes longer: for those who measure.
    """

    prompts: tuple[PromptChoice, ...]
    n_classes: tuple[int, ...]
    step: float = 0.5
    mirror: bool = False
    batch: int | None = None
    focus: Triple | None = None
    layout: Layout | None = None
    body_share: float = 0.0
    memory_gb: float | None = None
    reuse: bool = True


def sweep_windows(
    engine: Engine,
    array: np.ndarray,
    sweep: Sweep,
    progress: ProgressHook,
    show: Callable[[list[np.ndarray]], Mapping[str, np.ndarray]] | None = None,
) -> tuple[list[np.ndarray | Tensor], list[str]]:
    """Class probabilities (K, z, y, x) float32 for each prompt over a prepared array (C, z, y, x), and what was stepped down.

    They are arrays, or tensors on the GPU where they were summed there.
    Progress counts windows, parts of a window included; what the hook raises ends the work.
    show: makes a preview of the labels so far, (z, y, x) uint8 a prompt; without it there is none.

    Raises:
        OutOfMemoryError: one window at a time, summed on the CPU, is still too much.
        OptionError: the step is outside (0, 1].
    """
    layout = sweep.layout or Layout.over(array.shape[1:], engine.window, sweep.step)
    layout = layout.focused(sweep.focus) if sweep.focus else layout
    notes: list[str] = []
    blend = _roomy_blend(layout, sweep, engine.device, notes)
    weight = torch.from_numpy(layout.weight.copy()).to(
        blend.weights.device
    )  # once: each copy would make the CPU wait for the GPU
    chosen = layout.with_body(array, sweep.body_share)
    total = len(chosen.starts)
    if left_out := len(layout.starts) - total:
        notes.append(f"{left_out} of {len(layout.starts)} windows hold almost no body and were not computed")

    def compute(windows: Tensor, tick: Tick) -> list[Tensor]:
        return engine.run(windows, sweep.prompts, mirror=sweep.mirror, tick=tick)

    def preview() -> Mapping[str, np.ndarray]:
        return show([layout.on_grid(labels) for labels in blend.labels()]) if show else {}

    progress(Progress("predict", 0, total))
    through_windows(
        array,
        chosen,
        sweep.batch or engine.best_batch(),
        compute,
        lambda start, outputs: blend.add(layout.in_block(start), outputs, weight),
        lambda batch, exc: _step_down(batch, blend, notes, exc),
        lambda done: progress(Progress("predict", done, total, preview)),
        reuse=sweep.reuse,
    )
    return [layout.on_grid(mean) for mean in blend.means()], notes


def _roomy_blend(layout: Layout, sweep: Sweep, device: torch.device, notes: list[str]) -> Blend:
    """Sums where there is room: on the GPU, in memory, on disk."""
    if device.type != "cpu":
        return or_on_cpu(
            lambda: Blend(layout.block_shape, sweep.n_classes, device),
            lambda: _roomy_blend(layout, sweep, torch.device("cpu"), notes),
            "the sums did not fit on the GPU and are kept on the CPU",
            notes,
        )
    needed_gb = sums_bytes(layout.block_shape, sweep.n_classes) / 1e9
    if on_disk := needed_gb > room_for_sums_gb(sweep.memory_gb):
        notes.append(f"memory is short: the {needed_gb:.2g} GB of sums were kept in a temporary file")
    return Blend(layout.block_shape, sweep.n_classes, device, on_disk)


def _step_down(batch: int, blend: Blend, notes: list[str], exc: Exception) -> int:
    """The next smaller batch; with a batch of one, the sums leave the GPU; then there is nothing left to give up."""
    if batch == 1 and blend.device.type != "cpu":
        notes.append("memory ran out with one window at once; the sums moved to the CPU")
        blend.move_to_cpu()
        return 1
    return halved(batch, notes, exc)
