"""How much work for an answer: the presets, and what people are told of each. What they cost and how far they agree: docs/presets.md.

Knows neither numpy nor torch, so a command's help can tell of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AS_TRAINED = "as trained"  # mirroring: wherever the weights were trained on mirrored images


@dataclass(frozen=True)
class Preset:
    """A choice of options. title, sentence: for people."""

    title: str
    sentence: str
    options: Mapping[str, Any]


AS_THE_DEVICE_ALLOWS = Preset("As the device allows", "Exact on a GPU, balanced on a CPU.", {})
PRESETS: Mapping[str, Preset] = {
    "exact": Preset(
        "Exact",
        "Every window eight times, mirrored, if the weights were trained so; else as balanced.",
        {"mirror": AS_TRAINED, "step": 0.5},
    ),
    "balanced": Preset("Balanced", "Every window once, not mirrored.", {"mirror": False, "step": 0.5}),
    "fast": Preset(
        "Fast",
        "Fewer windows, each once: a first look, small structures may come out wrong.",
        {"mirror": False, "step": 0.75, "body_share": 0.05},
    ),
}
