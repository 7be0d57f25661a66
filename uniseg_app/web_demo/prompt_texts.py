"""What the Prompts tab says, as small pieces of HTML around the report's sections. Whatever came from outside is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from uniseg_app import prompt_words
from uniseg_app.prompt_answers import change_rows, plane_csv, statistics_csv, voxels_csv
from uniseg_app.web_demo.prompt_controls import AFTER, BEFORE, CHANGE, DIFFERENCE, IMAGE, PROBABILITY, SENSITIVITY, SHEET
from uniseg_model.page import header_cells, scrolling
from uniseg_model.prompts.inspection import matrix_csv
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.report import image_section, learned_section, similarity_section, statistics_section
from uniseg_model.prompts.saliency import Saliency
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.sheet import Sheet
from uniseg_model.prompts.similarity import SIMILARITIES
from uniseg_model.prompts.whatif import WhatIf

_LAYERS = {
    BEFORE: "Over the scan: the answer under the task's own prompt.",
    AFTER: "Over the scan: the answer under the other prompt.",
    DIFFERENCE: "Over the scan: where the two answers differ.",
    PROBABILITY: "Over the scan: how much more (orange) or less (blue) probable it became that there is any structure of the task.",
}


SLIDES = "Once a window was looked at, it is looked at again when you let go. With the keyboard, press the button below."
SLIDES_AND_PRESS = "Then press the button below: so much takes too long to follow the slider."

_AIMS = {CHANGE: "Put the crosshair where you want to look. ", SENSITIVITY: "Put the crosshair on a structure. "}
_NEXT = {
    IMAGE: "Choose whose prompts, and press “Read the prompts”. Every window is encoded once, whatever you tick.",
    CHANGE: "Choose what the decoder is told, and press “Show what changes”.",
    SENSITIVITY: "Choose the structure, and press “Work it out”.",
    SHEET: "Choose the tasks, and press “Draw the sheet”: the image is segmented under each of them.",
}
_NO_VIEWER = "This browser does not offer WebGL2, which the viewer needs. "
PLAIN = {
    IMAGE: _NO_VIEWER + "The maps stand below as stacks of slices, without the scan.",
    CHANGE: _NO_VIEWER + "The table tells what changes; where, only the download shows. There is no crosshair: what is looked at is in the "
    "middle of the image.",
    SENSITIVITY: _NO_VIEWER + "Here are the extremes only: the map is in the download. There is no crosshair: what is looked at is in the "
    "middle of the image.",
    SHEET: _NO_VIEWER + "The sheet does not need it, but there is no crosshair: its slice is the one in the middle of the image.",
}  # fmt: skip


def hint(view: str, *, has_crosshair: bool = True) -> str:
    """What to do next, where nothing is to be seen yet."""
    return f'<p class="quiet">{escape((_AIMS.get(view, "") if has_crosshair else "") + _NEXT[view])}</p>'


def how(words: str) -> str:
    """How a picture is read."""
    return f'<p class="how">{escape(words)}</p>'


def caution(words: str) -> str:
    """What a picture does not tell."""
    return f'<p class="caution">{escape(words)}</p>'


def _numbers(files: Mapping[str, str]) -> str:
    """Links to the numbers behind a picture, by file name."""
    links = ", ".join(
        f'<a download="{escape(name)}" href="data:text/csv;base64,{base64.b64encode(text.encode()).decode()}">{escape(name)}</a>'
        for name, text in files.items()
    )
    return f'<p class="numbers">The numbers: {links}</p>'


def _matrices(found: PromptSet, name: str) -> str:
    files = {f"{name}_{kind}.csv": matrix_csv(found, kind) for kind in SIMILARITIES}
    return _numbers({**files, f"{name}_plane.csv": plane_csv(found)})


def learned(found: PromptSet, *, own_scale: bool) -> str:
    """What training left in the weights."""
    return (
        learned_section(found, own_scale=own_scale) + _numbers({"learned_prompts.csv": voxels_csv(found)})
        + similarity_section(found, "Learned prompts compared", has_plane=True) + _matrices(found, "learned")
        + statistics_section({"Learned": found}) + _numbers({"learned_statistics.csv": statistics_csv(found)})
    )  # fmt: skip


def image(sets: Sequence[PromptMaps], learned: Sequence[PromptSet], task: str | None, minus: str | None = None) -> str:
    """This image's prompts, each set beside the learned ones of the same tasks.

    task: whose map lies over the scan, ``minus`` that of another; None: no scan is shown, so the maps by themselves are.
    """
    over = "" if task is None else how(_over(task, minus))
    parts = [over, caution(prompt_words.LEVELS)]
    for i, (maps, same) in enumerate(zip(sets, learned, strict=True), start=1):
        grid = " × ".join(f"{mm:g}" for mm in reversed(maps.recipe.spacing_mm))
        where, name = (f" (grid of {grid} mm)", f"image{i}") if len(sets) > 1 else ("", "image")
        beside = similarity_section(maps, f"This image's prompts compared{where}") + _matrices(maps, name)
        before = similarity_section(same, "The learned prompts of these tasks") + _matrices(same, "learned")
        parts.append(f'<div class="two"><div>{beside}</div><div>{before}</div></div>')
        opened = " open" if task is None else ""
        parts.append(f"<details{opened}><summary>All maps side by side{where}</summary>{image_section(maps, where)}</details>")
        parts.append(
            statistics_section({f"This image{where}": maps}) + _numbers({f"{name}_statistics.csv": statistics_csv(maps)})
        )
    return "".join(parts)


def _over(task: str, minus: str | None) -> str:
    if minus:
        return f"Over the scan: the prompt of {task} minus that of {minus}. {prompt_words.DIFFERENCE}"
    return f"Over the scan: the prompt of {task}, yellow where it is high."


def what_if(found: WhatIf, layer: str | None, said: str, cautions: Sequence[str]) -> str:
    """The table of what changed. layer: what lies over the scan, None where there is no viewer. said: the change in words."""
    rows = "".join(
        f'<tr><th scope="row"><i style="background:{escape(row.color)}"></i>{escape(row.structure)}</th><td>{row.before_ml:,.1f}</td>'
        f"<td>{row.after_ml:,.1f}</td><td>{signed(row.after_ml - row.before_ml, 1)}</td>"
        f"<td>{'neither found it' if row.dice is None else f'{row.dice:.3f}'}</td><td>{signed(row.mean_change, 4)}</td></tr>"
        for row in change_rows(found)
    )
    head = header_cells(["Structure", "Before, ml", "After, ml", "Change, ml", "Dice", "Change of mean probability"])
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    counts = ", ".join(
        f"{int(np.count_nonzero(found.difference == value)):,} voxels {name}"
        for value, (name, _) in prompt_words.DIFFERENCES.items()
    )
    sides = " × ".join(str(side.stop - side.start) for side in reversed(found.valid))
    seconds = sum(found.after.record.seconds.values())
    return (
        f"<section><h2>{escape(found.before.task.title)}: {escape(said)}</h2>{how(_LAYERS[layer]) if layer else ''}"
        f"{scrolling('What changed', table)}{how(f'{counts}. Looked at: {sides} voxels of the image; computing it took {seconds:.1f} s.')}"
        f"{how(prompt_words.WHAT_IF)}{''.join(map(caution, cautions))}</section>"
    )


def signed(value: float, digits: int) -> str:
    """A number with its sign, the minus as long as the plus; 0 has none."""
    text = f"{value:+,.{digits}f}"
    return text[1:] if not text.strip("+-0.,") else text.replace("-", "\u2212")


def plain_number(value: float) -> str:
    """Two digits that count, without an exponent."""
    return np.format_float_positional(float(f"{value:.2g}"), trim="-").replace("-", "\u2212")


def sensitivity(found: Saliency) -> str:
    """What the map is, and what it is not."""
    low, high = float(np.nanmin(found.array)), float(np.nanmax(found.array))
    title = f"Sensitivity of {found.structure} to the prompt of {found.task.title}"
    numbers = (
        f"Change of the mean probability in a window per unit of the prompt: from {plain_number(low)} to {plain_number(high)}."
    )
    return f"<section><h2>{escape(title)}</h2>{how(numbers)}{caution(prompt_words.SENSITIVITY)}</section>"


def sheet(found: Sheet) -> str:
    """The picture."""
    Image.fromarray(found.pixels).save(png := io.BytesIO(), "png")
    source = base64.b64encode(png.getvalue()).decode()
    return (
        f"<section><h2>The image under each prompt</h2>{how(prompt_words.SHEET)}"
        f'<img class="sheet" alt="The image under each chosen prompt" src="data:image/png;base64,{source}"></section>'
    )
