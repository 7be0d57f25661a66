"""What a person has chosen for the plugin in napari's Preferences."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from napari.settings import get_plugin_settings

PLUGIN = "uniseg-app"


@dataclass(frozen=True)
class Preferences:
    """weights: None for those the program finds by itself. threads: of the CPU. preview_every_s: how often labels are shown as they grow."""

    weights: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    preview_every_s: float = 1.0


def read_preferences() -> Preferences:
    """The preferences; where napari does not know the plugin (its widget used in a script), the defaults."""
    try:
        chosen = get_plugin_settings(PLUGIN).segment
    except KeyError:
        return Preferences(threads=_all_but_one())
    weights = Path(chosen.weights).expanduser() if chosen.weights.strip() else None
    return Preferences(
        weights,
        chosen.device.strip() or "auto",
        threads=chosen.threads or _all_but_one(),
        preview_every_s=chosen.preview_every_s,
    )


def remember_weights(path: Path | None) -> None:
    """Use these weights from now on; None for those the program finds by itself."""
    try:
        get_plugin_settings(PLUGIN).segment.weights = str(path or "")
    except KeyError:  # a script keeps nothing
        return


def _all_but_one() -> int:
    """One core is left to the window, so that it stays alive."""
    return max(1, (os.cpu_count() or 1) - 1)
