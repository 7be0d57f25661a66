"""Which grey values of an image are shown as black and white."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uniseg_model.suitability import looks_like_hu
from uniseg_model.tasks import Task
from uniseg_model.volume import Volume

Window = tuple[float, float]
CT_WINDOWS: dict[str, Window] = {
    "Soft tissue": (-160.0, 240.0), "Lung": (-1350.0, 150.0), "Bone": (-450.0, 1050.0), "Brain": (0.0, 80.0),
}  # fmt: skip

_SAMPLES = 1_000_000  # of the voxel values, from which a window is taken
_RESCALED_BELOW = 100.0  # a CT with a smaller range is not in HU any more


def grey_windows(volume: Volume, tasks: Sequence[Task] = ()) -> dict[str, Window]:
    """The grey values to show as black and white, by name; the first is the one to begin with.

    For a CT those of the tasks and the usual ones; for anything else the 1st and the 99.5th percentile of all voxels that are
    not 0. All values come last.
    """
    whole = {"All values": _window(*volume.intensity_range)}
    if not is_ct(volume):
        return {"Most values": _most_values(volume)} | whole
    return {task.title: task.window_hu for task in tasks if task.window_hu} | CT_WINDOWS | whole


def _most_values(volume: Volume) -> Window:
    values = np.nan_to_num(volume.array[0].reshape(-1)[:: max(1, volume.array[0].size // _SAMPLES)])
    shown = values[values != 0] if values.any() else values
    return _window(*np.percentile(shown, [1.0, 99.5]))


def _window(low: float, high: float) -> Window:
    return float(low), float(high) if high > low else float(low) + 1.0


def is_ct(volume: Volume) -> bool:
    """Whether the values are Hounsfield units; where the file does not name its modality, their range tells."""
    if volume.source.modality == "CT":
        low, high = volume.intensity_range
        return high - low >= _RESCALED_BELOW
    return volume.source.modality != "MR" and looks_like_hu(volume)
