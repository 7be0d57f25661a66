"""What is on the Segment tab, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from uniseg_app.examples import EXAMPLES
from uniseg_app.run_options import STEP, STEP_COUNTS_MORE, STEPS, WORK, WORKS, asked_options
from uniseg_app.web_demo.slices import PLANES
from uniseg_app.web_demo.viewer import NiivueViewer
from uniseg_model.predictor import Options


@dataclass
class Controls:
    """What an event may change."""

    files: gr.File
    folder: gr.UploadButton
    series: gr.Dropdown
    image: gr.HTML
    tasks: gr.CheckboxGroup
    about_tasks: gr.HTML
    cost: gr.HTML
    segment: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    trouble: gr.HTML
    viewer: NiivueViewer
    slices: gr.Group
    plane: gr.Radio
    number: gr.Slider
    slice: gr.HTML
    table: gr.HTML
    download: gr.DownloadButton
    csv: gr.DownloadButton
    glb: gr.DownloadButton
    stl: gr.DownloadButton

    def all(self) -> list[Any]:
        """As outputs of an event."""
        return [getattr(self, f.name) for f in fields(self)]


@dataclass
class Asked:
    """What a run is asked for with."""

    work: gr.Radio
    step: gr.Radio
    confidence: gr.Checkbox
    agreement: gr.Checkbox

    def all(self) -> list[Any]:
        """As inputs of an event; :func:`options_of` takes their values."""
        return [getattr(self, f.name) for f in fields(self)]


def options_of(work: str, step: str, confidence: bool, agreement: bool) -> Options:
    """The options behind the values of :class:`Asked`."""
    return asked_options(work, step, confidence=confidence, agreement=agreement)


def lay_out(script_url: str) -> tuple[Controls, Asked, list[gr.Button]]:
    """The tab; also the buttons of the examples, in their order."""
    with gr.Row(elem_classes="us-columns"):
        with gr.Column(scale=2, min_width=330, elem_classes="us-left"):
            files = gr.File(
                label="Your scan: NIfTI, DICOM files, or a .zip", file_count="multiple", height=84, elem_classes="us-upload"
            )
            with gr.Row(elem_classes="us-examples"):
                folder = gr.UploadButton("Folder…", file_count="directory", size="sm", min_width=0)
                examples = [gr.Button(example.title, size="sm", min_width=0) for example in EXAMPLES]
            gr.HTML('<p class="us-note" role="alert"></p>', padding=False)  # page.js writes it
            series = gr.Dropdown(label="Which series?", visible=False, interactive=True)
            image = gr.HTML(padding=False)
            tasks = gr.CheckboxGroup(label="What to look for", choices=[], elem_classes="us-tasks")
            about_tasks = gr.HTML(padding=False)
            asked = _asked()
            with gr.Column(elem_classes="us-run"):
                cost = gr.HTML(padding=False)
                with gr.Row():
                    segment = gr.Button("Segment", variant="primary", min_width=120)
                    cancel = gr.Button("Cancel", variant="stop", interactive=False, min_width=80)
                progress, trouble = gr.HTML(padding=False), gr.HTML(padding=False)
        with gr.Column(scale=5, min_width=330, elem_classes="us-right"):
            viewer = NiivueViewer(script_url=script_url)
            slices, plane, number, slice_shown = _slices()
    table = gr.HTML(padding=False)
    with gr.Row(elem_classes="us-downloads"):
        download, csv, glb, stl = (gr.DownloadButton(name, size="sm", visible=False)
                                  for name in ("All results (.zip)", "Volumes (.csv)", "Surfaces (.glb)", "Surfaces (.stl)"))  # fmt: skip
    on = Controls(files, folder, series, image, tasks, about_tasks, cost, segment, cancel, progress, trouble, viewer, slices, plane,
                  number, slice_shown, table, download, csv, glb, stl)  # fmt: skip
    return on, asked, examples


def _asked() -> Asked:
    with gr.Accordion("More options", open=False):
        works = [(f"{title}. {preset.sentence}", title) for title, preset in WORKS.items()]
        return Asked(
            gr.Radio(works, value=next(iter(WORKS)), label=WORK, elem_classes="us-listed us-works"),
            gr.Radio(list(STEPS), value=next(iter(STEPS)), label=STEP, info=STEP_COUNTS_MORE, elem_classes="us-narrow"),
            gr.Checkbox(label="How sure is each structure? (a little more memory)", value=True),
            gr.Checkbox(label="Agreement with and without mirroring (nine times the work)", value=False),
        )


def _slices() -> tuple[gr.Group, gr.Radio, gr.Slider, gr.HTML]:
    """For browsers that cannot show the viewer."""
    with gr.Group(visible=False) as group:
        with gr.Row():
            plane = gr.Radio(list(PLANES), value="axial", label="Plane")
            number = gr.Slider(0, 1, 0, step=1, label="Slice")
        shown = gr.HTML(padding=False)
    return group, plane, number, shown
