"""What is on the Prompts tab, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from uniseg_app import prompt_words
from uniseg_app.examples import EXAMPLES
from uniseg_app.web_demo.report_view import ReportView
from uniseg_app.web_demo.viewer import NiivueViewer

VIEWS = LEARNED, IMAGE, CHANGE, SENSITIVITY, SHEET = prompt_words.VIEWS
SHARED, OWN_SCALE = "One for all", "Each its own"
CHANGES = SWAP, BLEND, ZERO, SHUFFLE, FOREIGN, OWN = prompt_words.CHANGES
WINDOW, BOX, WHOLE_IMAGE = "The window at the crosshair (quick)", "A box around the crosshair", "The whole image"
REGIONS = (WINDOW, BOX, WHOLE_IMAGE)
LAYERS = BEFORE, AFTER, DIFFERENCE, PROBABILITY = prompt_words.LAYERS
BEST, CROSSHAIR = "Where each structure is largest", "The axial slice at the crosshair"
VERBS = prompt_words.VERBS


@dataclass
class Asked:
    """What a look is asked for with; all of it are inputs of every event."""

    view: gr.Radio
    scale: gr.Radio
    tasks: gr.CheckboxGroup
    shown: gr.Dropdown
    minus: gr.Dropdown
    task: gr.Dropdown
    change: gr.Dropdown
    other: gr.Dropdown
    share: gr.Slider
    seed: gr.Number
    foreign: gr.Dropdown
    structure: gr.Dropdown
    region: gr.Radio
    side: gr.Slider
    layer: gr.Radio
    slice: gr.Radio

    def all(self) -> list[Any]:
        """As inputs or outputs of an event."""
        return [getattr(self, f.name) for f in fields(self)]


@dataclass(frozen=True)
class Wish:
    """The values of :class:`Asked`, in its order. task keys; structure: ``task|structure``; foreign: an image's title."""

    view: str
    scale: str
    tasks: list[str]
    shown: str | None
    minus: str | None
    task: str | None
    change: str
    other: str | None
    share: float
    seed: float | None
    foreign: str | None
    structure: str | None
    region: str
    side: float
    layer: str
    slice: str


@dataclass
class Controls:
    """What an event may change beside what is asked."""

    image: gr.HTML
    about_tasks: gr.HTML
    offer: gr.Row
    run_box: gr.Column
    run: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    trouble: gr.HTML
    viewer: NiivueViewer
    report: ReportView
    first_file: gr.DownloadButton
    second_file: gr.DownloadButton

    def all(self) -> list[Any]:
        """As outputs of an event."""
        return [getattr(self, f.name) for f in fields(self)]


def lay_out(script_url: str) -> tuple[Controls, Asked, list[gr.Button]]:
    """The tab; also the buttons of the examples, in their order."""
    view = gr.Radio(
        list(VIEWS),
        value=LEARNED,
        label="What to look at",
        show_label=False,
        container=False,
        elem_classes="us-narrow us-views-row",
    )
    with gr.Row(elem_classes="us-columns us-prompts"):
        with gr.Column(scale=2, min_width=330, elem_classes="us-left"):
            image = gr.HTML(padding=False)
            with gr.Row(elem_classes="us-examples", visible=False) as offer:
                examples = [gr.Button(example.title, size="sm", min_width=0) for example in EXAMPLES]
            asked = _asked(view)
            about_tasks = gr.HTML(padding=False)
            with gr.Column(elem_classes="us-run", visible=False) as run_box:
                with gr.Row():
                    run = gr.Button("Look", variant="primary", scale=3, min_width=190)
                    cancel = gr.Button("Cancel", variant="stop", interactive=False, scale=2, min_width=80)
                progress = gr.HTML(padding=False)
            trouble = gr.HTML(padding=False)
        with gr.Column(scale=5, min_width=330, elem_classes="us-right"):
            viewer = NiivueViewer(script_url=script_url, visible=False)
            layers = gr.Row(elem_classes="us-layer-row")
            report = ReportView()
            with gr.Row(elem_classes="us-downloads"):
                first, second = (gr.DownloadButton("Numbers", size="sm", visible=False) for _ in range(2))
    with layers:
        asked.layer.render()
        asked.shown.render()
        asked.minus.render()
    on = Controls(image, about_tasks, offer, run_box, run, cancel, progress, trouble, viewer, report, first, second)
    return on, asked, examples


def _asked(view: gr.Radio) -> Asked:
    scale = gr.Radio([SHARED, OWN_SCALE], value=SHARED, label="Colour scale", elem_classes="us-narrow")
    tasks = gr.CheckboxGroup(label="Whose prompts", choices=[], elem_classes="us-tasks", visible=False)
    task = gr.Dropdown(label="Task", choices=[], visible=False, filterable=False)
    structure = gr.Dropdown(label="Structure", choices=[], visible=False, filterable=False)
    change = gr.Dropdown(list(CHANGES), value=SWAP, label="Its decoder is told", visible=False, filterable=False)
    other = gr.Dropdown(label="The other task", choices=[], visible=False, filterable=False)
    share = gr.Slider(0, 1, 0.5, step=0.05, label="Share of the other prompt", visible=False)
    seed = gr.Number(0, label="Seed of the shuffle", precision=0, minimum=0, visible=False)
    foreign = gr.Dropdown(label="The other image", choices=[], visible=False, filterable=False)
    region = gr.Radio(list(REGIONS), value=WINDOW, label="Where", visible=False, elem_classes="us-listed")
    side = gr.Slider(10, 200, 60, step=5, label="Side of the box, mm", visible=False)
    cut = gr.Radio([BEST, CROSSHAIR], value=BEST, label="Which slice", visible=False, elem_classes="us-listed")
    layer = gr.Radio(list(LAYERS), value=DIFFERENCE, label="Over the scan", visible=False, render=False)
    shown = gr.Dropdown(label="Map of", choices=[], visible=False, filterable=False, render=False)
    minus = gr.Dropdown(label="Minus", choices=[], visible=False, filterable=False, render=False)
    return Asked(
        view, scale, tasks, shown, minus, task, change, other, share, seed, foreign, structure, region, side, layer, cut
    )
