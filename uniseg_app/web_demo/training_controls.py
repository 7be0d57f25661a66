"""What is on the Training tab, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from uniseg_app import training_words
from uniseg_app.training_form import DEPTHS
from uniseg_app.web_demo import texts, training_texts

LOOK, MEND, PRICE, TRY, START = "Look at it", "Mend into a copy", "Tell the prices", "Try two steps", "Start"
PAUSE, STOP, RESUME, INSTALL = "Pause", "Stop and keep the best", "Resume", "Install"
RETIRE, REMOVE, SURE, KEEP = "Take out of use", "Remove", "Remove it for good", "Keep it"
NOTE = "Keep the note"
_EVERY_S = 1.5  # how often a run is looked at


class Part:
    """Controls that go together."""

    def all(self) -> list[Any]:
        """As inputs or outputs of an event."""
        return [getattr(self, f.name) for f in fields(self)]  # type: ignore[arg-type]


@dataclass
class Asked(Part):
    """What a person fills in; all of it are inputs of events. See :class:`Wish`."""

    data: gr.Dropdown
    folder: gr.Textbox
    title: gr.Textbox
    structures: gr.Textbox
    modalities: gr.Textbox
    spacing: gr.Textbox
    depth: gr.Radio
    minutes: gr.Number
    replay: gr.Dropdown
    changes: gr.Textbox


@dataclass(frozen=True)
class Wish:
    """The values of :class:`Asked`, in its order. folder: typed in place of ``data``. replay: a folder; empty for none."""

    data: str | None
    folder: str
    title: str
    structures: str
    modalities: str
    spacing: str
    depth: str
    minutes: float | None
    replay: str | None
    changes: str

    @classmethod
    def of(cls, *values: Any) -> Wish:
        """What was filled in; a box that the browser has not drawn yet is empty."""
        data, *typed, depth, minutes, replay, changes = values
        folder, title, structures, modalities, spacing = (str(text or "") for text in typed)
        return cls(data, folder, title, structures, modalities, spacing, depth, minutes, replay, str(changes or ""))


@dataclass
class Steps(Part):
    """The left side: data, what is to be found, how."""

    archive: gr.File
    look: gr.Button
    data_progress: gr.HTML
    data_trouble: gr.HTML
    report: gr.HTML
    mending: gr.HTML
    mend: gr.Button
    form: gr.Column
    swatches: gr.HTML
    about_depth: gr.HTML
    price: gr.Button
    try_it: gr.Button
    start: gr.Button
    cancel: gr.Button
    how_progress: gr.HTML
    how_trouble: gr.HTML
    prices: gr.HTML


@dataclass
class Runs(Part):
    """The right side: one run, and all of them."""

    run: gr.Dropdown
    state: gr.HTML
    pause: gr.Button
    stop: gr.Button
    resume: gr.Button
    install: gr.Button
    retire: gr.Button
    remove: gr.Button
    sure_box: gr.Row
    sure: gr.Button
    keep: gr.Button
    trouble: gr.HTML
    curves: gr.HTML
    preview: gr.HTML
    note: gr.Textbox
    keep_note: gr.Button
    history: gr.HTML
    other: gr.Dropdown
    comparison: gr.HTML


def lay_out(below: Callable[[], Any]) -> tuple[Steps, Asked, Runs, gr.Timer, Any]:
    """The tab, what makes it look at the run now and then, and what ``below`` lays out under the steps."""
    with gr.Row(elem_classes="us-columns us-training"):
        with gr.Column(scale=2, min_width=330, elem_classes="us-left"):
            steps, asked = _steps()
            more = below()
        with gr.Column(scale=3, min_width=330, elem_classes="us-right"):
            runs = _runs()
    return steps, asked, runs, gr.Timer(_EVERY_S, active=False), more


def _steps() -> tuple[Steps, Asked]:
    data, folder, archive, look, cancel, data_progress, data_trouble, report, mending, mend = _data()
    with gr.Column(visible=False, elem_classes="us-left") as form:
        gr.HTML(training_texts.heading(2, "What is to be found"), padding=False)
        title = gr.Textbox(label="Name of the task", max_lines=1)
        structures = gr.Textbox(label="Structures by label value, one a line; a colour may follow", lines=2, max_lines=12)  # fmt: skip
        swatches = gr.HTML(padding=False)
        with gr.Row():
            modalities = gr.Textbox(label="Image, by channel", max_lines=1, min_width=120)
            spacing = gr.Textbox(label="Voxels z, y, x in mm", max_lines=1, min_width=120)
        gr.HTML(training_texts.heading(3, "How it is learned"), padding=False)
        depth = gr.Radio([(training_words.DEPTH_TITLES[key], key) for key in DEPTHS], value="pack", label="Depth", elem_classes="us-listed")  # fmt: skip
        about_depth = gr.HTML(texts.done(training_words.DEPTH_ABOUT["pack"]), padding=False)
        replay = gr.Dropdown(label="Old tasks to train on, too: a folder with a data set of each", choices=[("None", "")], value="", visible=False, filterable=False)  # fmt: skip
        minutes = gr.Number(10, label="Minutes for its steps", minimum=0.1, step=1)
        with gr.Accordion("More settings", open=False):
            changes = gr.Textbox(label="Of the plan, one a line, such as rate = 0.002", lines=2, max_lines=8)
        with gr.Row():
            price, try_it = gr.Button(PRICE, size="sm", min_width=110), gr.Button(TRY, size="sm", min_width=110)
        prices, how_progress, how_trouble = (gr.HTML(padding=False) for _ in range(3))
        start = gr.Button(START, variant="primary")
    steps = Steps(archive, look, data_progress, data_trouble, report, mending, mend, form, swatches, about_depth, price, try_it,
                  start, cancel, how_progress, how_trouble, prices)  # fmt: skip
    return steps, Asked(data, folder, title, structures, modalities, spacing, depth, minutes, replay, changes)


def _data() -> tuple[Any, ...]:
    gr.HTML(training_texts.heading(1, "Data"), padding=False)
    data = gr.Dropdown(label="Data set on this server", choices=[], value=None, filterable=False)
    folder = gr.Textbox(label="Or its folder", max_lines=1)
    archive = gr.File(label="Or a .zip of one: imagesTr, labelsTr", file_types=[".zip"], height=84, elem_classes="us-zip")
    gr.HTML('<p class="us-note" role="alert"></p>', padding=False)  # page.js writes it
    with gr.Row():
        look = gr.Button(LOOK, min_width=110)
        cancel = gr.Button("Cancel", variant="stop", interactive=False, min_width=80)
    progress, trouble, report, mending = (gr.HTML(padding=False) for _ in range(4))
    mend = gr.Button(MEND, visible=False)
    return data, folder, archive, look, cancel, progress, trouble, report, mending, mend


def _runs() -> Runs:
    gr.HTML(texts.done(training_words.SERVER_WIDE), padding=False)
    run = gr.Dropdown(label="Run", choices=[], filterable=False, visible=False)
    state = gr.HTML(padding=False)
    with gr.Row(elem_classes="us-steer"):
        pause, stop, resume, install, retire, remove = (
            gr.Button(name, size="sm", min_width=80, visible=False) for name in (PAUSE, STOP, RESUME, INSTALL, RETIRE, REMOVE)
        )
    with gr.Row(elem_classes="us-steer", visible=False) as sure_box:
        sure, keep = gr.Button(SURE, size="sm", variant="stop", min_width=80), gr.Button(KEEP, size="sm", min_width=80)
    trouble, curves, preview = (gr.HTML(padding=False) for _ in range(3))
    with gr.Row(elem_classes="us-steer"):
        note = gr.Textbox(label="Note on this run", max_lines=4, visible=False, scale=4)
        keep_note = gr.Button(NOTE, size="sm", visible=False, min_width=110, scale=1)
    history = gr.HTML(padding=False)
    other = gr.Dropdown(label="Compare with", choices=[], value=None, filterable=False, visible=False)
    comparison = gr.HTML(padding=False)
    return Runs(run, state, pause, stop, resume, install, retire, remove, sure_box, sure, keep, trouble, curves, preview, note,
                keep_note, history, other, comparison)  # fmt: skip
