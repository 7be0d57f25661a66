"""The options of a run as both front ends ask for them: the same choices, in the same words, with the same meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uniseg_model.options import Options
from uniseg_model.presets import AS_THE_DEVICE_ALLOWS, PRESETS, Preset

WORK = "How much work"
WORKS: Mapping[str, Preset] = {preset.title: preset for preset in (AS_THE_DEVICE_ALLOWS, *PRESETS.values())}
STEP = "Step: distance of windows, as a share of their side"
STEPS: Mapping[str, float | None] = {"As chosen above": None, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "1": 1.0}
STEP_COUNTS_MORE = "Set here, it counts more than the choice above."
_NAMES = {preset.title: name for name, preset in PRESETS.items()}


def asked_options(work: str, step: str, **own: Any) -> Options:
    """The options behind a choice of ``WORKS`` and one of ``STEPS``; ``own``: those besides.

    Raises:
        OptionError: one of them is outside its range.
    """
    return Options.preset(_NAMES.get(work), step=STEPS[step], **own)
