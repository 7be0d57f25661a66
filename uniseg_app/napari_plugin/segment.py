"""The Segment panel: choose images and tasks, watch labels grow, look at what was found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from uniseg_app import wording
from uniseg_app.backend import Backend, Choice
from uniseg_app.grey import grey_windows
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.desk import Watch, desk_of
from uniseg_app.napari_plugin.image_box import ImageBox
from uniseg_app.napari_plugin.layers import Given, Seen, look_at, placed, shown_askew
from uniseg_app.napari_plugin.options_box import OptionsBox
from uniseg_app.napari_plugin.results import Growing, Ready, Results, display_like, made_ready
from uniseg_app.napari_plugin.results_box import ResultsBox
from uniseg_app.napari_plugin.run_box import RunBox
from uniseg_app.napari_plugin.style import STYLE
from uniseg_app.napari_plugin.task_box import TaskBox
from uniseg_app.napari_plugin.view_box import ViewBox
from uniseg_app.napari_plugin.weights_box import WeightsBox
from uniseg_app.napari_plugin.world import Placed
from uniseg_model.cost import Cost
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.progress import Cancelled
from uniseg_model.segmentation import Segmentation

_LOG = logging.getLogger(__name__)
_PAUSE_MS = 150  # after a change, before its cost is asked for


@dataclass(frozen=True, eq=False)
class Opened:
    """The chosen image as a volume, and the tasks beside it."""

    placed: Placed
    choices: tuple[Choice, ...]

    @classmethod
    def of(cls, backend: Backend, warm: Job[Any] | None, seen: Sequence[Seen], given: Given) -> Opened:
        """Takes a moment, for a job. Raises what :func:`layers.placed` and the model do. warm: the job that loads the model."""
        one = placed(seen, given)
        if warm is not None:
            warm.result()
        return cls(one, tuple(backend.choices(one.volume)))


class SegmentPanel(QWidget):
    """The dock widget. ``idle``: nothing runs and nothing is asked for."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer, self._desk = napari_viewer, desk_of(napari_viewer)
        self._opened: Opened | None = None
        self._run: Job[list[Segmentation]] | None = None
        self._has_begun = False
        self._asked: dict[
            str, Job[Any]
        ] = {}  # the newest job of each kind, until it is heard of; what an older one says is not heard
        self._weights, self.image, self.tasks = WeightsBox(), ImageBox(napari_viewer), TaskBox()
        self.options, self.run = OptionsBox(self._desk.preferences.device), RunBox()
        self.results = Results(napari_viewer)
        self.found = ResultsBox(napari_viewer, self._desk, self.results)
        self.view = ViewBox(napari_viewer, self._desk, self.results, lambda: next(iter(self.image.layers), None))
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._lay_out()
        self._connect()
        QTimer.singleShot(0, self._load)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing is being looked at."""
        boxes = self.found.is_idle and self.view.is_idle
        return self._has_begun and self._run is None and not self._asked and not self._pause.isActive() and boxes

    def showEvent(self, event: Any) -> None:
        """Be as wide as what is inside, now that fonts are known; it scrolls downwards only."""
        self.setMinimumWidth(self._area.widget().minimumSizeHint().width() + self._area.verticalScrollBar().sizeHint().width())
        super().showEvent(event)

    def _lay_out(self) -> None:
        inside, outside = QWidget(), QVBoxLayout(self)
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 4, 4, 4)
        for widget in (self._weights, self.image, self.tasks, self.options, self.run, self.found, self.view):
            column.addWidget(widget)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(area)
        self.setStyleSheet(STYLE)
        self._area = area

    def _connect(self) -> None:
        self._desk.attach(self)
        self._desk.changed.connect(self._load)
        self._weights.chosen.connect(self._desk.use_weights)
        self.image.changed.connect(self._look)
        self.tasks.changed.connect(self._pause.start)
        self.options.changed.connect(self._pause.start)
        self.options.device_changed.connect(lambda: self._desk.use_device(*self.options.device))
        self._pause.timeout.connect(self._ask_cost)
        self.run.started.connect(self._begin)
        self.run.cancelled.connect(self._cancel)

    def _ask(self, kind: str, job: Job[Any], answered: Any) -> None:
        """Hear of a job when it has ended, unless another of its kind was asked since."""

        def hear(ended: Job[Any]) -> None:
            if self._asked.get(kind) is ended:
                del self._asked[kind]
                answered(ended)

        self._asked[kind] = job
        Watch(job, self).ended.connect(hear)

    # Weights ----------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._has_begun = True
        self._weights.wait()
        self._ask("weights", self._desk.warm_up(), self._loaded)
        self._look()

    def _loaded(self, job: Job[Any]) -> None:
        if job.state is State.DONE:
            self._weights.tell(self._desk.backend.facts())
            self._desk.keep_weights()
            self._pause.start()
        elif not isinstance(job.error, Cancelled):
            self._weights.tell_trouble(". ".join(_trouble(job.error)))

    # Image ------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._opened = None
        self.run.tell_trouble("", "")
        if not self.image.layers:
            self._show(())
            return
        try:
            seen = [look_at(layer) for layer in self.image.layers]
        except UniSegError as exc:
            self._refuse(exc)
            return
        self.image.ask_about(seen)
        self.image.tell("Looking at the image")
        backend, given, warm = self._desk.backend, self.image.given, self._asked.get("weights")
        self._ask(
            "image", self._desk.ask("look at an image", lambda progress: Opened.of(backend, warm, seen, given)), self._looked
        )

    def _looked(self, job: Job[Opened]) -> None:
        if job.state is not State.DONE:
            self._refuse(job.error)
            return
        opened = self._opened = job.result()
        volume = opened.placed.volume
        self.image.tell(wording.size(volume), "\n".join(filter(None, [*volume.warnings, shown_askew(opened.placed)])))
        self._show(opened.choices)

    def _refuse(self, error: BaseException | None) -> None:
        self.image.tell("", ". ".join(_trouble(error)))
        self._show(())

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
        self.run.tell_cost(wording.cost(job.result()) if job.state is State.DONE else ". ".join(_trouble(job.error)))

    # Runs -------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        opened, layer = self._opened, self.image.layers[0] if self.image.layers else None
        if opened is None or layer is None or self._run is not None:
            return
        try:
            keys = self.tasks.keys
            if not keys:
                raise OptionError("no task is ticked", hint="Tick at least one under “What to look for”.")
            options = self.options.options.focused_on(opened.placed.voxel_of(_place(self._viewer, layer)))
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
                self.run.tell_trouble(*_trouble(job.error))
            return
        self.run.write("Bringing labels into the viewer")
        standing, answers = self.results.standing(), job.result()
        making = self._desk.ask("labels for the viewer", lambda progress: made_ready(answers, growing.placed, standing))
        Watch(making, self).ended.connect(lambda made: self._show_answers(made, growing))

    def _show_answers(self, job: Job[list[Ready]], growing: Growing) -> None:
        if job.state is State.DONE:
            seconds = sum(job.result()[0].answer.record.seconds.values())
            self.results.finish(growing, job.result(), lambda: self._at_rest(f"Done in {wording.duration(seconds)}."))
            return
        self.results.abandon(growing)
        self._at_rest()
        self.run.tell_trouble(*_trouble(job.error))

    def _at_rest(self, words: str = "") -> None:
        self._run = None
        self._offer_start()
        self.run.rest(words)

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()


def _place(viewer: Any, layer: Any) -> tuple[float, float, float]:
    """Where in a layer's array the viewer looks."""
    u, v, w = layer.world_to_data(viewer.dims.point[-3:])
    return float(u), float(v), float(w)


def _trouble(error: BaseException | None) -> tuple[str, str]:
    if not isinstance(error, UniSegError):
        _LOG.error("a job failed", exc_info=error)
    return wording.trouble(error, "napari's console")
