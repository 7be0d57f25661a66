"""The Segment panel: choose images and tasks, watch labels grow, look at what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QTimer

from uniseg_app import wording
from uniseg_app.backend import Choice
from uniseg_app.grey import grey_windows
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.desk import Watch
from uniseg_app.napari_plugin.options_box import OptionsBox
from uniseg_app.napari_plugin.panel import Panel, place_in, told, trouble
from uniseg_app.napari_plugin.results import Growing, Ready, Results, display_like, made_ready
from uniseg_app.napari_plugin.results_box import ResultsBox
from uniseg_app.napari_plugin.run_box import RunBox
from uniseg_app.napari_plugin.task_box import TaskBox
from uniseg_app.napari_plugin.view_box import ViewBox
from uniseg_model.cost import Cost
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.progress import Cancelled
from uniseg_model.segmentation import Segmentation

_PAUSE_MS = 150  # after a change, before its cost is asked for


class SegmentPanel(Panel):
    """The dock widget."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.tasks, self.run = TaskBox(), RunBox("Segment", "Segment the image", "Ctrl+Return")
        self.options = OptionsBox(self._desk.preferences.device)
        self.results = Results(napari_viewer)
        self.found = ResultsBox(napari_viewer, self._desk, self.results)
        self.view = ViewBox(napari_viewer, self._desk, self.results, lambda: next(iter(self.image.layers), None))
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._connect()
        self._begin_with(self.image, self.tasks, self.options, self.run, self.found, self.view)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing is being looked at."""
        boxes = self.found.is_idle and self.view.is_idle
        return super().is_idle and not self._pause.isActive() and boxes

    def _connect(self) -> None:
        self.tasks.changed.connect(self._pause.start)
        self.options.changed.connect(self._pause.start)
        self.options.device_changed.connect(lambda: self._desk.use_device(*self.options.device))
        self._pause.timeout.connect(self._ask_cost)
        self.run.started.connect(self._begin)
        self.run.cancelled.connect(self._cancel)

    def _ready(self) -> None:
        self._pause.start()

    def _changed(self) -> None:
        self.run.tell_trouble("", "")

    def _show(self, choices: Sequence[Choice]) -> None:
        self.tasks.show_choices(choices)
        self._offer_start()
        self._pause.start()

    def _offer_start(self) -> None:
        self.run.start.setEnabled(self._opened is not None and self._run is None)

    # What it will take ------------------------------------------------------------------------------------------------

    def _ask_cost(self) -> None:
        self.run.tell_cost("")
        keys, opened, backend = self.tasks.keys, self._opened, self._desk.backend
        if opened is not None:
            tasks = {choice.task.key: choice.task for choice in opened.choices}
            self.view.offer_windows(grey_windows(opened.placed.volume, [tasks[key] for key in keys]))
        if not keys or opened is None:
            return
        try:
            options = self.options.options
        except OptionError as exc:
            self.run.tell_cost(str(exc))
            return
        job = self._desk.ask("what a run will take", lambda progress: backend.cost(opened.placed.volume, keys, options))
        self._ask("cost", job, self._told_cost)

    def _told_cost(self, job: Job[Cost]) -> None:
        self.run.tell_cost(wording.cost(job.result()) if job.state is State.DONE else told(job.error))

    # Runs -------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        opened, layer = self._opened, self.image.layers[0] if self.image.layers else None
        if opened is None or layer is None or self._run is not None:
            return
        try:
            keys = self.tasks.keys
            if not keys:
                raise OptionError("no task is ticked", hint="Tick at least one under “What to look for”.")
            options = self.options.options.focused_on(opened.placed.voxel_of(place_in(self._viewer, layer)))
        except UniSegError as exc:
            self.run.tell_trouble(exc.message, exc.hint)
            return
        growing = Growing(opened.placed, display_like(layer), layer.name, self.results.standing())
        self._run = self._desk.backend.segment(opened.placed.volume, keys, options, owner="window", look=growing.look)
        self.run.run()
        self._offer_start()
        watch = Watch(self._run, self)
        watch.progressed.connect(lambda job: self._progressed(job, growing))
        watch.ended.connect(lambda job: self._ended(job, growing))

    def _progressed(self, job: Job[Any], growing: Growing) -> None:
        self.run.show_progress(job)
        self.results.grow(growing, self._desk.backend.model().checkpoint.tasks)

    def _ended(self, job: Job[list[Segmentation]], growing: Growing) -> None:
        if job.state is not State.DONE:
            self.results.abandon(growing)
            cancelled = isinstance(job.error, Cancelled)
            self._at_rest("Cancelled. What was there before is kept." if cancelled else "")
            if not cancelled:
                self.run.tell_trouble(*trouble(job.error))
            return
        self.run.write("Bringing labels into the viewer")
        standing, answers = self.results.standing(), job.result()
        making = self._desk.ask("labels for the viewer", lambda progress: made_ready(answers, growing.placed, standing))
        Watch(making, self).ended.connect(lambda made: self._show_answers(made, growing))

    def _show_answers(self, job: Job[list[Ready]], growing: Growing) -> None:
        if job.state is State.DONE:
            record = job.result()[0].answer.record
            said = "\n".join([wording.done(record), *record.notes])
            self.results.finish(growing, job.result(), lambda: self._at_rest(said))
            return
        self.results.abandon(growing)
        self._at_rest()
        self.run.tell_trouble(*trouble(job.error))

    def _at_rest(self, words: str = "") -> None:
        self._run = None
        self._offer_start()
        self.run.rest(words)
