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
from uniseg_model.engines.rules import PromptChoice
from uniseg_model.errors import OutOfMemoryError
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.volume import Shape, Triple
from uniseg_model.windows import Layout

_FRUGAL = "Close other programs, use --device cpu, or ask for a coarser --spacing."


@dataclass
class Blend:
    """Weighted sums over windows on a grid that holds them all: one tensor (K, z, y, x) a prompt, and the weights' own sum."""

    shape: Shape
    n_classes: Sequence[int]
    device: torch.device
    sums: list[Tensor] = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sums = [torch.zeros((k, *self.shape), device=self.device) for k in self.n_classes]
        self.weights = torch.zeros(self.shape, device=self.device)

    def add(self, start: Shape, outputs: Sequence[Tensor], weight: Tensor) -> None:
        """Add one window's answers, (K, z, y, x) a prompt: all of them, or none when memory runs out on the way."""
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

    def labels(self) -> list[np.ndarray]:
        """The best class so far (z, y, x) uint8, one array a prompt; 0 where no window was yet."""
        return [total.argmax(dim=0).to(torch.uint8).cpu().numpy() for total in self.sums]

    def means(self) -> list[np.ndarray]:
        """Class probabilities (K, z, y, x), one array a prompt. The sums are used up."""
        return [total.div_(self.weights).cpu().numpy() for total in self.sums]


@dataclass(frozen=True)
class Sweep:
    """What one pass over the windows is asked to do.

    prompts: what the decoder is told, one answer each: a task's place in the universal prompt, or a rule.
    n_classes: how many classes of each to keep.
    step: see ``windows.window_starts``. batch: windows at once; None leaves it to the engine.
    focus: a voxel z, y, x of the prepared array; windows near it come first.
    layout: these windows only, in place of all that ``step`` makes; where none stands the probabilities are 0.
    """

    prompts: tuple[PromptChoice, ...]
    n_classes: tuple[int, ...]
    step: float = 0.5
    mirror: bool = False
    batch: int | None = None
    focus: Triple | None = None
    layout: Layout | None = None


def sweep_windows(
    engine: Engine,
    array: np.ndarray,
    sweep: Sweep,
    progress: ProgressHook,
    show: Callable[[list[np.ndarray]], Mapping[str, np.ndarray]] | None = None,
) -> tuple[list[np.ndarray], list[str]]:
    """Class probabilities (K, z, y, x) float32 for each prompt over a prepared array (C, z, y, x), and what was stepped down.

    Progress counts windows, parts of a window included; what the hook raises ends the work.
    show: makes a preview of the labels so far, (z, y, x) uint8 a prompt; without it there is none.

    Raises:
        OutOfMemoryError: one window at a time, summed on the CPU, is still too much.
        OptionError: the step is outside (0, 1].
    """
    layout = sweep.layout or Layout.over(array.shape[1:], engine.window, sweep.step)
    layout = layout.focused(sweep.focus) if sweep.focus else layout
    weight = torch.from_numpy(layout.weight.copy())
    notes: list[str] = []
    blend = _roomy_blend(layout, sweep.n_classes, engine.device, notes)
    total = len(layout.starts)

    def compute(windows: Tensor, done: int) -> list[Tensor]:
        def tick(share: float) -> None:
            progress(Progress("predict", done + share * len(windows), total, preview))

        return engine.run(windows, sweep.prompts, mirror=sweep.mirror, tick=tick)

    def preview() -> Mapping[str, np.ndarray]:
        return show([layout.on_grid(labels) for labels in blend.labels()]) if show else {}

    def keep(start: Shape, outputs: list[Tensor]) -> None:
        blend.add(layout.in_block(start), outputs, weight)

    progress(Progress("predict", 0, total))
    through_windows(
        array,
        layout,
        sweep.batch or engine.best_batch(),
        compute,
        keep,
        lambda batch, exc: _step_down(batch, blend, notes, exc),
    )
    return [layout.on_grid(mean) for mean in blend.means()], notes


def through_windows(
    array: np.ndarray,
    layout: Layout,
    batch: int,
    compute: Callable[[Tensor, int], list[Tensor]],
    keep: Callable[[Shape, list[Tensor]], None],
    shrink: Callable[[int, Exception], int],
) -> None:
    """Take the windows of a prepared array (C, z, y, x) in batches through ``compute``, and hand each window's part to ``keep``.

    compute: of windows (B, C, Z, Y, X) and how many were done before, any number of tensors (B, ...).
    keep: is given a window's first voxel on the padded grid and its parts (...); all of them count, or none when it raises.
    shrink: the batch to go on with after memory ran out with this one, or an error.
    """
    padded = torch.from_numpy(np.pad(array, [(0, 0), *layout.pads]))
    starts, done = layout.starts, 0
    while done < len(starts):
        chosen = starts[done : done + batch]
        try:
            outputs = compute(torch.stack([_cut(padded, start, layout.window) for start in chosen]), done)
            for i, start in enumerate(chosen):
                keep(start, [output[i] for output in outputs])
                done += 1
        except Exception as exc:
            if not is_out_of_memory(exc):
                raise
            outputs = []  # free them before the next try
            batch = shrink(len(chosen), exc)


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


def _roomy_blend(layout: Layout, n_classes: Sequence[int], device: torch.device, notes: list[str]) -> Blend:
    try:
        return Blend(layout.block_shape, n_classes, device)
    except Exception as exc:
        if not is_out_of_memory(exc) or device.type == "cpu":
            raise
        notes.append("the sums did not fit on the GPU and are kept on the CPU")
        return Blend(layout.block_shape, n_classes, torch.device("cpu"))


def _step_down(batch: int, blend: Blend, notes: list[str], exc: Exception) -> int:
    """The next smaller batch; with a batch of one, the sums leave the GPU; then there is nothing left to give up."""
    if batch == 1 and blend.device.type != "cpu":
        notes.append("memory ran out with one window at once; the sums moved to the CPU")
        blend.move_to_cpu()
        return 1
    return halved(batch, notes, exc)


def halved(batch: int, notes: list[str], exc: Exception) -> int:
    """Half the batch, which is noted.

    Raises:
        OutOfMemoryError: it was one window.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if batch > 1:
        notes.append(f"memory ran out with {batch} windows at once; went on with {batch // 2}")
        return batch // 2
    raise OutOfMemoryError(f"memory ran out with one window at a time: {_first_line(exc)}", hint=_FRUGAL) from exc
