"""Draw the pictures of the README.

    python assets/make_pictures.py        (needs pillow)

phantoms.png    one slice of a synthetic case of each family, and its known answer beside it
prompts.png     one synthetic CT under each of its eight prompts: what the embedded weights answer
what_if.png     one question, four prompts: the liver's own, halfway to the spleen's, the spleen's, none
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import embedded_weights, load_model
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


def prompts_sheet(seed: int) -> Image.Image:
    """A coronal slice of one phantom, with each answer projected through the body onto it."""
    phantom = make_phantom("liver", seed)
    known = builtin_tasks()
    keys = [key for key, task in known.items() if task.modalities == ("CT",)]
    answers = load_model(None, device="cpu").open(phantom.volume).segment(keys)
    grey = slice_of(phantom.volume.array[0], 1, 0.42)
    rgb = np.repeat(np.clip((grey[..., None] + 160) / 400, 0, 1) * 255, 3, axis=2)
    panels = [labelled(rgb, "the scan", phantom.volume.spacing_mm)]
    for answer in answers:
        painted = 0.75 * rgb
        for value, label in enumerate(answer.task.labels, start=1):
            seen = (answer.labels == value).any(axis=1)[::-1, ::-1]
            color = np.array([int(label.color[i : i + 2], 16) for i in (1, 3, 5)])
            painted[seen] = 0.25 * rgb[seen] + 0.75 * color
        panels.append(labelled(painted, answer.task.title, phantom.volume.spacing_mm))
    wide, high = panels[0].size
    sheet = Image.new("RGB", (3 * wide + 16, 3 * high + 16))
    for place, part in enumerate(panels):
        sheet.paste(part, ((place % 3) * (wide + 8), (place // 3) * (high + 8)))
    return sheet


def what_if_sheet(seed: int) -> Image.Image:
    """One axial slice, cut to the body, under the liver task whose decoder is told four different things."""
    from uniseg_model.prompts.changes import Blend, Own, Swap, Zero

    phantom = make_phantom("liver", seed)
    session = load_model(None, device="cpu").open(phantom.volume)
    task = session.tasks["liver"]
    place = int((phantom.labels["spleen"] > 0).sum(axis=(1, 2)).argmax())
    grey = phantom.volume.array[0, place][::-1, ::-1]
    rgb = np.repeat(np.clip((grey[..., None] + 60) / 220, 0, 1) * 255, 3, axis=2)
    _, y_mm, x_mm = phantom.volume.spacing_mm
    parts = []
    for change, said in ((Own(), "its own prompt"), (Blend("spleen"), "halfway to the spleen's"), (Swap("spleen"), "the spleen's prompt"), (Zero(), "no prompt")):
        painted = rgb.copy()
        labels = session.what_if(task, change).after.labels[place][::-1, ::-1]
        for value, label in enumerate(task.labels, start=1):
            color = np.array([int(label.color[i : i + 2], 16) for i in (1, 3, 5)])
            painted[labels == value] = 0.35 * rgb[labels == value] + 0.65 * color
        parts.append(labelled(painted[26:-26, 30:-30], f"liver task, {said}", (y_mm, y_mm, x_mm)))
    sheet = Image.new("RGB", (sum(part.width for part in parts) + 8 * 3, parts[0].height))
    for i, part in enumerate(parts):
        sheet.paste(part, (i * (part.width + 8), 0))
    return sheet


def labelled(rgb: np.ndarray, title: str, spacing_mm: tuple[float, float, float]) -> Image.Image:
    """A coronal panel in its true proportions with its name below."""
    height = 260
    width = round(rgb.shape[1] * spacing_mm[2] / (rgb.shape[0] * spacing_mm[0]) * height)
    out = Image.new("RGB", (width, height + 26))
    out.paste(Image.fromarray(rgb.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC))
    ImageDraw.Draw(out).text((8, height + 4), title, fill="white", font=ImageFont.load_default(16))
    return out


def main() -> None:
    """Write ``assets/phantoms.png`` and, where there are weights, ``assets/prompts.png``."""
    if embedded_weights().exists():
        what_if_sheet(7).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(Path(__file__).parent / "what_if.png", optimize=True)
        prompts_sheet(7).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(Path(__file__).parent / "prompts.png", optimize=True)
    panels = [panel(*facts) for facts in PANELS]
    picture = Image.new("RGB", (sum(p.width for p in panels) + 8 * (len(panels) - 1), HEIGHT))
    x = 0
    for part in panels:
        picture.paste(part, (x, 0))
        x += part.width + 8
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(Path(__file__).parent / "phantoms.png", optimize=True)


if __name__ == "__main__":
    main()
