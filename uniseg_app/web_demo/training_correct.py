"""Correct and learn: labels that a person has corrected become a case of a data set of our own, and a task goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from uniseg_app import training_words
from uniseg_app.backend import Backend
from uniseg_app.commands import find_weights
from uniseg_app.own_data import corrected_folder, task_files_folder, way_to_improve
from uniseg_app.training_form import form_of, request_of
from uniseg_app.training_runs import TrainingRuns
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.copies import forget
from uniseg_app.web_demo.segment_tab import AT_ONCE
from uniseg_app.web_demo.showing import View
from uniseg_app.web_demo.training_controls import Part
from uniseg_app.web_demo.training_places import DataPlaces
from uniseg_app.web_demo.uploads import check_size
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.dataset import label_files
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import read_labels
from uniseg_model.segmentation import Segmentation
from uniseg_model.training.corrected import Provenance, add_case

_FEWEST = 2  # cases, one of them to validate on
_HINT = "Correct the labels that the Segment tab gave for this scan, on its own grid."


@dataclass
class Correction(Part):
    """The controls."""

    task: gr.Dropdown
    labels: gr.File
    improve: gr.Button
    told: gr.HTML


def lay_out() -> Correction:
    """Where it stands."""
    with gr.Accordion("Correct and learn", open=False):
        gr.HTML(texts.done(training_words.CORRECTIONS), padding=False)
        task = gr.Dropdown(label="Which answer was corrected", choices=[], filterable=False)
        labels = gr.File(label="Its corrected labels", file_types=[".gz", ".nii"], height=84, elem_classes="us-zip")
        told = gr.HTML(padding=False)
        return Correction(task, labels, gr.Button("Improve the task"), told)


class Corrector:
    """Its events. started: the views of a run that was started, on ``outputs``."""

    def __init__(
        self, on: Correction, backend: Backend, visits: Visits, runs: TrainingRuns, places: DataPlaces,
        started: Callable[[Visit, str], View], outputs: list[Any], minutes: gr.Number,
    ) -> None:  # fmt: skip
        self._on, self._backend, self._visits, self._runs, self._places, self._started = (
            on,
            backend,
            visits,
            runs,
            places,
            started,
        )
        on.labels.upload(self._dropped, [on.labels, on.task], on.all(), **AT_ONCE)
        on.improve.click(self._improved, [on.task, minutes], [*on.all(), *outputs], **AT_ONCE)

    def offered(self, visit: Visit) -> View:
        """The answers that may be corrected: those to the scan in the Segment tab."""
        choices = [(answer.task.title, key) for key, answer in visit.answers.items()]
        if not visit.training.is_new("answers", choices):
            return {}
        return {self._on.task: gr.update(choices=choices, value=choices[0][1] if choices else None)}

    def _dropped(self, path: str, key: str | None, request: gr.Request) -> View:
        visit = self._visits.of(request.session_hash)
        try:
            answer = _answer(visit, key)
            folder = self._places.kept(corrected_folder(answer.task.key).name)
            case, found = add_correction(folder, visit, answer, Path(path))
            n = len(label_files(folder))
            told = texts.done(f"Added as {case}, {found.n_changed} voxels changed; {n} corrected {'case' if n == 1 else 'cases'} of {answer.task.title}.")  # fmt: skip
        except UniSegError as exc:
            told = texts.trouble(exc)
        finally:
            forget(Path(path))
        return {self._on.told: told, self._on.labels: None}

    def _improved(self, key: str | None, minutes: float | None, request: gr.Request) -> View:
        visit = self._visits.of(request.session_hash)
        try:
            id = self._begin(_answer(visit, key), minutes or 10.0)
        except UniSegError as exc:
            return {self._on.told: texts.trouble(exc)}
        return {
            self._on.told: texts.done("Started: it goes on by itself, also when this page is closed."),
            **self._started(visit, id),
        }

    def _begin(self, answer: Segmentation, minutes: float) -> str:
        """A pack goes on from where it is; a task of the weights themselves is learned by all of them."""
        task, weights = answer.task, find_weights(self._backend.weights)
        folder = self._places.kept(corrected_folder(task.key).name)
        n = len(label_files(folder))
        if n < _FEWEST:
            raise OptionError(f"there {'is' if n == 1 else 'are'} {n} corrected {'case' if n == 1 else 'cases'} of {task.title}, at least {_FEWEST} are needed, "
                              "one of them to validate on", hint="Correct another scan.")  # fmt: skip
        depth, pack = way_to_improve(task.key, weights)
        form = replace(form_of(folder, task), depth=depth, pack=pack, weights=weights, minutes=minutes)
        return self._runs.start(request_of(form, task_files_folder()), f"{task.title}, corrected")


def add_correction(folder: Path, visit: Visit, answer: Segmentation, labels: Path) -> tuple[str, Provenance]:
    """Add a visit's scan with corrected labels to a data set; the case's name, and what was changed.

    Raises:
        GeometryError: the labels lie on another grid than the scan. Otherwise as ``read_labels`` and ``add_case``.
    """
    volume = visit.image()
    check_size([labels])
    corrected, affine = read_labels(labels)
    check_same_grid("the label map", Grid(corrected.shape, affine), "the scan", Grid(volume.shape, volume.affine), hint=_HINT)
    return add_case(folder, volume, corrected, answer.task, answer)


def _answer(visit: Visit, key: str | None) -> Segmentation:
    if key not in visit.answers:
        raise OptionError("there is no answer to correct", hint="Segment a scan in the Segment tab, and open this tab again.")
    return visit.answers[key]
