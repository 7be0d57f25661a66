"""The Segment tab: an image comes in, tasks are ticked, labels appear while they are computed, everything can be taken away.

Events find their tab by Gradio's ``session_hash``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from uniseg_app.backend import Backend
from uniseg_app.examples import EXAMPLES, Example
from uniseg_app.jobs import Job, wait
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.controls import lay_out, options_of
from uniseg_app.web_demo.copies import forget
from uniseg_app.web_demo.examples import FirstExample
from uniseg_app.web_demo.showing import Showing, View
from uniseg_app.web_demo.uploads import Received, Uploaded, read, receive
from uniseg_app.web_demo.viewer import POSITION
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.errors import OptionError, OutputError, UniSegError
from uniseg_model.predictor import Options
from uniseg_model.volume import Triple, Volume

LOOK_EVERY_S = 0.3
_QUIET = {"api_visibility": "private", "show_progress": "hidden"}
# Gradio 6 closes a tab's stream when its last queued event ends. A next one whose request arrives just then is never heard of, so as
# few events as can be are queued: those that go on and tell.
AT_ONCE = {**_QUIET, "queue": False}
STREAMED = {**_QUIET, "concurrency_limit": None}
_WITH_POSITION = f"(...inputs) => [...inputs.slice(0, -1), ...({POSITION})()]"  # in place of the last input


@dataclass(frozen=True)
class Welcome:
    """How a tab that opens is met.

    first: the image it shows. notice: what everybody shall know, such as what a crash has lost.
    on_picture: called whenever a browser has drawn something.
    """

    first: FirstExample
    notice: str = ""
    on_picture: Callable[[], None] | None = None


class SegmentTab:
    """The tab and its events."""

    def __init__(self, backend: Backend, visits: Visits, script_url: str, welcome: Welcome) -> None:
        self._backend, self._visits, self._first, self._notice = backend, visits, welcome.first, welcome.notice
        self._on, self._asked, self._examples = lay_out(script_url)
        self._showing = Showing(self._on, backend)
        self._connect()
        if welcome.on_picture:
            self._on.viewer.loaded(welcome.on_picture, None, None, **AT_ONCE)

    @property
    def outputs(self) -> list[Any]:
        """What :meth:`opened` fills."""
        return self._on.all()

    def _connect(self) -> None:
        on, asked, place = self._on, self._asked.all(), gr.JSON(visible=False)
        for door in (on.files, on.folder):
            door.upload(self._uploaded, door, on.all(), **AT_ONCE)
        on.series.input(self._chosen, on.series, on.all(), **AT_ONCE)
        for button, example in zip(self._examples, EXAMPLES, strict=True):
            button.click(self._shower(example), None, on.all(), **AT_ONCE)
        changes = [on.tasks.change, *(control.change for control in asked)]
        gr.on(changes, self._told_cost, [on.tasks, *asked], on.cost, trigger_mode="always_last", **AT_ONCE)
        on.segment.click(self._segment, [on.tasks, *asked, place], on.all(), js=_WITH_POSITION, **STREAMED)
        on.cancel.click(self._cancelled, None, None, **AT_ONCE)
        on.viewer.nowebgl(self._plain, None, on.all(), **AT_ONCE)
        on.plane.input(self._planed, on.plane, [on.number, on.slice], **AT_ONCE)
        on.number.input(self._scrolled, on.number, on.slice, trigger_mode="always_last", **AT_ONCE)

    def _visit(self, request: gr.Request) -> Visit:
        return self._visits.of(request.session_hash)

    # Images -----------------------------------------------------------------------------------------------------------

    def opened(self, request: gr.Request) -> Iterator[View]:
        """The views of a tab that was just opened: the first example, and its answers when they are there."""
        visit, on = self._visit(request), self._on
        if visit.volume is None:
            visit.show(self._first.volume, self._first.title, self._first.answers() or ())
        yield {**self._showing.whole(visit), on.progress: texts.done(self._notice)}
        job = self._first.job
        if job is None or job.done():
            return
        while not wait(job, LOOK_EVERY_S) and self._is_as_opened(visit):
            yield {on.progress: texts.progress(job)}
        if self._is_as_opened(visit):
            visit.keep(self._first.answers() or ())
            try:
                yield self._showing.whole(visit)
            except OutputError:  # whoever left took the folder along
                if not visit.has_left:
                    raise

    def _is_as_opened(self, visit: Visit) -> bool:
        """Whether a tab still shows the first example and has asked for nothing of its own."""
        return visit.volume is self._first.volume and visit.job is None

    def _shower(self, example: Example) -> Any:
        def show(request: gr.Request) -> View:
            return self.show_example(self._visit(request), example)

        return show

    def show_example(self, visit: Visit, example: Example) -> View:
        """An example in place of what was shown; the views of :attr:`outputs`."""
        visit.show(example.volume(), example.caption)
        return {**self._showing.whole(visit), self._on.files: None}

    def refreshed(self, visit: Visit) -> View:
        """The views of :attr:`outputs` when something else can be asked for, such as a task that was just installed."""
        return self._showing.whole(visit)

    def _uploaded(self, paths: list[str] | None, request: gr.Request) -> View:
        visit = self._visit(request)
        if not paths:
            return self._showing.whole(visit)
        try:
            received = receive([Uploaded(Path(path)) for path in paths], visit.folder)
            view = self._asked_which(received) if len(received.series) > 1 else self._read(visit, received)
        except UniSegError as exc:
            view = {**self._showing.whole(visit), self._on.trouble: texts.trouble(exc)}
        for path in paths:
            forget(Path(path))
        return {**view, self._on.files: None}

    def _asked_which(self, received: Received) -> View:
        choices = [(f"{s.description or s.uid}: {s.n_slices} slices, {s.modality}", f"{received.folder}|{s.uid}") for s in received.series]  # fmt: skip
        return {
            self._on.series: gr.update(choices=choices, value=None, visible=True),
            self._on.progress: texts.done(f"There are {len(choices)} series. Choose one."),
            self._on.trouble: "",
        }

    def _chosen(self, choice: str, request: gr.Request) -> View:
        visit = self._visit(request)
        folder, _, uid = choice.rpartition("|")
        try:
            if Path(folder).parent != visit.folder:
                raise OptionError("these series are not here any more", hint="Drop the files again.")
            return self._read(visit, Received((Path(folder) / "dicom",), (), (), (), Path(folder)), uid)
        except UniSegError as exc:
            return {self._on.trouble: texts.trouble(exc)}

    def _read(self, visit: Visit, received: Received, series: str | None = None) -> View:
        visit.show(read(received, series=series), ", ".join(received.names) or "DICOM series")
        note = f"Passed over, no images: {', '.join(received.passed_over)}" if received.passed_over else ""
        return {**self._showing.whole(visit), self._on.progress: texts.done(note)}

    # Slices -----------------------------------------------------------------------------------------------------------

    def _plain(self, request: gr.Request) -> View:
        return self._showing.plain(self._visit(request))

    def _planed(self, plane: str, request: gr.Request) -> View:
        return self._showing.plane(self._visit(request), plane)

    def _scrolled(self, number: float, request: gr.Request) -> View:
        visit = self._visit(request)
        visit.number = int(number)
        return self._showing.pictures(visit)

    # Segmenting -------------------------------------------------------------------------------------------------------

    def _segment(
        self, keys: list[str], work: str, step: str, confidence: bool, agreement: bool, place_mm: Any, request: gr.Request
    ) -> Iterator[View]:
        visit, on = self._visit(request), self._on
        try:
            job = visit.job = self._begun(visit, keys, options_of(work, step, confidence, agreement), place_mm)
        except UniSegError as exc:
            yield {on.trouble: texts.trouble(exc)}
            return
        try:
            yield {**self._showing.running(job), on.trouble: ""}
            yield from self._followed(visit, job)
            yield self._showing.writing()
            yield self._showing.ended(visit, job)
        except OutputError:  # whoever left took the folder along
            if not visit.has_left:
                raise

    def _begun(self, visit: Visit, keys: list[str], options: Options, place_mm: Triple | None) -> Job[Any]:
        volume = visit.image()
        if not keys:
            raise OptionError("no task is ticked", hint="Tick at least one under “What to look for”.")
        if visit.is_busy:
            raise OptionError("a run is going on already", hint="Wait for it, or cancel it.")
        options = options.focused_on(voxel_at(volume, place_mm)) if place_mm else options
        return self._backend.segment(volume, keys, options, owner=visit.key, look=visit.looker())

    def _followed(self, visit: Visit, job: Job[Any]) -> Iterator[View]:
        """Progress and previews; what came of it is kept. Whoever closes the tab cancels."""
        seen = visit.version
        try:
            while not wait(job, LOOK_EVERY_S):
                view = {self._on.progress: texts.progress(job)}
                if visit.version != seen:
                    seen, view = visit.version, {**view, **self._showing.pictures(visit)}
                yield view
        finally:
            job.cancel()
        visit.finish(job)

    def _cancelled(self, request: gr.Request) -> None:
        job = self._visit(request).job
        if job:
            job.cancel()

    def _told_cost(self, keys: list[str], work: str, step: str, confidence: bool, agreement: bool, request: gr.Request) -> str:
        volume = self._visit(request).volume
        if not keys or volume is None:
            return ""
        try:
            return texts.cost(self._backend.cost(volume, keys, options_of(work, step, confidence, agreement)))
        except UniSegError as exc:
            return texts.trouble(exc)


def voxel_at(volume: Volume, place_mm: Triple) -> Triple:
    """The voxel Z, Y, X at a place (right, anterior, superior) in mm; it may lie outside."""
    z, y, x = (float(at) for at in (np.linalg.inv(volume.affine) @ [*place_mm, 1.0])[:3])
    return z, y, x
