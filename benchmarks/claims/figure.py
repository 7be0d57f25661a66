"""Results as one SVG without any library: readable on light and dark pages, and shapes tell what colours tell.

Each point is a seed; a line through points, or between them, is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.claims.results import TITLES, Result, Spread, downstream, means_over_tasks, multitask

_WIDTH, _ROW, _LEFT, _RIGHT = 760, 34, 280, 730
_PLOT, _GAP = 150, 50  # height of a small plot, and what is around it
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .tick { font-size: 11px }
.grid { stroke: #8c959f; stroke-opacity: .35 } .mean { stroke: #24292f; stroke-width: 2 }
.uniseg, .pretrained { fill: #0072b2; stroke: #0072b2 } .rival, .scratch { fill: #d55e00; stroke: #d55e00 }
path.line { fill: none; stroke-width: 2 } .scratch.line { stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .mean { stroke: #e6edf3 }
.uniseg, .pretrained { fill: #56b4e9; stroke: #56b4e9 } .rival, .scratch { fill: #e69f00; stroke: #e69f00 } path.line { fill: none }
}</style>"""


def draw(results: Sequence[Result]) -> str:
    """The figure; parts without a result are left out."""
    scores = {name: list(means_over_tasks(by_seed).values()) for name, by_seed in multitask(results).items()}
    top, parts = 10, []
    if scores:
        parts.append(_strips(scores, top))
        top += 30 + _ROW * len(scores) + 40
    found = downstream(results)
    if found:
        parts.append(_curves(found, top))
        top += 30 + _PLOT + _GAP
    described = escape("; ".join(f"{TITLES[name]}: mean Dice {Spread.of(values)}" for name, values in scores.items()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" aria-label="{described}">'
        f"{_STYLE}{''.join(parts)}</svg>\n"
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _point(x: float, y: float, kind: str) -> str:
    """UniSeg's points are round, the others' square."""
    if kind in ("uniseg", "pretrained"):
        return f'<circle class="{kind}" fill-opacity=".6" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    return f'<rect class="{kind}" fill-opacity=".6" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'


def _strips(scores: Mapping[str, Sequence[float]], top: int) -> str:
    """A row for each network, Dice from left to right."""
    bottom = top + 24 + _ROW * len(scores)
    parts = [_text(10, top + 12, "One network for eleven tasks: mean Dice of each seed", "title")]
    for tenth in range(0, 11, 2):
        x = _across(tenth / 10)
        parts += [_line(x, top + 24, x, bottom, "grid"), _text(x, bottom + 16, f"{tenth / 10:.1f}", "tick", "middle")]
    for row, (name, values) in enumerate(scores.items()):
        y = top + 24 + _ROW * (row + 0.5)
        mean = _across(Spread.of(values).mean)
        parts += [_text(10, y + 4, TITLES[name]), _line(mean, y - 11, mean, y + 11, "mean")]
        parts += [_point(_across(value), y, "uniseg" if name == "uniseg" else "rival") for value in values]
    return "".join(parts)


def _across(dice: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * dice


def _curves(found: Mapping[tuple[str, int], Mapping[str, Mapping[int, float]]], top: int) -> str:
    """A small plot for each new structure, training cases from left to right, Dice upwards."""
    keys = list(dict.fromkeys(key for key, _ in found))
    parts = [_text(10, top + 12, "A new structure from few cases: Dice of each seed", "title")]
    parts += [_point(420, top + 8, "pretrained"), _text(432, top + 12, "trained weights")]
    parts += [_point(560, top + 8, "scratch"), _text(572, top + 12, "from scratch")]
    width = (_WIDTH - 20) / len(keys)
    for i, key in enumerate(keys):
        counts = [n for k, n in found if k == key]
        parts.append(_small_plot(key, {n: found[key, n] for n in counts}, 10 + i * width, width, top + 34))
    return "".join(parts)


def _small_plot(
    name: str, by_count: Mapping[int, Mapping[str, Mapping[int, float]]], left: float, width: float, top: float
) -> str:
    inner, right, bottom = left + 36, left + width - 14, top + _PLOT
    parts = [_text(inner, top - 4, name, "tick")]
    for tenth in range(0, 11, 2):
        y = bottom - _PLOT * tenth / 10
        parts += [_line(inner, y, right, y, "grid"), _text(inner - 6, y + 4, f"{tenth / 10:.1f}", "tick", "end")]
    places = {n: inner + (right - inner) * (i + 0.5) / len(by_count) for i, n in enumerate(by_count)}
    parts += [_text(x, bottom + 16, f"{n} cases", "tick", "middle") for n, x in places.items()]
    for start in ("scratch", "pretrained"):
        seeds = {places[n]: list(starts[start].values()) for n, starts in by_count.items() if start in starts}
        path = " L".join(f"{x:.1f} {bottom - _PLOT * Spread.of(values).mean:.1f}" for x, values in seeds.items())
        parts.append(f'<path class="{start} line" d="M{path}"/>' if path else "")
        parts += [_point(x, bottom - _PLOT * value, start) for x, values in seeds.items() for value in values]
    return "".join(parts)
