"""The Training tab: on the left a task of one's own is prepared and started, on the right runs are watched and steered.

Runs belong to the server. What a visit has in hand is which of them it looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import gradio as gr

from uniseg_app import pack_store, training_words
from uniseg_app.backend import Backend
from uniseg_app.run_watch import INSTALL, PAUSE, REMOVE, RESUME, RETIRE, STOP, actions, installed_key, task_of_run, watched
from uniseg_app.training_runs import RunInfo, TrainingRuns
from uniseg_app.web_demo import texts, training_correct, training_pictures, training_texts
from uniseg_app.web_demo.segment_tab import AT_ONCE, SegmentTab
from uniseg_app.web_demo.showing import View
from uniseg_app.web_demo.training_controls import lay_out
from uniseg_app.web_demo.training_places import DataPlaces
from uniseg_app.web_demo.training_steps import TrainingSteps
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.errors import FileFormatError, OptionError, UniSegError

_SOON = {"pause": "It pauses after its step.", "stop": "It stops after its step, and its best is judged and kept."}


class TrainingTab:
    """The tab and its events. segment: the tab that offers what is installed. header: what stands above all tabs."""

    def __init__(self, backend: Backend, visits: Visits, segment: SegmentTab, header: gr.HTML, places: DataPlaces) -> None:
        self._backend, self._visits, self._segment, self._header = backend, visits, segment, header
        self._runs = TrainingRuns()
        steps, self._asked, self._on, self._timer, correction = lay_out(training_correct.lay_out)
        every = [*steps.all(), *self._asked.all(), *self._on.all()]
        self._steps = TrainingSteps(steps, self._asked, backend, visits, self._runs, places, self._started, every)
        self._correction = correction
        self._corrector = training_correct.Corrector(
            correction, backend, visits, self._runs, places, self._started, self._on.all(), self._asked.minutes
        )
        self._connect()

    def connect_tabs(self, own: gr.Tab, others: Sequence[gr.Tab]) -> None:
        """Runs are looked at while the tab is open."""
        own.select(self._opened, None, [*self._asked.all(), *self._on.all(), *self._correction.all(), self._timer], **AT_ONCE)
        for other in others:
            other.select(lambda: gr.Timer(active=False), None, self._timer, **AT_ONCE)

    def _connect(self) -> None:
        on, mine = self._on, self._on.all()
        everywhere = [*mine, self._header, *self._segment.outputs]
        self._timer.tick(self._ticked, None, mine, **AT_ONCE)
        on.run.input(self._chosen, on.run, mine, **AT_ONCE)
        on.other.input(self._compared, on.other, mine, **AT_ONCE)
        on.pause.click(self._steered(self._pause), None, mine, **AT_ONCE)
        on.stop.click(self._steered(self._stop), None, mine, **AT_ONCE)
        on.resume.click(self._steered(self._resume), None, mine, **AT_ONCE)
        on.install.click(self._steered(self._install), None, everywhere, **AT_ONCE)
        on.retire.click(self._steered(self._retire), None, everywhere, **AT_ONCE)
        on.remove.click(lambda: gr.update(visible=True), None, on.sure_box, **AT_ONCE)
        on.keep.click(lambda: gr.update(visible=False), None, on.sure_box, **AT_ONCE)
        on.sure.click(self._steered(self._remove), None, mine, **AT_ONCE)
        on.keep_note.click(self._noted, on.note, mine, **AT_ONCE)

    def _visit(self, request: gr.Request) -> Visit:
        return self._visits.of(request.session_hash)

    # What is shown ----------------------------------------------------------------------------------------------------

    def _opened(self, request: gr.Request) -> View:
        visit = self._visit(request)
        return {
            **self._steps.offered(visit),
            **self._corrector.offered(visit),
            **self._views(visit),
            self._timer: gr.Timer(active=True),
        }

    def _ticked(self, request: gr.Request) -> View:
        return self._views(self._visit(request)) or {self._on.state: gr.skip()}

    def _chosen(self, id: str, request: gr.Request) -> View:
        visit = self._visit(request)
        visit.training.run = id
        return {self._on.trouble: "", self._on.sure_box: gr.update(visible=False), **self._views(visit)}

    def _started(self, visit: Visit, id: str) -> View:
        visit.training.run = id
        return {self._on.trouble: "", **self._views(visit)}

    def _views(self, visit: Visit) -> View:
        """What has changed since this page was told."""
        on, seen = self._on, visit.training
        try:
            infos = self._runs.history()
        except UniSegError as exc:
            return {on.trouble: texts.trouble(exc)}
        info = watched(infos, seen.run)
        view = {on.history: training_texts.history(infos)} if seen.is_new("history", infos) else {}
        choices = [(training_words.run_title(one), one.id) for one in infos]
        if seen.is_new("run", (choices, info and info.id)):
            view[on.run] = gr.update(choices=choices, value=info and info.id, visible=bool(infos))
        return {**view, **self._view_of(visit, info, infos), **self._beside(visit, info, infos)}

    def _view_of(self, visit: Visit, info: RunInfo | None, infos: Sequence[RunInfo]) -> View:
        on, seen = self._on, visit.training
        view: View = {}
        if seen.is_new("state", (info, len(infos))):
            titles = {one.id: one.title for one in infos}
            view |= {
                on.state: training_texts.run(info, titles, self._runs.price(info.id)) if info else "",
                **self._buttons(info),
            }
        if seen.is_new("told", info and (info.id, info.state)):
            view[on.trouble] = ""
        lines = self._runs.curve(info.id) if info else []
        if seen.is_new("curves", (info and info.id, len(lines))):
            view[on.curves] = training_texts.curves(training_words.curve_points(lines)) if info else ""
        if seen.is_new("note", info and (info.id, info.note)):
            shown = gr.update(visible=info is not None)
            view |= {on.note: gr.update(visible=info is not None, value=info.note if info else ""), on.keep_note: shown}
        return {**view, **self._preview(visit, info)}

    def _preview(self, visit: Visit, info: RunInfo | None) -> View:
        preview = None
        with suppress(FileFormatError):  # the next one is whole
            preview = self._runs.preview(info.id) if info else None
        if not visit.training.is_new("preview", info and (info.id, preview and preview.step)):
            return {}
        return {
            self._on.preview: training_pictures.preview(preview, task_of_run(self._runs, info.id)) if info and preview else ""
        }

    def _buttons(self, info: RunInfo | None) -> View:
        on, may = self._on, actions(info) if info else frozenset()
        buttons = {PAUSE: on.pause, STOP: on.stop, RESUME: on.resume, INSTALL: on.install, RETIRE: on.retire, REMOVE: on.remove}
        return {button: gr.update(visible=action in may) for action, button in buttons.items()}

    def _beside(self, visit: Visit, info: RunInfo | None, infos: Sequence[RunInfo]) -> View:
        """The comparison with another run, where one was chosen."""
        on, seen = self._on, visit.training
        others = [(training_words.run_title(one), one.id) for one in infos if info and one.id != info.id]
        other = next((one for one in infos if one.id == seen.other and info and one.id != info.id), None)
        seen.other = other.id if other else ""
        view: View = {}
        if seen.is_new("others", (others, seen.other)):
            view[on.other] = gr.update(choices=others, value=seen.other or None, visible=bool(others))
        n_lines = len(self._runs.curve(info.id)) + len(self._runs.curve(other.id)) if info and other else 0
        if seen.is_new("comparison", (info and info.id, seen.other, n_lines)):
            view[on.comparison] = self._compare(info, other) if info and other else ""
        return view

    def _compare(self, info: RunInfo, other: RunInfo) -> str:
        first, second = (f"{one.title}, {training_words.begun(one)}" for one in (info, other))
        return training_texts.comparison(self._runs.compare(info.id, other.id), first, second)

    # Steering ---------------------------------------------------------------------------------------------------------

    def _steered(self, act: Callable[[Visit, RunInfo], View]) -> Callable[[gr.Request], View]:
        """An event that does something with the watched run, and shows what came of it."""

        def event(request: gr.Request) -> View:
            visit = self._visit(request)
            closed = {self._on.sure_box: gr.update(visible=False)}
            try:
                info = watched(self._runs.history(), visit.training.run)
                if info is None:
                    raise OptionError("there is no run", hint="Start one on the left.")
                told = act(visit, info)
            except UniSegError as exc:
                return {**closed, **self._views(visit), self._on.trouble: texts.trouble(exc)}
            return {**closed, **self._views(visit), **told}

        return event

    def _pause(self, visit: Visit, info: RunInfo) -> View:
        self._runs.pause(info.id)
        return {self._on.trouble: texts.done(_SOON["pause"])}

    def _stop(self, visit: Visit, info: RunInfo) -> View:
        self._runs.stop(info.id)
        return {self._on.trouble: texts.done(_SOON["stop"])}

    def _resume(self, visit: Visit, info: RunInfo) -> View:
        self._runs.resume(info.id)
        return {self._on.trouble: ""}

    def _install(self, visit: Visit, info: RunInfo) -> View:
        self._runs.install(info.id)
        task, words = task_of_run(self._runs, info.id), "It is in use now."
        if info.depth == "pack":
            words = f"“{task.title if task else info.title}” is in the list of the Segment tab now."
        elif self._backend.weights is not None:
            words = "They are in use from now on, but not here: this server was started with weights of its own."
        return self._offered_anew(visit, words)

    def _retire(self, visit: Visit, info: RunInfo) -> View:
        pack_store.remove(installed_key(info))
        return self._offered_anew(visit, "It is in no list any more; the run still has it.")

    def _offered_anew(self, visit: Visit, words: str) -> View:
        visit.training.sent.pop("state", None)  # other buttons are of use
        self._backend.reload()
        header = texts.header(self._backend.facts())
        return {
            **self._segment.refreshed(visit),
            self._header: header,
            **self._views(visit),
            self._on.trouble: texts.done(words),
        }

    def _remove(self, visit: Visit, info: RunInfo) -> View:
        self._runs.remove(info.id)
        visit.training.run = ""
        return {self._on.trouble: texts.done(f"“{info.title}” is gone.")}

    def _noted(self, text: str, request: gr.Request) -> View:
        visit = self._visit(request)
        info = watched(self._runs.history(), visit.training.run)
        if info:
            self._runs.note(info.id, text)
        return {**self._views(visit), self._on.trouble: texts.done("The note is kept.")}

    def _compared(self, id: str | None, request: gr.Request) -> View:
        visit = self._visit(request)
        visit.training.other = id or ""
        return self._views(visit) or {self._on.comparison: gr.skip()}
