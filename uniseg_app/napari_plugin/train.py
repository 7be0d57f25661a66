"""The Train panel: a task of one's own, from data to an installed result. Trainings are processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer

from uniseg_app import pack_store, run_watch
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.layers import look_at
from uniseg_app.napari_plugin.panel import Panel, told
from uniseg_app.napari_plugin.train_data import DataBox
from uniseg_app.napari_plugin.train_how import HowBox
from uniseg_app.napari_plugin.train_layers import Added, LayersBox, add_pair
from uniseg_app.napari_plugin.train_runs import RunsBox, Seen
from uniseg_app.napari_plugin.train_task import TaskForm
from uniseg_app.outputs import free_name
from uniseg_app.own_data import (
    make_private_folder,
    my_data_folder,
    my_data_sets,
    pack_of,
    task_files_folder,
    way_to_improve,
)
from uniseg_app.training_form import TrainingForm, price_of, request_of, suggest, task_of, try_two_steps
from uniseg_app.training_runs import TrainingRuns
from uniseg_app.typed import changes_in
from uniseg_model.doctor.examine import examine
from uniseg_model.doctor.findings import Report
from uniseg_model.doctor.mend import mend
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.progress import Cancelled

_EVERY_MS, _PAUSE_MS = 1000, 500
_WATCH = "watch the trainings"  # goes on for ever, so a panel is at rest meanwhile


@dataclass(frozen=True, eq=False)
class Looked:
    """A data set as the doctor found it. form: None without cases. depth: what to suggest for a task that is known already."""

    report: Report
    form: TrainingForm | None
    depth: str | None


class TrainPanel(Panel):
    """The dock widget."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._report: Report | None = None
        self._form: TrainingForm | None = None
        self._trainings = TrainingRuns()
        self.data, self.task, self.how, self.runs = DataBox(), TaskForm(), HowBox(), RunsBox()
        self.layers = LayersBox(napari_viewer, self.image)
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._clock = QTimer(self, interval=_EVERY_MS)
        self._connect()
        self._begin_with(self.data, self.layers, self.task, self.how, self.runs)
        self._offer_data()
        self._unfold()
        self._clock.start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked for; trainings may go on."""
        asked = set(self._asked) - {_WATCH}
        return self._has_begun and self._run is None and not asked and not self._pause.isActive()

    def _connect(self) -> None:
        self.data.chosen.connect(self._examine)
        self.data.mend.connect(self._mend)
        self.layers.added.connect(self._add)
        self.how.changed.connect(self._pause.start)
        self._pause.timeout.connect(self._ask_price)
        self.how.tried.connect(self._try)
        self.how.started.connect(self._start)
        self.runs.picked.connect(self._watch_runs)
        self.runs.wished.connect(self._steer)
        self.runs.noted.connect(self._note)
        self._clock.timeout.connect(self._look_again)

    def _ready(self) -> None:
        self._watch_runs()
        self._pause.start()

    def _offer_data(self) -> None:
        self.data.offer(my_data_sets())

    def _unfold(self) -> None:
        """What can be filled in, once a data set is known."""
        for box in (self.task, self.how):
            box.setVisible(self._form is not None)

    # Data -------------------------------------------------------------------------------------------------------------

    def _examine(self, folder: Path) -> None:
        self._report = self._form = None
        self._unfold()
        self.data.wait(f"Looking at {folder.name}")
        backend, weights = self._desk.backend, self._desk.preferences.weights

        def work(progress: Any) -> Looked:
            report, known = examine(folder, None, progress), backend.model().checkpoint.tasks
            form = suggest(report, known.values()) if report.pairs else None
            depth = way_to_improve(form.key, weights)[0] if form and form.key in known else None
            return Looked(report, form, depth)

        self._ask("data", self._desk.ask("look at a data set", work), self._examined)

    def _examined(self, job: Job[Looked]) -> None:
        if job.state is not State.DONE:
            self.data.forget()
            self.data.tell_trouble(told(job.error))
            return
        looked = job.result()
        self._report, self._form = looked.report, looked.form
        self.data.tell(self._report)
        self.how.start.setEnabled(self._report.is_usable)
        self.how.try_steps.setEnabled(self._report.is_usable)
        self.how.say("" if self._report.is_usable else "An error above has to be mended first.")
        if self._form:
            self.task.fill(self._form)
            if looked.depth:
                self.how.choose_depth(looked.depth)
            self._pause.start()
        self._unfold()

    def _mend(self) -> None:
        report = self._report
        if report is None:
            return
        out = free_name(my_data_folder(), f"{report.folder.resolve().name}_mended", "_")

        def work(progress: Any) -> Path:
            make_private_folder(out.parent)
            return mend(report, out, progress).folder

        self.data.wait(f"Writing a mended copy: {out}")
        self._ask("data", self._desk.ask("mend a data set", work), self._mended)

    def _mended(self, job: Job[Path]) -> None:
        if job.state is not State.DONE:
            if self._report:
                self.data.tell(self._report)
            self.data.tell_trouble(told(job.error))
            return
        self.data.choose(job.result())

    def _add(self) -> None:
        try:
            pair = self.layers.pair([look_at(layer) for layer in self.image.layers], self.image.given)
        except UniSegError as exc:
            self.layers.tell_trouble(told(exc))
            return
        self.layers.tell("Writing the case")
        backend = self._desk.backend
        adding = self._desk.ask("add a case", lambda progress: add_pair(pair, backend.model().checkpoint.base_tasks.values()))
        self._ask("add", adding, self._added)

    def _added(self, job: Job[Added]) -> None:
        if job.state is not State.DONE:
            self.layers.tell_trouble(told(job.error))
            return
        self.layers.tell(job.result().sentence())
        self._offer_data()
        self.data.choose(job.result().folder)

    # How --------------------------------------------------------------------------------------------------------------

    def _filled_in(self) -> TrainingForm:
        """The form as it stands.

        Raises:
            OptionError: no data set. TaskError: something in it is wrong.
        """
        if self._form is None:
            raise OptionError("no data set is chosen", hint="Choose one above.")
        how, weights = self.how, self._desk.preferences.weights
        changes = changes_in(how.settings.toPlainText())
        form = replace(
            self.task.read(self._form),
            depth=how.depth.currentData(),
            minutes=how.minutes.value(),
            weights=weights,
            changes=changes,
        )
        task_of(form)
        return replace(form, pack=how.pack)

    def _price_job(self, work: Callable[[TrainingForm], Any], kind: str, answered: Callable[[Job[Any]], None]) -> None:
        try:
            form = self._filled_in()
        except UniSegError as exc:
            self.how.tell_price(None)
            self.how.tell_trouble(told(exc))
            return
        if kind in self._asked:
            self._asked[kind].cancel()
        self._ask(kind, self._desk.backend.lane.submit(kind, lambda progress: work(form), "window"), answered)

    def _ask_price(self) -> None:
        if self._report is None or not self._report.is_usable:
            return
        self._offer_pack()
        self.how.tell_price(None, "Doing two steps to see how long it takes")
        self._price_job(price_of, "price of a training", self._told_price)

    def _offer_pack(self) -> None:
        try:
            self.how.offer_pack(pack_of(task_of(self._filled_in()).key, self._desk.preferences.weights))
        except UniSegError:
            self.how.offer_pack(None)

    def _told_price(self, job: Job[Any]) -> None:
        if isinstance(job.error, Cancelled):
            return
        self.how.tell_price(job.result().to_dict() if job.state is State.DONE else None)
        if job.state is not State.DONE:
            self.how.tell_trouble(told(job.error))
        else:
            self.how.say("")

    def _try(self) -> None:
        self.how.say("Trying two steps on the first two cases")
        self._price_job(try_two_steps, "two steps of a training", self._tried)

    def _tried(self, job: Job[Any]) -> None:
        self._told_price(job)
        if job.state is State.DONE:
            self.how.say("Two steps went well.")

    # Runs -------------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            form = self._filled_in()
            if self._report is None or not self._report.is_usable:
                raise OptionError("the data set cannot be trained on as it is", hint="Mend what is an error above.")
        except UniSegError as exc:
            self.how.tell_trouble(told(exc))
            return
        self.how.start.setEnabled(False)
        starting = self._desk.ask(
            "start a training",
            lambda progress: self._trainings.start(request_of(form, task_files_folder()), form.title.strip()),
        )
        self._ask("start", starting, self._started)

    def _started(self, job: Job[str]) -> None:
        self.how.start.setEnabled(True)
        if job.state is not State.DONE:
            self.how.tell_trouble(told(job.error))
            return
        self.how.say("Started: see below. It goes on by itself, also when this window is closed.")
        self._watch_runs(job.result())

    def _look_again(self) -> None:
        if (self.isVisible() or self.runs.is_active) and _WATCH not in self._asked:
            self._watch_runs()

    def _watch_runs(self, id: str = "") -> None:
        trainings, id, other = self._trainings, id or self.runs.id, self.runs.other
        self._ask(_WATCH, self._desk.ask(_WATCH, lambda progress: Seen.of(trainings, id, other)), self._seen)

    def _seen(self, job: Job[Seen]) -> None:
        if job.state is State.DONE:
            self.runs.show_seen(job.result())
        elif not isinstance(job.error, Cancelled):
            self.runs.tell_trouble(told(job.error))

    def _steer(self, verb: str) -> None:
        trainings, id = self._trainings, self.runs.id

        def work(progress: Any) -> str:
            info = trainings.info(id)
            if verb == run_watch.RETIRE:
                pack_store.remove(run_watch.installed_key(info))
            else:
                getattr(trainings, verb)(id)
            return info.depth

        self.runs.tell_trouble("")
        self._ask(verb, self._desk.ask(verb, work), lambda job: self._steered(verb, job))

    def _steered(self, verb: str, job: Job[str]) -> None:
        if job.state is not State.DONE:
            self.runs.tell_trouble(told(job.error))
        elif verb in (run_watch.INSTALL, run_watch.RETIRE):
            self._desk.use_anew(forget_named=job.result() != "pack")
        self._watch_runs()

    def _note(self, words: str) -> None:
        trainings, id = self._trainings, self.runs.id
        if id:
            self._ask("note", self._desk.ask("note", lambda progress: trainings.note(id, words)), lambda job: None)
