"""Draw the pictures of the README: one slice of a synthetic case of each family, and its known answer beside it.

    python assets/make_pictures.py        (needs pillow)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import builtin_tasks

HEIGHT = 300
PANELS = (  # task for the image, tasks drawn, seed, axis (0 axial, 1 coronal), place along it, channel, grey window
    ("liver", ("liver", "kidney", "pancreas", "spleen", "vertebrae"), 0, 1, 0.38, 0, (-160, 240)),
    ("brain", ("brain",), 1, 0, 0.6, 3, None),
    ("prostate", ("prostate",), 2, 0, 0.5, 0, None),
    ("whole_body", ("whole_body",), 3, 1, 0.5, 1, (0, 10)),
)


def slice_of(array: np.ndarray, axis: int, place: float) -> np.ndarray:
    """A slice (rows, columns) as radiologists look at it: head or front up, the patient's right on the left."""
    plane = array.take(int(place * array.shape[axis]), axis)
    return plane[::-1, ::-1]


def panel(key: str, shown: tuple[str, ...], seed: int, axis: int, place: float, channel: int, window: tuple[float, float] | None) -> Image.Image:
    phantom = make_phantom(key, seed)
    grey = slice_of(phantom.volume.array[channel], axis, place)
    low, high = window or (0.0, float(np.percentile(grey, 99.7)))
    grey = np.clip((grey - low) / (high - low), 0, 1)
    rgb = np.repeat(grey[..., None] * 255, 3, axis=2)
    painted = rgb.copy()
    for task_key in shown:
        labels = slice_of(phantom.labels[task_key], axis, place)
        for value, label in enumerate(builtin_tasks()[task_key].labels, start=1):
            color = np.array([int(label.color[i : i + 2], 16) for i in (1, 3, 5)])
            painted[labels == value] = 0.35 * rgb[labels == value] + 0.65 * color
    both = np.concatenate([rgb, painted], axis=1).astype(np.uint8)
    spacing = [s for i, s in enumerate(phantom.volume.spacing_mm) if i != axis]
    width = round(both.shape[1] * spacing[1] / (both.shape[0] * spacing[0]) * HEIGHT)
    return Image.fromarray(both).resize((width, HEIGHT), Image.Resampling.BICUBIC)


def main() -> None:
    """Write ``assets/phantoms.png``."""
    panels = [panel(*facts) for facts in PANELS]
    picture = Image.new("RGB", (sum(p.width for p in panels) + 8 * (len(panels) - 1), HEIGHT))
    x = 0
    for part in panels:
        picture.paste(part, (x, 0))
        x += part.width + 8
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(Path(__file__).parent / "phantoms.png", optimize=True)


if __name__ == "__main__":
    main()
