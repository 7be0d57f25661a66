"""An evaluation as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.

Every name that comes from outside is escaped, and the page's own policy forbids scripts and connections. The same
evaluation gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path

from uniseg_model.evaluation.bootstrap import INTERVAL
from uniseg_model.evaluation.charts import box_plot
from uniseg_model.evaluation.metrics import METRICS, Metric
from uniseg_model.evaluation.pictures import PICTURE_SIDE, encode_png
from uniseg_model.evaluation.scores import Evaluation, Spread, number_in_words
from uniseg_model.evaluation.worst import WorstCase, draw_worst
from uniseg_model.files import whole_file
from uniseg_model.page import header_cells, html_page, scrolling, terms

_OPEN_ROWS = 30  # a longer table of cases begins closed
_HOW_TO_READ = (
    "Box: quartiles and median. Whiskers: least and greatest. Points: single cases, named under the pointer. "
    "Diamond: mean with its 95 % interval. Dashed line: perfect. ∞: found or missed altogether."
)
_LEGEND = (("both", "in both"), ("missed", "only in the reference (striped)"), ("surplus", "only in the prediction"))


def write_html(path: Path, evaluation: Evaluation, images: Path | None = None) -> None:
    """Write the page, whole or not at all.

    images: a folder in which ``CASE_0000.nii.gz`` is the first channel of a case, to lie behind the worst cases.

    Raises:
        ImageError: a label map that was compared before cannot be read any more.
        OutputError: the page cannot be written.
    """
    page = render_html(evaluation, draw_worst(evaluation, images))
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # a file name may be no valid text


def render_html(evaluation: Evaluation, worst: Mapping[str, list[WorstCase]]) -> str:
    """The page. worst: the pictures of each structure's worst cases."""
    sections = (_facts, _gaps, _means, _plots, lambda _: _pictures(evaluation, worst), _cases, _definitions)
    body = "\n".join(section(evaluation) for section in sections)
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return html_page(f"Evaluation: {evaluation.task.title}", body, style)


def _facts(evaluation: Evaluation) -> str:
    n_references = len(evaluation.cases) + len(evaluation.missing) + len(evaluation.failed)
    facts = {
        "Predictions": str(evaluation.predictions),
        "References": str(evaluation.references),
        "Compared": f"{len(evaluation.cases)} of {n_references} references",
        "Structures": ", ".join(label.name for label in evaluation.task.labels),
    }
    return f'<dl class="facts">{terms(facts)}</dl>'


def _gaps(evaluation: Evaluation) -> str:
    """What is in no number of the page; empty when nothing is."""
    gaps = [f"{case}: {reason}" for case, reason in evaluation.failed.items()]
    gaps += [f"{case}: no prediction" for case in evaluation.missing]
    gaps += [f"{case}: no reference" for case in evaluation.surplus]
    items = "".join(f"<li>{escape(gap)}</li>" for gap in gaps)
    return f'<div class="warning" role="note"><strong>In none of these numbers</strong><ul>{items}</ul></div>' if gaps else ""


def _means(evaluation: Evaluation) -> str:
    head = header_cells(["Metric", "Mean", "95 % interval", "Median", "Cases"])
    groups = []
    for structure, spreads in evaluation.summary().items():
        rows = "".join(_mean_row(evaluation.title_of(metric), metric, spreads[metric.name]) for metric in METRICS)
        groups.append(f'<tbody><tr><th scope="rowgroup" colspan="5">{escape(structure)}</th></tr>{rows}</tbody>')
    caption = "Cases: those with a finite number; the others are in no mean."
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>{''.join(groups)}</table>"
    return f'<section><h2>Means over cases</h2>{scrolling("Means over cases", table)}<p class="quiet">{escape(INTERVAL)}</p></section>'


def _mean_row(title: str, metric: Metric, spread: Spread) -> str:
    cells = spread.in_words(metric.decimals)
    return f'<tr><th scope="row">{escape(title)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _plots(evaluation: Evaluation) -> str:
    figures = "".join(
        f"<figure><h3>{escape(evaluation.title_of(metric))}</h3>{box_plot(evaluation, metric)}</figure>" for metric in METRICS
    )
    return f'<section><h2>Every case</h2><p class="quiet">{_HOW_TO_READ}</p><div class="plots">{figures}</div></section>'


def _pictures(evaluation: Evaluation, worst: Mapping[str, list[WorstCase]]) -> str:
    legend = "".join(f'<li><span class="swatch {kind}"></span>{meaning}</li>' for kind, meaning in _LEGEND)
    groups = []
    for structure, cases in worst.items():
        figures = "".join(map(_picture, cases)) or "<p>No case shows a difference.</p>"
        groups.append(f'<h3>{escape(structure)}</h3><div class="pictures">{figures}</div>')
    return (
        '<section><h2>Worst cases</h2><p class="quiet">The lowest Dice of each structure, in the axial slice with the largest '
        "difference, cut to the structure. The front is up, the patient's right is on the left. "
        f"Where there is an image behind, it is {escape(evaluation.task.modalities[0])}.</p>"
        f'<ul class="legend">{legend}</ul>{"".join(groups)}</section>'
    )


def _picture(worst: WorstCase) -> str:
    picture, case, dice = worst.picture, worst.case.case, worst.case.structures[worst.structure].dice
    place = f"slice {picture.slice_number} of {picture.n_slices}"
    alt = (
        f"{worst.structure} of case {case}, axial {place}: {picture.n_both} voxels in both, "
        f"{picture.n_missed} only in the reference, {picture.n_surplus} only in the prediction"
    )
    note = f" Without image: {worst.note}." if worst.note else ""
    source = base64.b64encode(encode_png(picture.pixels)).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" width="{PICTURE_SIDE}" height="{PICTURE_SIDE}" src="data:image/png;base64,{source}">'
        f"<figcaption><strong>{escape(case)}</strong>: Dice {dice:.3f}. S{place[1:]}, {picture.side_mm:.0f} mm wide: "
        f"{picture.n_missed} voxels missed, {picture.n_surplus} too many.{escape(note)}</figcaption></figure>"
    )


def _cases(evaluation: Evaluation) -> str:
    titles = [evaluation.title_of(metric) for metric in METRICS]
    numbers = "".join(
        f'<th scope="col" class="number">{escape(name)}</th>' for name in [*titles, "Reference (ml)", "Prediction (ml)"]
    )
    rows = [
        f'<tr><th scope="row">{escape(case.case)}</th><td>{escape(name)}</td>'
        + "".join(f"<td>{number_in_words(getattr(scores, metric.name), metric.decimals)}</td>" for metric in METRICS)
        + f"<td>{scores.reference_ml:.2f}</td><td>{scores.prediction_ml:.2f}</td></tr>"
        for case in evaluation.cases
        for name, scores in case.structures.items()
    ]
    table = f'<table class="cases"><thead><tr>{header_cells(["Case", "Structure"])}{numbers}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    is_open = " open" if len(rows) <= _OPEN_ROWS else ""
    return f"<section><h2>All scores</h2><details{is_open}><summary>{len(rows)} rows</summary>{scrolling('All scores', table)}</details></section>"


def _definitions(evaluation: Evaluation) -> str:
    meanings = {evaluation.title_of(metric): evaluation.definitions[metric.name] for metric in METRICS}
    return f'<section><h2>What the numbers mean</h2><dl class="definitions">{terms(meanings)}</dl></section>'
