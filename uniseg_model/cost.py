"""What a run will take, told before it begins: windows, memory, and seconds once this device's speed is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from uniseg_model.errors import OutOfMemoryError
from uniseg_model.volume import Shape
from uniseg_model.windows import padding, window_starts

_COPIES = 3  # of the prepared array while it is made: the crop, the result, and one on the way


@dataclass(frozen=True)
class Pass:
    """One sweep over a prepared grid. shape: (z, y, x). n_classes: of all its tasks together. flips: 8 when mirrored.

    repeats, left_out: windows whose answer is known from another one, and those without body; 0 while there is no array to look at.
    """

    shape: Shape
    n_channels: int
    n_tasks: int
    n_classes: int
    flips: int = 1
    step: float = 0.5
    repeats: int = 0
    left_out: int = 0

    def windows(self, window: Shape) -> int:
        """How many windows it takes."""
        pads = padding(self.shape, window)
        z, y, x = (side + before + after for side, (before, after) in zip(self.shape, pads, strict=True))
        return len(window_starts((z, y, x), window, self.step)) - self.left_out

    def decodings(self, window: Shape, encoding: float) -> float:
        """Its work, in decodings of one window; encoding: see :class:`Engine`."""
        return (self.windows(window) - self.repeats) * self.flips * (self.n_tasks + encoding)

    def bytes(self) -> int:
        """The prepared array while it is made, and the sums of all classes and weights."""
        return max(self.preparing_bytes(), 4 * math.prod(self.shape) * self.n_channels + self.sums_bytes())

    def preparing_bytes(self) -> int:
        """The prepared array while it is made."""
        return 4 * math.prod(self.shape) * _COPIES * self.n_channels

    def sums_bytes(self) -> int:
        """The sums of all classes and weights."""
        return 4 * math.prod(self.shape) * (self.n_classes + 1)

    def least_bytes(self, room_gb: float) -> int:
        """What cannot be kept on disk; room_gb: see :func:`room_for_sums_gb`."""
        return self.bytes() if self.sums_bytes() <= room_gb * 1e9 else self.preparing_bytes()


@dataclass(frozen=True)
class Cost:
    """What a run will take at most.

    memory_gb: beyond what is in use now. free_gb: what there is; None where the system does not tell.
    seconds: of computing windows; None while this device's speed is not known.
    """

    windows: int
    memory_gb: float
    free_gb: float | None = None
    seconds: float | None = None

    def check(self) -> None:
        """Refuse what cannot fit.

        Raises:
            OutOfMemoryError: with what is needed and what there is.
        """
        if self.free_gb is not None and self.memory_gb > self.free_gb:
            raise OutOfMemoryError(
                f"this run needs about {self.memory_gb:.1f} GB of memory, {self.free_gb:.1f} GB are free",
                hint="Close other programs, ask for fewer tasks at once, or for a coarser spacing.",
            )


def room_for_sums_gb(given_gb: float | None = None) -> float:
    """Memory that the sums of a pass may take before they go to disk: what was given, else half of what is free."""
    if given_gb is None:
        free_gb = free_memory_gb()
        return math.inf if free_gb is None else free_gb / 2
    return given_gb


def free_memory_gb() -> float | None:
    """Memory that programs can still have; None where the system does not tell (Linux does)."""
    try:
        facts = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(facts.split("MemAvailable:")[1].split()[0]) * 1024 / 1e9
    except (OSError, IndexError, ValueError):
        return None
