"""Box plots as SVG for a page: no library, no script. Places along the scale are percentages of the width, so a plot is
as wide as its page while its letters and points keep their size.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from uniseg_model.evaluation.metrics import Metric
from uniseg_model.evaluation.scores import Evaluation, Spread

_ROW = 76  # pixels for one structure
_TOP, _BOTTOM = 22, 50  # of its box, below its name
_AXIS = 30  # pixels below the last row
_SPREAD = 9  # how far points stray from the middle of a box, in pixels, so that equal values can be told apart
_LEFT, _RIGHT, _RIGHT_OF_FINITE, _INFINITE = 2.0, 98.0, 88.0, 96.0  # per cent of the width
_N_STEPS = 5  # about as many from tick to tick


@dataclass(frozen=True)
class Scale:
    """From values to places: even ticks from the lowest to the highest, and a place for infinity when there is one."""

    ticks: Sequence[float]
    decimals: int
    has_infinite: bool

    @classmethod
    def over(cls, values: Sequence[float], landmark: float) -> Scale:
        """A scale that shows all values and the landmark, with ticks at 1, 2 or 5 times a power of ten."""
        shown = [landmark, *(value for value in values if math.isfinite(value))]
        low, high = min(shown), max(shown)
        raw = (high - low) / _N_STEPS or 0.1
        power = math.floor(math.log10(raw))
        factor = next(factor for factor in (1, 2, 5, 10) if factor * 10.0**power >= raw * (1 - 1e-9))
        step = factor * 10.0**power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if first == last:  # all perfect: no Dice is above 1, and no distance below 0
            first, last = (first - 1, last) if landmark else (first, last + 1)
        ticks = [number * step for number in range(first, last + 1)]
        return cls(ticks, max(0, -power - (factor == 10)), any(map(math.isinf, values)))

    def place(self, value: float) -> float:
        """Per cent of the width, from the left."""
        if math.isinf(value):
            return _INFINITE
        low, high, right = self.ticks[0], self.ticks[-1], _RIGHT_OF_FINITE if self.has_infinite else _RIGHT
        return _LEFT + (right - _LEFT) * (value - low) / (high - low)


def box_plot(evaluation: Evaluation, metric: Metric) -> str:
    """One metric as an SVG element: for each structure a box, every case as a point that names it, and the mean's interval.

    Without any number in all cases there is nothing to draw: a sentence that says so.
    """
    values = {label.name: evaluation.values_of(label.name, metric.name) for label in evaluation.task.labels}
    numbers = [value for by_case in values.values() for value in by_case.values() if not math.isnan(value)]
    if not numbers:
        return "<p>No case has a number here.</p>"
    scale = Scale.over(numbers, metric.landmark)
    rows = [_row(name, by_case, scale, metric, number * _ROW) for number, (name, by_case) in enumerate(values.items())]
    described = f"Box plot, {evaluation.title_of(metric)}. " + " ".join(map(_in_words, values, values.values()))
    return (
        f'<svg class="plot" role="img" width="100%" height="{_ROW * len(rows) + _AXIS}" aria-label="{escape(described)}">'
        f"{''.join(rows)}{_tick_labels(scale, _ROW * len(rows) + 16)}</svg>"
    )


def _in_words(name: str, by_case: Mapping[str, float]) -> str:
    finite = [value for value in by_case.values() if math.isfinite(value)]
    n_infinite = sum(map(math.isinf, by_case.values()))
    numbers = f"median {statistics.median(finite):.3g}, from {min(finite):.3g} to {max(finite):.3g}" if finite else "no number"
    return f"{name}: {len(finite)} cases, {numbers}{f', {n_infinite} infinite' if n_infinite else ''}."


def _grid(scale: Scale, landmark: float, top: int, bottom: int) -> str:
    """A line for each tick of one row, below the structure's name."""
    kinds = {tick: "perfect" if math.isclose(tick, landmark, abs_tol=1e-9) else "tick" for tick in scale.ticks}
    if scale.has_infinite:
        kinds[math.inf] = "beyond"
    return "".join(_vertical(scale.place(value), top, bottom, kind) for value, kind in kinds.items())


def _tick_labels(scale: Scale, y: int) -> str:
    anchors = ["start", *["middle"] * (len(scale.ticks) - 2), "middle" if scale.has_infinite else "end"]
    labels = [(tick, anchor, f"{tick:.{scale.decimals}f}") for tick, anchor in zip(scale.ticks, anchors, strict=True)]
    if scale.has_infinite:
        labels.append((math.inf, "middle", "∞"))
    return "".join(
        f'<text x="{scale.place(value):.2f}%" y="{y}" text-anchor="{anchor}">{text}</text>' for value, anchor, text in labels
    )


def _row(name: str, by_case: Mapping[str, float], scale: Scale, metric: Metric, top: int) -> str:
    finite = [value for value in by_case.values() if math.isfinite(value)]
    heading = f'<text class="name" x="0" y="{top + 14}">{escape(name)}</text>'
    grid = _grid(scale, metric.landmark, top + _TOP - 2, top + _ROW)
    box = _box(finite, scale, top) if finite else ""
    return f"<g>{heading}{grid}{box}{_points(by_case, scale, top, metric.decimals)}</g>"


def _box(finite: Sequence[float], scale: Scale, top: int) -> str:
    """Quartiles and median, whiskers to the least and the greatest value, and below it the mean with its interval."""
    least, low, middle, high, greatest = (scale.place(value) for value in np.percentile(finite, [0, 25, 50, 75, 100]))
    spread, centre, below = Spread.of(finite), top + (_TOP + _BOTTOM) / 2, top + _BOTTOM + 12
    mean = (
        f'<svg class="over" x="{scale.place(spread.mean):.2f}%" y="{below}"><path class="mean" d="M-5 0L0-5L5 0L0 5Z"/></svg>'
    )
    interval = ""
    if spread.interval:
        interval = _horizontal(scale.place(spread.interval[0]), scale.place(spread.interval[1]), below, "interval")
    return (
        _horizontal(least, low, centre, "whisker") + _horizontal(high, greatest, centre, "whisker")
        + f'<rect class="box" x="{low:.2f}%" y="{top + _TOP}" width="{high - low:.2f}%" height="{_BOTTOM - _TOP}"/>'
        + _vertical(middle, top + _TOP, top + _BOTTOM, "median")
        + interval
        + mean
    )  # fmt: skip


def _points(by_case: Mapping[str, float], scale: Scale, top: int, decimals: int) -> str:
    strays = np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, len(by_case))
    centre = top + (_TOP + _BOTTOM) / 2
    return "".join(
        f'<circle cx="{scale.place(value):.2f}%" cy="{centre + stray:.1f}" r="4">'
        f"<title>{escape(case)}: {'infinite' if math.isinf(value) else f'{value:.{decimals}f}'}</title></circle>"
        for (case, value), stray in zip(by_case.items(), strays, strict=True)
        if not math.isnan(value)
    )


def _vertical(place: float, top: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{place:.2f}%" x2="{place:.2f}%" y1="{top}" y2="{bottom}"/>'


def _horizontal(left: float, right: float, y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{left:.2f}%" x2="{right:.2f}%" y1="{y}" y2="{y}"/>'
