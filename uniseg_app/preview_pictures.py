"""How far a training is, in pictures: a slice of a validation case, its truth, and the answer so far. Knows no window and no page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from uniseg_app.typed import COLORS
from uniseg_model.tasks import Task
from uniseg_model.training.preview import Preview

_STRENGTH = 0.6  # of colours over grey values


def preview_pictures(preview: Preview, task: Task | None, side_px: int = 320) -> dict[str, np.ndarray]:
    """Image, truth and answer as (H, W, 3) uint8 by what they are called, the longer side ``side_px`` long.

    task: whose colours, spacing and axes; None where nobody knows it any more.
    """
    colors = [label.color for label in task.labels] if task else list(COLORS)
    turn = _turn(task.axes if task else "stored")
    image, truth, answer = (array[turn] for array in (preview.image, preview.truth, preview.answer))
    size = _size(image.shape, task.spacing_mm[1:] if task else (1.0, 1.0), side_px)
    grey = _grey(image, size)
    return {"Image": grey, "Truth": _over(grey, truth, colors, size), "Answer so far": _over(grey, answer, colors, size)}


def preview_sentence(preview: Preview) -> str:
    """What the pictures show."""
    return f"Validation case {preview.source}, after step {preview.step}: Dice of the whole validation {preview.mean_dice:.3f}."


def _turn(axes: str) -> tuple[slice, slice]:
    """As radiologists look at it, where the axes tell how: the front up, the patient's right on the left; else as stored."""
    back, plain = slice(None, None, -1), slice(None)
    if axes[0] not in "RL" or axes[1] not in "AP":
        return plain, plain
    return back if axes[1] == "A" else plain, back if axes[0] == "R" else plain


def _size(shape: tuple[int, ...], spacing_mm: Sequence[float], side_px: int) -> tuple[int, int]:
    """Width and height in pixels such that a millimetre is as long in both."""
    high, wide = (n * mm for n, mm in zip(shape, spacing_mm, strict=True))
    scale = side_px / max(high, wide)
    return max(1, round(wide * scale)), max(1, round(high * scale))


def _grey(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    low, high = np.percentile(image, [1, 99.5])
    levels = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) * 255
    large = Image.fromarray(levels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return np.repeat(np.asarray(large)[..., None], 3, axis=2)


def _over(grey: np.ndarray, labels: np.ndarray, colors: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    table = np.zeros((256, 3))
    table[1 : len(colors) + 1] = [list(bytes.fromhex(color[1:])) for color in colors[:255]]
    large = np.asarray(Image.fromarray(np.ascontiguousarray(labels)).resize(size, Image.Resampling.NEAREST))
    mixed = (1 - _STRENGTH) * grey + _STRENGTH * table[large]
    return np.where((large > 0)[..., None], mixed, grey).astype(np.uint8)
