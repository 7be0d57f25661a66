"""The Segment tab: an image comes in, tasks are ticked, labels appear while they are computed, everything can be taken away.

Events find their tab by Gradio's ``session_hash``. Every one of them returns a whole view, so nothing on the page is ever left
over from another image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from uniseg_app.answers import as_csv, save_answers, structure_rows, zipped
from uniseg_app.backend import Backend
from uniseg_app.jobs import State, wait
from uniseg_app.meshes import save_meshes
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.examples import EXAMPLES, example_volume
from uniseg_app.web_demo.scenes import scene_of
from uniseg_app.web_demo.uploads import Received, Uploaded, check_size, receive
from uniseg_app.web_demo.viewer import NiivueViewer
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.io import read_volume
from uniseg_model.predictor import Options
from uniseg_model.progress import Cancelled

_LOOK_EVERY_S = 0.3
_LOG = logging.getLogger(__name__)
View = dict[Any, Any]


@dataclass
class Controls:
    """What is on the tab."""

    files: gr.File
    series: gr.Dropdown
    image: gr.HTML
    tasks: gr.CheckboxGroup
    others: gr.HTML
    cost: gr.HTML
    segment: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    trouble: gr.HTML
    viewer: NiivueViewer
    table: gr.HTML
    download: gr.DownloadButton
    csv: gr.DownloadButton
    surface: gr.DownloadButton

    def all(self) -> list[Any]:
        """As outputs of an event."""
        return [getattr(self, f.name) for f in fields(self)]


class SegmentTab:
    """The tab and its events."""

    def __init__(self, backend: Backend, visits: Visits, script_url: str) -> None:
        self._backend, self._visits = backend, visits
        self._on = self._lay_out(script_url)
        self._connect()

    # What is where ----------------------------------------------------------------------------------------------------

    def _lay_out(self, script_url: str) -> Controls:
        with gr.Row(elem_classes="us-columns"):
            with gr.Column(scale=2, min_width=320):
                files = gr.File(label="Your scan: NIfTI (one file per channel), DICOM files, or a .zip of them",
                                file_count="multiple", height=110)  # fmt: skip
                with gr.Row(elem_classes="us-examples"):
                    self._examples = [gr.Button(example.title, size="sm", min_width=80) for example in EXAMPLES]
                series = gr.Dropdown(label="Which series?", visible=False, interactive=True)
                image = gr.HTML()
                tasks = gr.CheckboxGroup(label="What to look for", choices=[], elem_classes="us-tasks")
                others = gr.HTML()
                with gr.Accordion("More options", open=False):
                    self._confidence = gr.Checkbox(label="How sure is each structure? (a little more memory)", value=True)
                    self._mirror = gr.Radio(["As the device allows", "Yes", "No"], value="As the device allows",
                                            label="Average over eight mirrored copies (eight times the work)")  # fmt: skip
                    self._step = gr.Slider(0.25, 1.0, 0.5, step=0.05, label="Distance of windows, as a share of their side")
                cost = gr.HTML()
                with gr.Row():
                    segment = gr.Button("Segment", variant="primary")
                    cancel = gr.Button("Cancel", variant="stop", interactive=False)
                progress, trouble = gr.HTML(), gr.HTML()
            with gr.Column(scale=5, min_width=320):
                viewer = NiivueViewer(script_url=script_url)
                table = gr.HTML()
                with gr.Row():
                    download, csv, surface = (gr.DownloadButton(name, size="sm", visible=False)
                                              for name in ("All labels (.zip)", "Volumes (.csv)", "Surfaces (.glb)"))  # fmt: skip
        return Controls(files, series, image, tasks, others, cost, segment, cancel, progress, trouble, viewer, table,
                        download, csv, surface)  # fmt: skip

    def _connect(self) -> None:
        on, private = self._on, {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}
        on.files.upload(self._uploaded, on.files, on.all(), **private)
        on.series.input(self._chosen, on.series, on.all(), **private)
        for button, example in zip(self._examples, EXAMPLES, strict=True):
            button.click(self._example_shown(example.title, example.task), None, on.all(), **private)
        options = [on.tasks, self._confidence, self._mirror, self._step]
        gr.on([on.tasks.change, self._mirror.change, self._step.change], self._told_cost, options, on.cost, **private)  # fmt: skip
        on.segment.click(self._segment, options, on.all(), **private)
        on.cancel.click(self._cancelled, None, None, queue=False, api_visibility="private")

    # Images -----------------------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> list[Any]:
        """What :meth:`opened` fills."""
        return self._on.all()

    def opened(self, request: gr.Request) -> View:
        """The view of a tab that was just opened: the first example, with its answers when they are ready."""
        visit = self._visits.of(request.session_hash)
        if visit.volume is None:
            visit.show(example_volume(EXAMPLES[0].task), f"Example: {EXAMPLES[0].title} (synthetic)")
        return self._whole(visit)

    def _example_shown(self, title: str, task: str) -> Any:
        def show(request: gr.Request) -> View:
            visit = self._visits.of(request.session_hash)
            visit.show(example_volume(task), f"Example: {title} (synthetic)")
            return {**self._whole(visit), self._on.files: None}

        return show

    def _uploaded(self, paths: list[str] | None, request: gr.Request) -> View:
        if not paths:
            return self._whole(self._visits.of(request.session_hash))
        visit = self._visits.of(request.session_hash)
        try:
            received = receive([Uploaded(Path(path)) for path in paths], visit.folder)
            if len(received.series) > 1:
                return self._asked_which(received)
            return self._read(visit, received)
        except UniSegError as exc:
            return {**self._whole(visit), self._on.files: None, self._on.trouble: texts.trouble(exc)}

    def _asked_which(self, received: Received) -> View:
        choices = [
            (f"{s.description or s.uid}: {s.n_slices} slices, {s.modality}", f"{received.folder}|{s.uid}")
            for s in received.series
        ]
        note = texts.done(f"The folder holds {len(choices)} series. Choose one.")
        return {
            self._on.series: gr.update(choices=choices, value=None, visible=True),
            self._on.progress: note,
            self._on.trouble: "",
        }

    def _chosen(self, choice: str, request: gr.Request) -> View:
        visit = self._visits.of(request.session_hash)
        folder, _, uid = choice.rpartition("|")
        if Path(folder).parent != visit.folder:
            return {
                self._on.trouble: texts.trouble(OptionError("these series are not here any more", hint="Drop the files again."))
            }
        try:
            return self._read(visit, Received((Path(folder) / "dicom",), (), (), (), Path(folder)), uid)
        except UniSegError as exc:
            return {self._on.trouble: texts.trouble(exc)}

    def _read(self, visit: Visit, received: Received, series: str | None = None) -> View:
        check_size(received.paths, series=series)
        volume = read_volume(received.paths, series=series)
        visit.show(volume, ", ".join(received.names) or "DICOM series")
        note = f"Passed over, no images: {', '.join(received.passed_over)}" if received.passed_over else ""
        return {**self._whole(visit), self._on.progress: texts.done(note)}

    # Segmenting -------------------------------------------------------------------------------------------------------

    def _segment(self, keys: list[str], confidence: bool, mirror: str, step: float, request: gr.Request) -> Iterator[View]:
        visit, on = self._visits.of(request.session_hash), self._on
        if not keys or visit.volume is None:
            error = OptionError("no task is ticked", hint="Tick at least one under “What to look for”.")
            yield {on.trouble: texts.trouble(error)}
            return
        job = visit.job = self._backend.segment(
            visit.volume, keys, _options(confidence, mirror, step), owner=visit.key, look=visit.look
        )
        yield {
            on.segment: gr.update(interactive=False),
            on.cancel: gr.update(interactive=True),
            on.trouble: "",
            on.progress: texts.progress(job),
        }
        try:
            seen = visit.version
            while not wait(job, _LOOK_EVERY_S):
                view = {on.progress: texts.progress(job)}
                if visit.version != seen:
                    seen, view[on.viewer] = visit.version, self._scene(visit)
                yield view
        finally:  # whoever closes the tab cancels
            job.cancel()
        yield self._ended(visit)

    def _ended(self, visit: Visit) -> View:
        job, on = visit.job, self._on
        assert job is not None, "a run has a job"
        idle = {on.segment: gr.update(interactive=True), on.cancel: gr.update(interactive=False)}
        if job.state is State.DONE:
            visit.keep(job.result())
            seconds = sum(job.result()[0].record.seconds.values())
            return {**self._whole(visit), **idle, on.progress: texts.done(f"Done in {texts.duration(seconds)}.")}
        visit.cancel()
        if isinstance(job.error, Cancelled):
            return {**idle, on.viewer: self._scene(visit), on.progress: texts.done("Cancelled. What was found before is kept.")}
        if not isinstance(job.error, UniSegError):
            _LOG.error("a run failed", exc_info=job.error)
        return {**idle, on.viewer: self._scene(visit), on.progress: "", on.trouble: texts.trouble(job.error or Cancelled())}

    def _cancelled(self, request: gr.Request) -> None:
        job = self._visits.of(request.session_hash).job
        if job:
            job.cancel()

    def _told_cost(self, keys: list[str], confidence: bool, mirror: str, step: float, request: gr.Request) -> str:
        volume = self._visits.of(request.session_hash).volume
        if not keys or volume is None:
            return ""
        chosen = [self._backend.model().checkpoint.tasks[key] for key in keys]
        try:
            return texts.tasks(chosen) + texts.cost(self._backend.cost(volume, keys, _options(confidence, mirror, step)))
        except UniSegError as exc:
            return texts.trouble(exc)

    # What is to be seen -----------------------------------------------------------------------------------------------

    def _scene(self, visit: Visit) -> Any:
        return scene_of(visit, self._backend.model().checkpoint.tasks)

    def _whole(self, visit: Visit) -> View:
        on, volume = self._on, visit.volume
        choices = self._backend.choices(volume) if volume else []
        offered = [(c.task.title, c.task.key) for c in choices if c.suits]
        answers = list(visit.answers.values())
        return {
            on.series: gr.update(visible=False),
            on.image: texts.image_facts(volume, visit.title) if volume else "",
            on.tasks: gr.update(choices=offered, value=list(visit.answers)),
            on.others: texts.not_offered(choices),
            on.progress: "", on.trouble: "",
            on.viewer: self._scene(visit),
            on.table: texts.structures(structure_rows(answers), answers[0].record.notes if answers else ()),
            **self._downloads(visit),
        }  # fmt: skip

    def _downloads(self, visit: Visit) -> View:
        on, answers = self._on, list(visit.answers.values())
        if not answers:
            return {button: gr.update(visible=False) for button in (on.download, on.csv, on.surface)}
        folder = visit.folder / "answers"
        files = save_answers(folder, answers, self._backend.model().checkpoint.tasks)
        table, surface = visit.folder / "volumes.csv", visit.folder / "surfaces.glb"
        table.write_text(as_csv(answers), encoding="utf-8")
        view = {
            on.download: gr.update(visible=True, value=str(zipped(files, visit.folder / "labels.zip"))),
            on.csv: gr.update(visible=True, value=str(table)),
        }
        try:
            save_meshes(surface, answers)
            return {**view, on.surface: gr.update(visible=True, value=str(surface))}
        except OptionError:  # nothing was found
            return {**view, on.surface: gr.update(visible=False)}


def _options(confidence: bool, mirror: str, step: float) -> Options:
    return Options(mirror={"Yes": True, "No": False}.get(mirror), step=float(step), confidence=confidence)
