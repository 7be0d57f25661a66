"""Curves over the steps of a training, as SVG for a page: no library, no script.

Lines are drawn in a box that is stretched to the page's width; letters stand beside it and keep their size.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[int, float]]
BLUE, ORANGE = "#0072b2", "#d55e00"  # told apart by colour-blind eyes, and one of them is dashed
_LEFT, _RIGHT, _TOP, _BOTTOM = 11.0, 98.0, 6.0, 82.0  # of the box, in per cent of the picture
_HEIGHT = 210  # pixels


@dataclass(frozen=True)
class Series:
    """One line. dashes: as in SVG; empty for a full one."""

    name: str
    points: Points
    color: str = BLUE
    dashes: str = ""


def line_chart(title: str, series: Sequence[Series], highest: float | None = None) -> str:
    """A chart with a legend where there are several lines; a sentence where there is nothing to draw.

    highest: of the upright axis; that of the points when None.
    """
    drawn = [line for line in series if line.points]
    if not drawn:
        return f'<figure class="us-chart"><figcaption>{escape(title)}</figcaption><p class="us-done">Nothing yet.</p></figure>'
    last = max(1, *(step for line in drawn for step, _ in line.points))
    top = highest or nice_top(max(value for line in drawn for _, value in line.points))
    lines = "".join(_line(line, last, top) for line in drawn)
    words = f"{title}. " + " ".join(map(_in_words, drawn))
    svg = (
        f'<svg role="img" width="100%" height="{_HEIGHT}" aria-label="{escape(words)}">{_grid(last, top)}'
        f'<svg x="{_LEFT}%" y="{_TOP}%" width="{_RIGHT - _LEFT}%" height="{_BOTTOM - _TOP}%" viewBox="0 0 100 100" '
        f'preserveAspectRatio="none" overflow="visible">{lines}</svg></svg>'
    )
    legend = "".join(map(_legend, series)) if len(series) > 1 else ""
    return f'<figure class="us-chart"><figcaption>{escape(title)}{legend}</figcaption>{svg}</figure>'


def nice_top(value: float) -> float:
    """The end of an axis that shows a value: 1, 2 or 5 times a power of ten, or the same with a half more."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.5, 2, 3, 5, 7.5, 10) if factor * power >= value * (1 - 1e-9))


def as_csv(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A link to the numbers behind a chart."""
    text = "\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n"
    data = base64.b64encode(text.encode()).decode()
    return f'<p class="us-done">The numbers: <a download="{escape(name)}" href="data:text/csv;base64,{data}">{escape(name)}</a></p>'


def _line(line: Series, last: int, top: float) -> str:
    places = [(100 * step / last, 100 * (1 - min(1.0, max(0.0, value / top)))) for step, value in line.points]
    style = f'fill="none" stroke="{line.color}" stroke-width="2" vector-effect="non-scaling-stroke"'
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
    if len(places) == 1:  # a stroke of no length with round ends is a point
        places, style = [*places, *places], style.replace('"2"', '"7"') + ' stroke-linecap="round"'
    return f'<polyline {style}{dashes} points="{" ".join(f"{x:.2f},{y:.2f}" for x, y in places)}"/>'


def _grid(last: int, top: float) -> str:
    parts = []
    for share in (0, 0.5, 1):
        x, y = _LEFT + share * (_RIGHT - _LEFT), _BOTTOM - share * (_BOTTOM - _TOP)
        anchor = {0: "start", 0.5: "middle", 1: "end"}[share]
        parts += [
            f'<line x1="{_LEFT}%" x2="{_RIGHT}%" y1="{y:g}%" y2="{y:g}%"/>',
            f'<text x="{_LEFT - 1.5}%" y="{y:g}%" dy="0.35em" text-anchor="end">{share * top:.3g}</text>',
            f'<text x="{x:g}%" y="{_BOTTOM + 9}%" text-anchor="{anchor}">{"step " if share == 1 else ""}{round(share * last)}</text>',
        ]
    return "".join(parts)


def _legend(line: Series) -> str:
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
    mark = f'<svg width="26" height="8" aria-hidden="true"><line x1="0" x2="26" y1="4" y2="4" stroke="{line.color}" stroke-width="3"{dashes}/></svg>'
    return f'<span class="us-key">{mark}{escape(line.name)}</span>'


def _in_words(line: Series) -> str:
    (first, a), (last, b) = line.points[0], line.points[-1]
    return f"{line.name}: {a:.3g} at step {first}, {b:.3g} at step {last}."
