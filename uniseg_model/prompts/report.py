"""The prompts as one page of HTML that needs nothing else; its only script is its own, named in the page's policy by its hash.

Every plot says in a sentence how it is read. Its sections can stand in another page, too: that needs ``style`` and ``script``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from uniseg_model.evaluation.pictures import Rgb, to_grey
from uniseg_model.page import header_cells, html_page, scrolling, terms
from uniseg_model.prompts.charts import View, color_bar, matrix_table, plane_plot, stack
from uniseg_model.prompts.colors import DIVERGING, VIRIDIS, painted
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.similarity import chance

if TYPE_CHECKING:
    from uniseg_model.prompts.inspection import Inspection

_PICTURE_SIDE = 192  # pixels of the scan's slices, about
ALIKE = (
    "Each cell compares two prompts, −1 to 1: orange where they rise and fall together, blue where one rises as the other falls, "
    "pale where they have nothing in common. Tasks are ordered so that alike ones are neighbours, and the lines above join them at "
    "their average distance, the closest first."
)
_COSINE = "Cosine compares level and pattern together; correlation, above, only the pattern."
PLANE = "Each point is a prompt; the closer two points, the more alike the prompts, as far as two directions can show it."
_MAPS = (
    "Each picture is one task's prompt over this slice of the body, yellow where it is high: what the decoder is told when that task is asked "
    "for. Every window is normalised by itself, so look at the pattern; a level says little from one window to the next."
)
_APART = "The same, each minus the mean of these tasks: orange where a prompt is higher than the others there, blue where it is lower."
LEARNED_MAPS = (
    "The universal prompt itself, a channel a task, the same for every image; its slices and cells are those of a window. The decoder "
    "never sees these numbers: it is told what the fusion makes of them and the image."
)
_NO_SCRIPT = '<noscript><p class="quiet">Without scripts the page shows the middle slices and all matrices; values are in the CSV and JSON files.</p></noscript>'


def render_html(inspection: Inspection) -> str:
    """The page."""
    sections = [_facts(inspection), _NO_SCRIPT]
    for maps in inspection.maps:
        where = _on_grid(inspection, maps)
        sections += [image_section(maps, where), similarity_section(maps, f"This image's prompts compared{where}")]
    learned = inspection.learned
    sections += [similarity_section(learned, "Learned prompts compared"), learned_section(learned), _statistics(inspection)]
    return html_page("Prompts: what the model is told", "\n".join(sections), style(), f"{script()}read(document);\n")


def style() -> str:
    """The rules of the sections; they use the colours that ``page.css`` names."""
    return _part("report.css")


def script() -> str:
    """The function ``read(root)``, which makes the sections below an element tell their values."""
    return _part("report.js")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _facts(inspection: Inspection) -> str:
    weights = inspection.weights
    facts = {
        "Weights": f"{weights['name']} ({weights['kind']}), SHA-256 {weights['sha256']}",
        "Licence": str(weights["licence"]),
    }
    for maps in inspection.maps:
        spacing, cell = (" x ".join(f"{n:g}" for n in sizes) for sizes in (maps.recipe.spacing_mm, maps.cell))
        facts["Image"] = ", ".join(maps.volume.source.paths) or maps.volume.source.format
        facts[f"Windows{_on_grid(inspection, maps)}"] = (
            f"{maps.record.options['windows']}, at {spacing} mm; a cell is {cell} voxels (z, y, x); for {', '.join(_titles(maps))}"
        )
    if notes := list(dict.fromkeys(note for maps in inspection.maps for note in maps.record.notes)):
        facts["Notes"] = "; ".join(notes)
    return f'<dl class="facts">{terms(facts)}</dl>'


def _on_grid(inspection: Inspection, maps: PromptMaps) -> str:
    """Which grid, where there are several."""
    spacing = ", ".join(f"{mm:g}" for mm in maps.recipe.spacing_mm)
    return f" (grid of {spacing} mm)" if len(inspection.maps) > 1 else ""


def _titles(found: PromptSet) -> list[str]:
    return [task.key.replace("_", " ") for task in found.tasks]


def similarity_section(found: PromptSet, title: str, *, has_plane: bool = False) -> str:
    """How alike prompts are: matrices with their trees, and the plane. has_plane: it is open from the beginning."""
    names, size = _titles(found), found.array[0].size
    odds = f" Two prompts of {size} numbers drawn at random would lie within ±{chance(size):.2f} two times in three."
    more = "" if isinstance(found, PromptMaps) else odds
    plane = found.plane()
    first, second = (f"{share:.0%}" for share in plane.shares)
    cosine = matrix_table(names, found.similarity("cosine"), found.tree("cosine"), f"{title}, by cosine")
    return (
        f'<section><h2>{escape(title)}</h2><p class="how">{ALIKE}{escape(more)}</p>'
        f"{matrix_table(names, found.similarity(), found.tree(), f'{title}, by correlation')}"
        f'<details><summary>By cosine</summary><p class="how">{_COSINE}</p>{cosine}</details>'
        f'<details{" open" if has_plane else ""}><summary>In a plane</summary><p class="how">{PLANE} Across: {first} of the variance; up: {second}.</p>'
        f'<div class="plots"><figure>{plane_plot(names, plane, f"{title}, in a plane")}</figure></div></details></section>'
    )


def image_section(maps: PromptMaps, where: str = "") -> str:
    """This image's prompts as stacks of slices beside the scan's. where: which grid, where there are several."""
    view, low, high = View.of(maps.affine, maps.array.shape[1:]), float(maps.array.min()), float(maps.array.max())
    apart = maps.array - maps.array.mean(axis=0)
    most, n = float(np.abs(apart).max()), len(view.slices(maps.array[0]))
    scan = stack("the scan", _scan(maps, view), view.aspect)
    prompts, others = (
        _stacks(maps, maps.array, (low, high), VIRIDIS, view),
        _stacks(maps, apart, (-most, most), DIVERGING, view),
    )
    told = _volume(n, color_bar(low, high, VIRIDIS, "prompt"), scan + prompts, view.affine)
    special = _volume(n, color_bar(-most, most, DIVERGING, "prompt minus the mean of the tasks"), others, view.affine)
    return (
        f'<section><h2>What the decoder is told about this image{escape(where)}</h2><p class="how">{_MAPS}</p>{told}'
        f'<details><summary>What is special of each task</summary><p class="how">{_APART}</p>{special}</details></section>'
    )


def _stacks(
    found: PromptSet, arrays: np.ndarray, limits: tuple[float, float], scale: tuple[str, ...], view: View | None = None
) -> str:
    """A stack for each task. arrays: (T, z, y, x); view: how they lie in the patient, where they do."""
    shown = [view.slices(array) if view else array for array in arrays]
    aspect = view.aspect if view else (1.0, 1.0)
    return "".join(
        stack(name, painted(slices, *limits, scale), aspect, slices) for name, slices in zip(_titles(found), shown, strict=True)
    )


def _own_stacks(found: PromptSet) -> str:
    """The same, each from minus to plus its own largest value."""
    stacks = []
    for name, prompt in zip(_titles(found), found.array, strict=True):
        most = float(np.abs(prompt).max())
        stacks.append(stack(f"{name}, ±{most:.3g}", painted(prompt, -most, most, DIVERGING), (1.0, 1.0), prompt))
    return "".join(stacks)


def _scan(maps: PromptMaps, view: View) -> Rgb:
    """The image's first channel through the middle of each slice of cells, (s, h, w, 3), over the same part of the body."""
    n, height, width = view.slices(maps.array[0]).shape
    fine = max(1, _PICTURE_SIDE // max(height, width))
    to_cells = np.diag([1.0, 1 / fine, 1 / fine, 1.0])
    to_cells[1:3, 3] = (1 / fine - 1) / 2
    to_voxels = np.linalg.inv(maps.volume.affine) @ view.affine @ to_cells
    image = np.nan_to_num(maps.volume.array[0])
    shape = (n, height * fine, width * fine)
    grey = ndimage.affine_transform(image, to_voxels[:3, :3], to_voxels[:3, 3], shape, order=1, cval=float(image.min()))
    shown = to_grey(grey, maps.tasks[0].window_hu)
    return np.repeat(np.rint(shown * 255).astype(np.uint8)[..., None], 3, axis=3)


def _volume(n_slices: int, bar: str, stacks: str, affine: np.ndarray | None = None) -> str:
    """Stacks that share a slider, a cursor and a line in which the value under it is told. affine: see :class:`View`."""
    place = "" if affine is None else f" data-affine='{json.dumps(np.round(affine[:3], 3).tolist())}'"
    slider = f'<input type="range" min="0" max="{n_slices - 1}" value="{n_slices // 2}" step="1">'
    return (
        f'<div class="volume"{place}><div class="controls"><p class="slider"><label>Slice {slider}</label><output></output></p>'
        f'<output class="reading"></output></div>{bar}<div class="stacks">{stacks}</div></div>'
    )


def learned_section(learned: PromptSet, *, own_scale: bool = False) -> str:
    """The universal prompt's channels as stacks of slices. own_scale: each from minus to plus its own largest value."""
    most = float(np.abs(learned.array).max())
    if own_scale:
        said, stacks = (
            '<p class="bar">Each picture has its own scale, from blue (minus) to orange (plus).</p>',
            _own_stacks(learned),
        )
    else:
        said, stacks = (
            color_bar(-most, most, DIVERGING, "learned value"),
            _stacks(learned, learned.array, (-most, most), DIVERGING),
        )
    volume = _volume(learned.array.shape[1], said, stacks)
    return f'<section><h2>Learned prompts</h2><p class="how">{LEARNED_MAPS}</p>{volume}</section>'


def _statistics(inspection: Inspection) -> str:
    titles = [
        f"This image{_on_grid(inspection, found)}" if isinstance(found, PromptMaps) else "Learned"
        for _, found in inspection.sets()
    ]
    return statistics_section({title: found for title, (_, found) in zip(titles, inspection.sets(), strict=True)})


def statistics_section(sets: Mapping[str, PromptSet]) -> str:
    """Plain numbers of each prompt, a table for each set under its title."""
    tables = []
    for title, found in sets.items():
        rows = "".join(
            f'<tr><th scope="row">{escape(key.replace("_", " "))}</th>{"".join(f"<td>{value:.3g}</td>" for value in vars(numbers).values())}</tr>'
            for key, numbers in found.statistics().items()
        )
        head = header_cells(["Task", "Mean", "Std", "Min", "Max", "Norm"])
        table = f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        tables.append(scrolling(f"Statistics, {title}", table))
    return f'<section><h2>Numbers</h2><p class="how">Norm is the length of all of a prompt\'s numbers as one vector.</p><div class="two">{"".join(tables)}</div></section>'
