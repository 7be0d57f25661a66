"""How a batch of windows is computed. An engine knows the network and the device, and nothing of images or files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from uniseg_model.volume import Shape

if TYPE_CHECKING:
    import torch

    from uniseg_model.engines.rules import PromptChoice, PromptRule

Tick = Callable[[float], None]


class Engine(Protocol):
    """What the sliding window needs of an engine.

    window: voxels along z, y, x. device: where the answers lie. name, precision: for the run record.
    encoding: the work of encoding a window, as a share of decoding it for one task.
    """

    window: Shape
    device: torch.device
    name: str
    precision: str
    encoding: float

    def best_batch(self) -> int:
        """How many windows to try at once."""
        ...

    def window_bytes(self) -> int:
        """Memory that one window takes while it is computed, counted generously."""
        ...

    def free_gb(self) -> float | None:
        """Memory of the device that can still be had; None where nobody tells."""
        ...

    def run(self, windows: torch.Tensor, prompts: Sequence[PromptChoice], *, mirror: bool, tick: Tick) -> list[torch.Tensor]:
        """Class probabilities (B, K, Z, Y, X) float32 of windows (B, C, Z, Y, X), one tensor for each prompt.

        The windows are encoded once for all prompts.

        prompts: what the decoder is told: a task's place in the universal prompt, or a rule. mirror: mean over the eight flips.
        tick: called with the share done, in (0, 1], after each decoding, in torch's inference mode; what it raises ends the run.
        """
        ...

    def prompts(self, windows: torch.Tensor) -> torch.Tensor:
        """The task prompts (B, T, z, y, x) float32 of windows (B, C, Z, Y, X), all tasks in prompt order; nothing is decoded."""
        ...

    def sensitivity(self, windows: torch.Tensor, rule: PromptRule, value: int) -> torch.Tensor:
        """How class ``value`` answers to small changes of the prompt, (B, z, y, x) float32: see ``network.sensitivity``."""
        ...
