"""The network over a whole prepared array: windows in, blended class probabilities out.

Window probabilities are weighted with a Gaussian and averaged, as in nnU-Net v1; a lone window is not weighted. Only a
true out-of-memory makes the work go on in a smaller way (fewer windows at once, then sums on the CPU), and each such
step is told to the caller. Letters: C channels, K classes, z, y, x the prepared grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from uniseg_model.engines import Engine
from uniseg_model.errors import OutOfMemoryError
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.volume import Shape, Triple
from uniseg_model.windows import importance, nearest_first, padding, window_starts

_FRUGAL = "Close other programs, use --device cpu, or ask for a coarser --spacing."


@dataclass
class Blend:
    """Weighted sums over windows on the padded grid: one tensor (K, z, y, x) a task, and the weights' own sum."""

    shape: Shape
    n_classes: Sequence[int]
    device: torch.device
    sums: list[Tensor] = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sums = [torch.zeros((k, *self.shape), device=self.device) for k in self.n_classes]
        self.weights = torch.zeros(self.shape, device=self.device)

    def add(self, start: Shape, outputs: Sequence[Tensor], weight: Tensor) -> None:
        """Add one window's answers, (K, z, y, x) a task: all of them, or none when memory runs out on the way."""
        place = tuple(slice(at, at + side) for at, side in zip(start, weight.shape, strict=True))
        weight = weight.to(self.device)
        weighted = [output[:k].to(self.device) * weight for output, k in zip(outputs, self.n_classes, strict=True)]
        for total, share in zip(self.sums, weighted, strict=True):
            total[(slice(None), *place)] += share
        self.weights[place] += weight

    def move_to_cpu(self) -> None:
        """Free the GPU of the sums."""
        self.device = torch.device("cpu")
        self.sums = [total.cpu() for total in self.sums]
        self.weights = self.weights.cpu()

    def labels(self, inside: tuple[slice, ...]) -> list[np.ndarray]:
        """The best class so far (z, y, x) uint8 inside a part of the grid, one array a task; 0 where no window was yet."""
        return [total[(slice(None), *inside)].argmax(dim=0).to(torch.uint8).cpu().numpy() for total in self.sums]

    def means(self) -> list[np.ndarray]:
        """Class probabilities (K, z, y, x), one array a task. The sums are used up."""
        return [total.div_(self.weights).cpu().numpy() for total in self.sums]


@dataclass(frozen=True)
class Sweep:
    """What one pass over the windows is asked to do.

    places: the tasks' places in the universal prompt. n_classes: how many classes of each to keep.
    step: see ``windows.window_starts``. batch: windows at once; None leaves it to the engine.
    focus: a voxel z, y, x of the prepared array; windows near it come first.
    """

    places: tuple[int, ...]
    n_classes: tuple[int, ...]
    step: float = 0.5
    mirror: bool = False
    batch: int | None = None
    focus: Triple | None = None


def sweep_windows(
    engine: Engine,
    array: np.ndarray,
    sweep: Sweep,
    progress: ProgressHook,
    show: Callable[[list[np.ndarray]], Mapping[str, np.ndarray]] | None = None,
) -> tuple[list[np.ndarray], list[str]]:
    """Class probabilities (K, z, y, x) float32 for each task over a prepared array (C, z, y, x), and what was stepped down.

    Progress counts windows, parts of a window included; what the hook raises ends the work.
    show: makes a preview of the labels so far, (z, y, x) uint8 a task; without it there is none.

    Raises:
        OutOfMemoryError: one window at a time, summed on the CPU, is still too much.
        OptionError: the step is outside (0, 1].
    """
    pads = padding(array.shape[1:], engine.window)
    padded = torch.from_numpy(np.pad(array, [(0, 0), *pads]))
    starts = window_starts(tuple(padded.shape[1:]), engine.window, sweep.step)  # type: ignore[arg-type]
    weight = torch.from_numpy(importance(engine.window).copy()) if len(starts) > 1 else torch.ones(engine.window)
    inside = tuple(slice(before, before + size) for (before, _), size in zip(pads, array.shape[1:], strict=True))
    if sweep.focus:
        z, y, x = (at + before for at, (before, _) in zip(sweep.focus, pads, strict=True))
        starts = nearest_first(starts, engine.window, (z, y, x))
    notes: list[str] = []
    blend = _roomy_blend(tuple(padded.shape[1:]), sweep.n_classes, engine.device, notes)  # type: ignore[arg-type]
    batch, done = sweep.batch or engine.best_batch(), 0

    def tick(share: float) -> None:
        progress(Progress("predict", done + share * len(chosen), len(starts), preview))

    def preview() -> Mapping[str, np.ndarray]:
        return show(blend.labels(inside)) if show else {}

    progress(Progress("predict", 0, len(starts)))
    while done < len(starts):
        chosen = starts[done : done + batch]
        try:
            windows = torch.stack([_cut(padded, start, engine.window) for start in chosen])
            outputs = engine.run(windows, sweep.places, mirror=sweep.mirror, tick=tick)
            for i, start in enumerate(chosen):
                blend.add(start, [output[i] for output in outputs], weight)
                done += 1
        except Exception as exc:
            if not is_out_of_memory(exc):
                raise
            outputs = []  # free them before the next try
            batch = _step_down(len(chosen), blend, notes, exc)
    return [mean[(slice(None), *inside)] for mean in blend.means()], notes


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, on a GPU or a CPU, and nothing else is wrong."""
    words = str(exc)
    told = "DefaultCPUAllocator" in words and ("allocate memory" in words or "not enough memory" in words)
    told = isinstance(exc, RuntimeError) and (told or words == "std::bad_alloc")
    return told or isinstance(exc, torch.OutOfMemoryError | MemoryError)


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """Tell an out-of-memory anywhere in the block in our words.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except Exception as exc:
        if not is_out_of_memory(exc):
            raise
        raise OutOfMemoryError(f"memory ran out: {_first_line(exc)}", hint=_FRUGAL) from exc


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0] or type(exc).__name__


def _cut(padded: Tensor, start: Shape, window: Shape) -> Tensor:
    z, y, x = (slice(at, at + side) for at, side in zip(start, window, strict=True))
    return padded[:, z, y, x]


def _roomy_blend(shape: Shape, n_classes: Sequence[int], device: torch.device, notes: list[str]) -> Blend:
    try:
        return Blend(shape, n_classes, device)
    except Exception as exc:
        if not is_out_of_memory(exc) or device.type == "cpu":
            raise
        notes.append("the sums did not fit on the GPU and are kept on the CPU")
        return Blend(shape, n_classes, torch.device("cpu"))


def _step_down(batch: int, blend: Blend, notes: list[str], exc: BaseException) -> int:
    """The next smaller batch; with a batch of one, the sums leave the GPU; then there is nothing left to give up."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch > 1:
        notes.append(f"memory ran out with {batch} windows at once; went on with {batch // 2}")
        return batch // 2
    if blend.device.type != "cpu":
        notes.append("memory ran out with one window at once; the sums moved to the CPU")
        blend.move_to_cpu()
        return 1
    raise OutOfMemoryError(f"memory ran out with one window at a time: {_first_line(exc)}", hint=_FRUGAL) from exc
