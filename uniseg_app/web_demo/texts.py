"""What the page says, as small pieces of HTML. Whatever came from outside is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from uniseg_app import wording
from uniseg_app.answers import StructureRow
from uniseg_app.backend import Choice
from uniseg_app.job_log import JobRecord
from uniseg_app.jobs import Job
from uniseg_model import DISCLAIMER
from uniseg_model.cost import Cost
from uniseg_model.volume import Volume


def header(facts: Mapping[str, Any]) -> str:
    """Name, notice, weights with licence, device."""
    told = wording.weights_and_device(facts)
    return (
        f'<header class="us-head"><h1>UniSeg</h1><p class="us-notice" role="note"><strong>{escape(DISCLAIMER)}</strong></p>'
        f'<p class="us-facts">{"".join(f"<span>{escape(fact)}</span>" for fact in told)}</p></header>'
    )


def image_facts(volume: Volume, title: str) -> str:
    """Size, voxel size, orientation, warnings."""
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in volume.warnings)
    return f'<p class="us-image"><strong>{escape(title)}</strong><br>{escape(wording.size(volume))}</p>' + (
        f"<ul class=us-warnings>{lines}</ul>" if lines else ""
    )


def about_tasks(choices: Sequence[Choice]) -> str:
    """What each task looks for, on which images and grid, and whether it suits this image."""
    if not choices:
        return ""
    n = sum(choice.suits for choice in choices)
    head = "".join(f"<th scope=col>{name}" for name in ("Task", "Structures", "Image", "Grid, mm", "Suits this image"))
    lines = "".join(f"<tr>{_about_task(choice)}" for choice in choices)
    return (
        f'<details class="us-about-tasks"><summary>{n} of {len(choices)} tasks suit this image</summary>'
        f'<div class="us-scroll" tabindex="0" role="group" aria-label="All tasks"><table class="us-table"><thead><tr>{head}</thead>'
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _about_task(choice: Choice) -> str:
    task, why = choice.task, choice.refused or "; ".join(choice.doubts)
    z, y, x = task.spacing_mm
    cells = (", ".join(label.name for label in task.labels), ", ".join(task.modalities), f"{x:g} × {y:g} × {z:g}",
             "yes" if choice.suits else why)  # fmt: skip
    return f"<th scope=row>{escape(task.title)}" + "".join(f"<td>{escape(cell)}" for cell in cells)


def picture(drawn: np.ndarray, what: str) -> str:
    """A picture (h, w, 3) uint8 within the page itself."""
    from PIL import Image

    Image.fromarray(drawn).save(png := io.BytesIO(), "png")
    source = base64.b64encode(png.getvalue()).decode()
    return f'<img class="us-slice" alt="{escape(what)}" src="data:image/png;base64,{source}">'


def cost(told: Cost) -> str:
    """What a run will take."""
    return f'<p class="us-cost">{escape(wording.cost(told))}</p>'


def progress(job: Job[Any]) -> str:
    """How far a job is, as a bar and in words."""
    return progress_bar(*wording.progress(job))


def progress_bar(share: float | None, words: str) -> str:
    """A bar with words below. share: in [0, 1]; None where nothing is known."""
    value = "" if share is None else f' value="{share:.3f}"'
    return f'<div class="us-progress"><progress max="1"{value} aria-label="Progress"></progress><p role="status">{escape(words)}</p></div>'


def done(words: str) -> str:
    """What has happened, calmly."""
    return f'<p class="us-done" role="status">{escape(words)}</p>' if words else ""


def trouble(error: BaseException | None) -> str:
    """An error, beside the control that it is about."""
    message, hint = (escape(words) for words in wording.trouble(error, "The log of the server"))
    below = f"<br>{hint}" if hint else ""
    return f'<div class="us-trouble" role="alert"><strong>{message}</strong>{below}</div>'


_SURE = {"mean_probability": "Mean probability", "uncertain_share": "Uncertain voxels", "agreement": "Agreement, Dice"}


def structures(rows: Iterable[StructureRow], notes: Sequence[str] = ()) -> str:
    """The table of volumes and, as far as it was asked for, how sure each structure is."""
    rows = list(rows)
    if not rows:
        return ""
    asked = [name for name in _SURE if any(getattr(row, name) is not None for row in rows)]
    head = "".join(f"<th scope=col class=us-n>{escape(title)}" for title in ("Volume, ml", *(_SURE[name] for name in asked)))
    lines = "".join(f"<tr>{_structure(row, asked)}" for row in rows)
    told = "".join(f"<li>{escape(note)}" for note in notes)
    return (
        f'<div class="us-scroll" tabindex="0" role="group" aria-label="Volumes"><table class="us-table"><thead><tr>'
        f"<th scope=col>Structure{head}</thead><tbody>{lines}</tbody></table></div>"
        + (f"<ul class=us-warnings>{told}</ul>" if told else "")
    )


def _structure(row: StructureRow, asked: Sequence[str]) -> str:
    cut = f"<small>{wording.CUT}</small>" if row.cut_by_field_of_view else ""
    volume = f"{row.volume_ml:,.1f}" if row.volume_ml else "not found"
    numbers = (volume, *(_share(name, getattr(row, name)) for name in asked))
    name = f'<th scope=row><i style="background:{escape(row.color)}"></i>{escape(row.structure)}{cut}'
    return name + "".join(f"<td class=us-n>{number}" for number in numbers)


def _share(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0%}" if name == "uncertain_share" else f"{value:.2f}"


def lost(jobs: Sequence[JobRecord]) -> str:
    """What ended with the program, for those who come back."""
    if not jobs:
        return ""
    titles = "; ".join(dict.fromkeys(job.title for job in jobs))
    return f"The program ended last time while this ran: {titles}. Nothing of it was kept: drop the scan and segment it again."
