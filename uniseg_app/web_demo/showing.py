"""What the Segment tab shows of a visit. Every event returns whole parts of it, so nothing of another image is left over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from uniseg_app import wording
from uniseg_app.answers import as_csv, save_answers, structure_rows, zipped
from uniseg_app.backend import Backend, Choice
from uniseg_app.jobs import Job, State
from uniseg_app.meshes import save_meshes
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.controls import Controls
from uniseg_app.web_demo.slices import n_slices, slice_through
from uniseg_app.web_demo.visits import Visit
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.progress import Cancelled
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import TaskRegistry

_LOG = logging.getLogger(__name__)
View = dict[Any, Any]


class Showing:
    """Visits as values of controls."""

    def __init__(self, on: Controls, backend: Backend) -> None:
        self._on, self._backend = on, backend

    def whole(self, visit: Visit) -> View:
        """Everything."""
        on, volume = self._on, visit.volume
        choices = self._backend.choices(volume) if volume else []
        offered = sorted((c for c in choices if not c.refused), key=lambda c: not c.suits)
        answers = list(visit.answers.values())
        return {
            on.series: gr.update(visible=False),
            on.image: texts.image_facts(volume, visit.title) if volume else "",
            on.tasks: gr.update(choices=[(task_title(c), c.task.key) for c in offered], value=[c.task.key for c in offered if c.task.key in visit.answers]),
            on.about_tasks: texts.about_tasks(choices),
            on.progress: "", on.trouble: "",
            on.table: texts.structures(structure_rows(answers), _notes(answers)),
            **self.pictures(visit), **self._downloads(visit),
        }  # fmt: skip

    def pictures(self, visit: Visit) -> View:
        """The image with what is found so far."""
        on, stage = self._on, visit.staged()
        if stage is None:
            return {on.viewer: None}
        layers = stage.layers(visit.labels(), self._known(visit))
        if not visit.is_plain:
            return {on.viewer: stage.scene(layers)}
        drawn = stage.slice(layers, visit.plane, visit.number)
        return {on.slice: texts.picture(drawn, f"{visit.plane} slice {visit.number}")}

    def _known(self, visit: Visit) -> TaskRegistry:
        """The tasks of the weights, and those of answers from before a pack was taken out of use."""
        tasks = self._backend.model().checkpoint.tasks
        return TaskRegistry([*tasks.values(), *(a.task for a in visit.answers.values() if a.task.key not in tasks)])

    def plain(self, visit: Visit) -> View:
        """From now on as single slices, beginning in the middle."""
        on, stage = self._on, visit.staged()
        visit.is_plain = True
        why = "This browser does not offer WebGL2, which the 3D viewer needs: here are plain slices."
        view = {on.viewer: gr.update(visible=False), on.slices: gr.update(visible=True), on.progress: texts.done(why)}
        return view if stage is None else {**view, **self.plane(visit, visit.plane)}

    def plane(self, visit: Visit, plane: str) -> View:
        """Slices of that plane, beginning in the middle."""
        on, stage = self._on, visit.staged()
        if stage is None:
            return {}
        middle = stage.copy.affine @ [*(np.array(stage.copy.shape) - 1) / 2, 1]
        visit.plane, visit.number = plane, slice_through(stage.copy, plane, middle[:3])
        slider = gr.update(maximum=n_slices(stage.copy, plane) - 1, value=visit.number)
        return {on.number: slider, **self.pictures(visit)}

    def running(self, job: Job[Any]) -> View:
        """A job goes on."""
        on = self._on
        return {
            on.segment: gr.update(interactive=False),
            on.cancel: gr.update(interactive=True),
            on.progress: texts.progress(job),
        }

    def writing(self) -> View:
        """It is too late to cancel."""
        return {self._on.cancel: gr.update(interactive=False), self._on.progress: texts.done("Writing the results")}

    def ended(self, visit: Visit, job: Job[Any]) -> View:
        """A job is over, however it went."""
        on = self._on
        idle = {on.segment: gr.update(interactive=True), on.cancel: gr.update(interactive=False)}
        if job.state is State.DONE:
            return {**self.whole(visit), **idle, on.progress: texts.done(wording.done(job.result()[0].record))}
        if isinstance(job.error, Cancelled):
            return {**idle, **self.pictures(visit), on.progress: texts.done("Cancelled. What was found before is kept.")}
        if not isinstance(job.error, UniSegError):
            _LOG.error("a run failed", exc_info=job.error)
        return {**idle, **self.pictures(visit), on.progress: "", on.trouble: texts.trouble(job.error)}

    def _downloads(self, visit: Visit) -> View:
        on, answers = self._on, list(visit.answers.values())
        if not answers:
            return {button: gr.update(visible=False) for button in (on.download, on.csv, on.glb, on.stl)}
        files = save_answers(visit.folder / "answers", answers, self._known(visit))
        table = visit.folder / "volumes.csv"
        table.write_text(as_csv(structure_rows(answers)), encoding="utf-8")
        return {
            on.download: to_fetch(zipped(files, visit.folder / "uniseg-results.zip")),
            on.csv: to_fetch(table),
            **self._surfaces(visit.folder, answers),
        }

    def _surfaces(self, folder: Path, answers: Sequence[Segmentation]) -> View:
        buttons = {self._on.glb: folder / "surfaces.glb", self._on.stl: folder / "surfaces.stl"}
        try:
            save_meshes(answers, *buttons.values())
        except OptionError:  # nothing was found
            return {button: gr.update(visible=False) for button in buttons}
        return {button: to_fetch(path) for button, path in buttons.items()}


def to_fetch(path: Path) -> Any:
    """A download button that offers a file."""
    return gr.update(visible=True, value=str(path))


def _notes(answers: Sequence[Segmentation]) -> list[str]:
    """What should be known of answers, each once."""
    notes = [note for answer in answers for note in answer.record.notes]
    is_demo = any(answer.record.weights["kind"] == "demo" and answer.volume.source.paths for answer in answers)
    return list(dict.fromkeys([wording.DEMO_ON_A_FILE] * is_demo + notes))


def task_title(choice: Choice) -> str:
    """A task's title, marked where something speaks against it."""
    return choice.task.title if choice.suits else f"{choice.task.title} (does it suit?)"
