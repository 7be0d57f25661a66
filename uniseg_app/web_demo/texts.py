"""What the page says, as small pieces of HTML. Whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from uniseg_app.answers import StructureRow
from uniseg_app.backend import Choice
from uniseg_app.jobs import Job, State
from uniseg_model import DISCLAIMER
from uniseg_model.cost import Cost
from uniseg_model.errors import UniSegError
from uniseg_model.tasks import Task
from uniseg_model.volume import Volume

_STAGES = {
    "wait": "Waiting", "start": "Starting", "load weights": "Loading the weights", "prepare": "Preparing the image",
    "predict": "Segmenting", "restore": "Bringing labels back to the image's grid",
}  # fmt: skip
_KINDS = {
    "demo": "demo weights, trained on synthetic phantoms only: of no use on patients",
    "official": "the UniSeg authors' weights",
    "trained": "weights trained by a user",
    "untrained": "untrained weights: answers are noise",
}


def header(facts: Mapping[str, Any]) -> str:
    """Name, notice, weights with licence, device."""
    kind = _KINDS.get(str(facts["kind"]), str(facts["kind"]))
    return (
        f'<header class="us-head"><h1>UniSeg</h1><p class="us-notice" role="note"><strong>{escape(DISCLAIMER)}</strong></p>'
        f'<p class="us-facts"><span>{escape(str(facts["name"]))}: {escape(kind)}</span>'
        f"<span>Licence: {escape(str(facts['licence']))}</span><span>Device: {escape(str(facts['device']))}</span></p></header>"
    )


def image_facts(volume: Volume, title: str) -> str:
    """Size, voxel size, orientation, warnings."""
    z, y, x = volume.shape
    lengths = " × ".join(f"{mm:.3g}" for mm in reversed(volume.spacing_mm))
    channels = f", {volume.n_channels} channels" if volume.n_channels > 1 else ""
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in volume.warnings)
    return (
        f'<p class="us-image"><strong>{escape(title)}</strong><br>{x} × {y} × {z} voxels of {lengths} mm{channels}, '
        f"{escape(volume.orientation)}</p>{f'<ul class=us-warnings>{lines}</ul>' if lines else ''}"
    )


def tasks(chosen: Sequence[Task]) -> str:
    """What the ticked tasks look for, and on which grid."""
    lines = "".join(f"<li>{_task(task)}</li>" for task in chosen)
    return f'<ul class="us-chosen">{lines}</ul>' if chosen else ""


def _task(task: Task) -> str:
    names = ", ".join(escape(label.name) for label in task.labels)
    z, y, x = task.spacing_mm
    return f"{names} <small>({escape(', '.join(task.modalities))} at {x:g} × {y:g} × {z:g} mm)</small>"


def not_offered(choices: Sequence[Choice]) -> str:
    """Tasks that do not suit the image, with the reasons."""
    rows = [(c.task.title, c.refused or "; ".join(c.doubts)) for c in choices if not c.suits]
    if not rows:
        return ""
    items = "".join(f"<li><strong>{escape(title)}</strong>: {escape(reason)}</li>" for title, reason in rows)
    return f'<details class="us-others"><summary>{len(rows)} tasks do not suit this image</summary><ul>{items}</ul></details>'


def cost(told: Cost) -> str:
    """What a run will take."""
    time = "" if told.seconds is None else f", about {duration(told.seconds)}"
    free = "" if told.free_gb is None else f" of {told.free_gb:.1f} GB free"
    return f'<p class="us-cost">{told.windows} windows{time}, up to {told.memory_gb:.1f} GB{free}</p>'


def duration(seconds: float) -> str:
    """Seconds in words: ``8 s``, ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def progress(job: Job[Any]) -> str:
    """How far a job is, as a bar and in words."""
    now = job.progress
    if job.state is State.QUEUED:
        n = job.ahead()
        return _bar(None, f"Waiting for {n} other {'run' if n == 1 else 'runs'}" if n else "Waiting")
    share = now.done / now.total if now.total else None
    words = _STAGES.get(now.stage, now.stage)
    if now.stage == "predict":
        words += f": window {min(int(now.done) + 1, now.total)} of {now.total}"
    if job.left_s is not None and now.stage == "predict":
        words += f", about {duration(job.left_s)} left"
    return _bar(share, words)


def _bar(share: float | None, words: str) -> str:
    value = "" if share is None else f' value="{share:.3f}"'
    return f'<div class="us-progress"><progress max="1"{value} aria-label="Progress"></progress><p role="status">{escape(words)}</p></div>'


def done(words: str) -> str:
    """What has happened, calmly."""
    return f'<p class="us-done" role="status">{escape(words)}</p>' if words else ""


def trouble(error: BaseException) -> str:
    """An error, beside the control that it is about."""
    if isinstance(error, UniSegError):
        hint = f"<br>{escape(error.hint)}" if error.hint else ""
        return f'<div class="us-trouble" role="alert"><strong>{escape(error.message)}</strong>{hint}</div>'
    return (
        f'<div class="us-trouble" role="alert"><strong>Something went wrong inside: {escape(type(error).__name__)}</strong>'
        "<br>The log of the server says more. You can go on.</div>"
    )


def structures(rows: Iterable[StructureRow], notes: Sequence[str] = ()) -> str:
    """The table of volumes and the confidence of each structure."""
    rows = list(rows)
    if not rows:
        return ""
    is_sure = any(row.mean_probability is not None for row in rows)
    head = "<th scope=col>Structure<th scope=col class=us-n>Volume, ml" + (
        "<th scope=col class=us-n>Mean probability<th scope=col class=us-n>Uncertain voxels" if is_sure else ""
    )
    lines = "".join(f"<tr>{_structure(row, is_sure)}</tr>" for row in rows)
    told = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<table class="us-table"><thead><tr>{head}</thead><tbody>{lines}</tbody></table>{f"<ul class=us-warnings>{told}</ul>" if told else ""}'


def _structure(row: StructureRow, is_sure: bool) -> str:
    cut = "<br><small>cut by the edge of the image: at least this much</small>" if row.cut_by_field_of_view else ""
    found = f"{row.volume_ml:,.1f}" if row.volume_ml else "not found"
    cells = f'<th scope=row><i style="background:{escape(row.color)}"></i>{escape(row.structure)}{cut}<td class=us-n>{found}'
    if is_sure:
        sure, share = row.mean_probability, row.uncertain_share
        cells += (
            f"<td class=us-n>{'' if sure is None else f'{sure:.2f}'}<td class=us-n>{'' if share is None else f'{share:.0%}'}"
        )
    return cells
