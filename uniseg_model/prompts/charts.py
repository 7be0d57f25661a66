"""The pictures of the prompt report: a matrix with its tree, points in a plane, and maps as stacks of slices.

A matrix is a table, so it is read without any script; a stack shows its middle slice without one. The script adds the slider,
and the value under the pointer or the keyboard's cursor.

Letters: T tasks; z, y, x coarse volume; s, h, w the same as slices, rows and columns of a radiologist's view.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from html import escape

import numpy as np

from uniseg_model.evaluation.pictures import Rgb, axial, axial_axes, encode_png
from uniseg_model.prompts.colors import DIVERGING, hex_of, ink_on, painted
from uniseg_model.prompts.similarity import Plane, Tree

_TREE_HEIGHT = 100.0  # in its own units
_PLANE_SIDE = 320
_INNER = 0.62  # of the plane's side, so that names have room
_NAME_HEIGHT, _NAME_WIDTH = 13, 80


@dataclass(frozen=True, eq=False)
class View:
    """A volume's axes as a radiologist looks at it: slices, rows from front to back, columns from right to left.

    affine: (s, h, w, 1) to RAS+ mm.
    """

    affine: np.ndarray = field(repr=False)
    given: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, affine: np.ndarray, shape: tuple[int, ...]) -> View:
        """That of a volume (z, y, x) with an affine (z, y, x, 1) to RAS+ mm."""
        turned, corner = np.eye(4), np.zeros(3)
        for i, (axis, direction) in enumerate(axial_axes(affine)):
            turned[:, i] = affine[:, axis] * direction
            corner[axis] = 0 if direction > 0 else shape[axis] - 1
        turned[:, 3] = affine @ np.array([*corner, 1.0])
        return cls(turned, affine)

    def slices(self, values: np.ndarray) -> np.ndarray:
        """Values (z, y, x) as (s, h, w)."""
        return axial(values, self.given)

    @property
    def aspect(self) -> tuple[float, float]:
        """Lengths in mm of the steps along w and h."""
        _, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y)


def matrix_table(names: list[str], matrix: np.ndarray, tree: Tree, title: str) -> str:
    """A similarity matrix as a coloured table, its tasks in the tree's order and the tree above."""
    order, n = list(tree.order), len(tree.order)
    rgb = painted(matrix, -1, 1, DIVERGING)
    rows = []
    for i in order:
        cells = "".join(_cell(names[i], names[j], float(matrix[i, j]), rgb[i, j]) for j in order)
        rows.append(f'<tr><th scope="row">{escape(names[i])}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col"><span>{escape(names[j])}</span></th>' for j in order)
    top = f'<tr aria-hidden="true"><td></td><td colspan="{n}" class="tree">{_tree(tree)}</td></tr>' if n > 1 else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0"><table class="matrix" style="--n:{n}">'
        f"<thead>{top}<tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<output class="reading"></output>'
    )


def _cell(a: str, b: str, value: float, rgb: Rgb) -> str:
    said = f"{a} and {b}: {value:.3f}"
    return f'<td data-said="{escape(said)}" title="{escape(said)}" style="background:{hex_of(rgb)};color:{ink_on(rgb)}">{value:.2f}</td>'


def _tree(tree: Tree) -> str:
    """Joined where the average distance of two groups (1 - similarity) is as high as the line."""
    branches = tree.branches()
    highest = max(height for branch in branches for _, height in branch) or 1.0
    lines = "".join(
        f'<polyline points="{" ".join(f"{place + 0.5:.3f},{_TREE_HEIGHT * (1 - height / highest * 0.96):.2f}" for place, height in branch)}"/>'
        for branch in branches
    )
    return f'<svg viewBox="0 0 {len(tree.order)} {_TREE_HEIGHT:g}" preserveAspectRatio="none" width="100%" height="64">{lines}</svg>'


def plane_plot(names: list[str], plane: Plane, title: str) -> str:
    """Points with their names; both axes in one scale."""
    reach = float(np.abs(plane.points).max()) or 1.0
    places = (plane.points * [1, -1] / reach * _INNER + 1) / 2 * _PLANE_SIDE
    marks = "".join(map(_mark, names, places, plane.points, _name_heights(places)))
    middle, side = _PLANE_SIDE / 2, _PLANE_SIDE
    grid = f'<line class="tick" x1="0" x2="{side}" y1="{middle}" y2="{middle}"/><line class="tick" y1="0" y2="{side}" x1="{middle}" x2="{middle}"/>'
    return f'<svg class="plot plane" role="img" viewBox="0 0 {side} {side}" aria-label="{escape(title)}">{grid}{marks}</svg>'


def _name_heights(places: np.ndarray) -> list[float]:
    """Where the names of points (T, 2) stand, moved down where they would lie on another's."""
    taken: dict[int, float] = {}
    for i in np.argsort(places[:, 1]):
        x, y = places[i]
        while any(abs(y - other) < _NAME_HEIGHT and abs(x - places[j, 0]) < _NAME_WIDTH for j, other in taken.items()):
            y += 1
        taken[int(i)] = float(y)
    return [taken[i] for i in range(len(places))]


def _mark(name: str, place: np.ndarray, point: np.ndarray, height: float) -> str:
    x, y = place
    return (
        f'<g><title>{escape(name)}: {point[0]:.2f}, {point[1]:.2f}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        f'<text x="{x + 7:.1f}" y="{height + 4:.1f}">{escape(name)}</text></g>'
    )


def stack(name: str, pixels: Rgb, aspect: tuple[float, float], values: np.ndarray | None = None) -> str:
    """Slices (s, h, w, 3) as one figure; the middle one is shown. values: (s, h, w) of the cells, to be read out.

    aspect: lengths of a pixel along w and h.
    """
    n, height, width, _ = pixels.shape
    source = base64.b64encode(encode_png(pixels.reshape(n * height, width, 3))).decode("ascii")
    ratio = f"{width * aspect[0]:.4g} / {height * aspect[1]:.4g}"
    role, data, label = "img", "", f"{name}, {n} slices"
    if values is not None:
        rounded = [float(f"{value:.3g}") if np.isfinite(value) else None for value in values.ravel()]
        data = f" tabindex=\"0\" data-shape='{json.dumps(values.shape)}' data-values='{json.dumps(rounded, separators=(',', ':'))}'"
        role, label = "application", f"{label}: arrow keys read the cells, page keys change the slice"
    return (
        f'<figure class="stack"><figcaption>{escape(name)}</figcaption>'
        f'<div class="slices" role="{role}" aria-label="{escape(label)}" style="--slices:{n};--shown:{n // 2};aspect-ratio:{ratio}"{data}>'
        f'<img alt="" src="data:image/png;base64,{source}"><i hidden></i></div></figure>'
    )


def color_bar(low: float, high: float, scale: tuple[str, ...], said: str) -> str:
    """What the colours mean."""
    return (
        f'<p class="bar"><span>{low:.3g}</span><span class="ramp" style="background:linear-gradient(to right,{",".join(scale)})"></span>'
        f"<span>{high:.3g}</span> <span>{escape(said)}</span></p>"
    )
