"""What the Training tab says, as small pieces of HTML. Whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from uniseg_app import training_words
from uniseg_app.training_runs import Comparison, RunInfo
from uniseg_app.training_words import Curve, FindingRow
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.training_chart import BLUE, ORANGE, Series, as_csv, line_chart
from uniseg_model.doctor.findings import Report
from uniseg_model.tasks import Label, Task

_MARKS = {"Error": "✕", "Warning": "!", "Note": "i"}  # beside the word, never colour alone
_DASHES = ("7 3", "2 3", "9 3 2 3")
MOST_NAMED = 3  # structures that a chart shows beside their mean


def heading(number: int, words: str) -> str:
    """One of the steps."""
    return f'<h2 class="us-step">{number} {escape(words)}</h2>'


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table whose first column heads its rows. A cell's second line is smaller. numbers: how many columns at the end are numbers."""
    n_text = len(head) - numbers
    heads = "".join(f"<th scope=col{'' if i < n_text else ' class=us-n'}>{escape(word)}" for i, word in enumerate(head))
    lines = "".join(_row(row, n_text) for row in rows)
    return (
        f'<div class="us-scroll" tabindex="0" role="group" aria-label="{escape(name)}"><table class="us-table"><thead><tr>{heads}</thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _row(row: Sequence[str], n_text: int) -> str:
    first, *others = row
    cells = "".join(f"<td{'' if i < n_text else ' class=us-n'}>{_cell(cell)}" for i, cell in enumerate(others, start=1))
    return f"<tr><th scope=row>{_cell(first)}{cells}"


def _cell(text: str) -> str:
    line, *more = text.split("\n")
    return escape(line) + "".join(f"<small>{escape(part)}</small>" for part in more)


# Data --------------------------------------------------------------------------------------------------------------------


def report(found: Report, title: str) -> str:
    """The doctor's table."""
    rows = training_words.finding_rows(found)
    outcome = f"<p class=us-image><strong>{escape(title)}</strong><br>{escape(found.sentence())}</p>"
    if not rows:
        return outcome
    lines = [(f"{_MARKS[row.severity]} {row.severity}", row.case, f"{row.what}\n{_way_out(row)}") for row in rows]
    return outcome + table("What is wrong", ("Severity", "Case", "What, and how to mend it"), lines)


def _way_out(row: FindingRow) -> str:
    return f"{row.how} A mended copy does it: {row.fix}." if row.fix else row.how


def mending(found: Report) -> str:
    """What a mended copy would change."""
    lines = "".join(f"<li>{escape(line)}" for line in training_words.mending(found))
    return (
        f"<p class=us-done>A copy would change, and leave the data set as it is:</p><ul class=us-warnings>{lines}</ul>"
        if lines
        else ""
    )


def structures(labels: Sequence[Label]) -> str:
    """The structures as they will be drawn."""
    parts = "".join(
        f'<span class="us-key"><i style="background:{escape(label.color)}"></i>{value} {escape(label.name)}</span>'
        for value, label in enumerate(labels, start=1)
    )
    return f'<p class="us-swatches">{parts}</p>'


def prices(found: Mapping[str, Mapping[str, Any] | str], chosen: str) -> str:
    """What each depth takes, the chosen one in full; of one that cannot be, why."""
    lines = [
        (training_words.DEPTH_TITLES[depth], price if isinstance(price, str) else training_words.price_tag(price))
        for depth, price in found.items()
    ]
    told = table("Prices", ("Depth", "What it takes"), lines) if len(lines) > 1 else ""
    price = found.get(chosen)
    if price is None or isinstance(price, str):
        return told
    return told + terms(training_words.price_rows(price))


def terms(rows: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are."""
    return f'<dl class="us-terms">{"".join(f"<dt>{escape(term)}<dd>{escape(words)}" for term, words in rows)}</dl>'


# Runs --------------------------------------------------------------------------------------------------------------------


def run(info: RunInfo, titles: Mapping[str, str], price: Mapping[str, Any] | None) -> str:
    """Which run, how it stands, how far it is."""
    words = training_words.state_sentence(info, titles)
    told = (
        f"<p class=us-done>It was said to take {escape(training_words.price_tag(price))}.</p>"
        if price and info.is_active
        else ""
    )
    hint = f"<br>{escape(info.hint)}" if info.hint else ""
    title = f"<p class=us-image><strong>{escape(info.title)}</strong> ({escape(training_words.DEPTH_TITLES[info.depth])})</p>"
    if info.state in ("failed", "interrupted"):
        return f'{title}<div class="us-trouble" role="alert"><strong>{escape(words)}</strong>{hint}</div>'
    if info.is_active:
        return title + texts.progress_bar(training_words.share(info), words) + told
    tasks = training_words.before_and_after(info)
    return f"{title}{texts.done(words)}{table('Dice of each task', ('Task', 'Dice before', 'Dice after'), tasks, numbers=2) if tasks else ''}"


def curves(curve: Curve) -> str:
    """Loss and validation Dice by step, and the numbers to take away."""
    charts = line_chart("Training loss", [Series("Loss", curve.loss, ORANGE)])
    charts += line_chart("Validation Dice", [Series("Mean", curve.dice, BLUE), *_named(curve)], 1.0)
    rows = [*(("loss", step, value) for step, value in curve.loss), *(("mean Dice", step, value) for step, value in curve.dice)]
    rows += [
        (f"Dice of {name}".replace(",", " "), step, value)
        for name, points in curve.structures.items()
        for step, value in points
    ]
    return f'<div class="us-charts">{charts}</div>{as_csv("curve.csv", ("what", "step", "value"), rows) if rows else ""}'


def _named(curve: Curve) -> list[Series]:
    """The structures, where there are several and they can be told apart."""
    if not 1 < len(curve.structures) <= MOST_NAMED:
        return []
    return [
        Series(name, points, "currentColor", dashes)
        for (name, points), dashes in zip(curve.structures.items(), _DASHES, strict=False)
    ]


def history(runs: Sequence[RunInfo]) -> str:
    """All runs, the newest first."""
    rows = [(row.title, row.begun, row.depth, row.state, row.dice, row.note) for row in training_words.history_rows(runs)]
    return table("All runs", ("Run", "Begun", "Depth", "State", "Dice", "Note"), rows) if rows else texts.done("No run yet.")


def comparison(found: Comparison, first: str, second: str) -> str:
    """Two runs side by side: their Dice, and what was asked for differently."""
    a = [(step, value) for step, value, _ in found.rows if value is not None]
    b = [(step, value) for step, _, value in found.rows if value is not None]
    chart = line_chart("Validation Dice", [Series(first, a, BLUE), Series(second, b, ORANGE, "7 4")], 1.0)
    differs = training_words.difference_rows(found)
    asked = table("Differences", ("Asked for", first, second), differs) if differs else texts.done("The same was asked for.")
    head = ("Step", first, second)
    return f"{chart}{asked}<details><summary>Step by step</summary>{table('Dice', head, training_words.comparison_rows(found), numbers=2)}</details>"


def installed(task: Task) -> str:
    """Something new can be asked for."""
    return texts.done(f"“{task.title}” is in the list of the Segment tab now.")
