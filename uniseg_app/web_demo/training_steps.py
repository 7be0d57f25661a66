"""The left side of the Training tab: a data set is looked at and mended, a task described, its price told, a run started."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from uniseg_app import training_words
from uniseg_app.backend import Backend
from uniseg_app.commands import find_weights
from uniseg_app.jobs import Job, Lane, State, wait
from uniseg_app.own_data import task_files_folder
from uniseg_app.training_form import DEPTHS, TrainingForm, filled, price_of, request_of, suggest, try_two_steps
from uniseg_app.training_runs import TrainingRuns
from uniseg_app.typed import changes_in, modalities_in, spacing_in, spacing_text, structures_in, structures_text
from uniseg_app.web_demo import texts, training_texts
from uniseg_app.web_demo.copies import forget
from uniseg_app.web_demo.segment_tab import AT_ONCE, LOOK_EVERY_S, STREAMED
from uniseg_app.web_demo.showing import View
from uniseg_app.web_demo.training_controls import Asked, Steps, Wish
from uniseg_app.web_demo.training_places import DataPlaces
from uniseg_app.web_demo.training_zip import receive_data_set
from uniseg_app.web_demo.uploads import check_size
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.doctor.examine import examine
from uniseg_model.doctor.findings import Report
from uniseg_model.doctor.layout import find_pairs
from uniseg_model.doctor.mend import mend
from uniseg_model.errors import FileFormatError, GeometryError, OptionError, UniSegError
from uniseg_model.progress import Cancelled, Progress, ProgressHook

_LOG = logging.getLogger(__name__)
# What was started is shown beside or, on a phone, below.
_TO_THE_RUN = """() => {
    if (!document.querySelector('.us-training .us-left .us-trouble')) document.querySelector('.us-training .us-right')?.scrollIntoView();
}"""
Looked = tuple[Report, TrainingForm]


class TrainingSteps:
    """Its events. started: the views of the other side, after a run was started."""

    def __init__(
        self, on: Steps, asked: Asked, backend: Backend, visits: Visits, runs: TrainingRuns, places: DataPlaces,
        started: Callable[[Visit, str], View], outputs: list[Any],
    ) -> None:  # fmt: skip
        self._on, self._asked, self._backend, self._visits = on, asked, backend, visits
        self._runs, self._places, self._started, self._outputs = runs, places, started, outputs
        self._lane = Lane("data sets")  # reading files does not keep the device
        self._connect()

    def _connect(self) -> None:
        on, asked, mine = self._on, self._asked, [*self._on.all(), *self._asked.all()]
        on.archive.upload(self._dropped, on.archive, mine, **STREAMED)
        on.look.click(self._look, [asked.data, asked.folder], mine, **STREAMED)
        on.mend.click(self._mend, None, mine, **STREAMED)
        on.price.click(self._price, asked.all(), mine, **STREAMED)
        on.try_it.click(self._try, asked.all(), mine, **STREAMED)
        on.start.click(self._start, asked.all(), self._outputs, **STREAMED).then(None, None, None, js=_TO_THE_RUN)
        on.cancel.click(self._cancelled, None, None, **AT_ONCE)
        asked.structures.change(self._typed, asked.structures, on.swatches, trigger_mode="always_last", **AT_ONCE)
        asked.depth.input(_chosen_depth, asked.depth, [on.about_depth, asked.replay], **AT_ONCE)

    def offered(self, visit: Visit) -> View:
        """The data sets that there are now."""
        visit.training.is_new("sets", choices := self._places.sets())
        homes = [(f"Those in {name}", str(path)) for name, path in self._places.homes]
        return {
            self._asked.data: gr.update(choices=choices),
            self._asked.replay: gr.update(choices=[("None", ""), *homes]),
        }

    def _visit(self, request: gr.Request) -> Visit:
        return self._visits.of(request.session_hash)

    def _cancelled(self, request: gr.Request) -> None:
        self._visit(request).training.cancel()

    # Data -------------------------------------------------------------------------------------------------------------

    def _dropped(self, path: str | None, request: gr.Request) -> Iterator[View]:
        visit = self._visit(request)

        def work(progress: ProgressHook) -> Looked:
            assert path is not None, "something was dropped"
            try:
                data = receive_data_set(Path(path), Path(path).name, visit.folder, progress=progress)
            finally:
                forget(Path(path))
            _check_sizes(data)
            return self._looked(data, progress)

        yield from self._followed(visit, self._lane, "unpack a data set", work, self._shown, is_data=True)

    def _look(self, chosen: str | None, typed: str | None, request: gr.Request) -> Iterator[View]:
        visit = self._visit(request)

        def work(progress: ProgressHook) -> Looked:
            return self._looked(self._places.find(typed or chosen or "", visit.folder), progress)

        yield from self._followed(visit, self._lane, "look at a data set", work, self._shown, is_data=True)

    def _mend(self, request: gr.Request) -> Iterator[View]:
        visit = self._visit(request)

        def work(progress: ProgressHook) -> Looked:
            report, _ = visit.training.looked_at()
            out = self._places.new(f"{report.folder.name} mended")
            mend(report, out, progress)
            return self._looked(out, progress)

        yield from self._followed(visit, self._lane, "mend a data set", work, self._shown, is_data=True)

    def _looked(self, data: Path, progress: ProgressHook) -> Looked:
        report = examine(data, progress=progress)
        progress(Progress("suggest"))
        return report, suggest(report, self._backend.model().checkpoint.base_tasks.values())

    def _shown(self, visit: Visit, looked: Looked) -> View:
        on, asked = self._on, self._asked
        (report, form), choices = looked, self._places.sets()
        visit.training.report, visit.training.form = looked
        value, title = str(report.folder), self._places.title(report.folder)
        here = [] if value in [path for _, path in choices] else [(title, value)]
        offered = {"choices": [*here, *choices]} if visit.training.is_new("sets", [*here, *choices]) else {}
        return {
            on.report: training_texts.report(report, title),
            on.mending: training_texts.mending(report), on.mend: gr.update(visible=bool(report.fixable)),
            on.form: gr.update(visible=True), on.prices: "", on.how_trouble: "",
            on.swatches: training_texts.structures(form.structures), on.archive: None,
            asked.data: gr.update(value=value, **offered), asked.folder: "", asked.title: form.title,
            asked.structures: structures_text(form.structures), asked.modalities: ", ".join(form.modalities),
            asked.spacing: spacing_text(form.spacing_mm),
        }  # fmt: skip

    # Task and price -----------------------------------------------------------------------------------------------------

    def _typed(self, text: str | None) -> str:
        try:
            return training_texts.structures(structures_in(text or ""))
        except UniSegError as exc:
            return texts.trouble(exc)

    def _form(self, visit: Visit, wish: Wish) -> TrainingForm:
        """What was filled in, for the data set that was looked at."""
        _, form = visit.training.looked_at()
        if wish.folder.strip() or wish.data != str(form.data):
            raise OptionError("another data set was chosen and not looked at", hint="Press “Look at it” first.")
        if wish.minutes is None:
            raise OptionError("the minutes are not given", hint="Say how long the steps may take, such as 10.")
        replay = self._places.find(wish.replay, visit.folder) if wish.replay and wish.depth == "full" else None
        return filled(
            form, wish.title, replay=replay,
            structures=structures_in(wish.structures), modalities=modalities_in(wish.modalities), spacing_mm=spacing_in(wish.spacing),
            depth=wish.depth, minutes=float(wish.minutes), weights=find_weights(self._backend.weights),
            changes=changes_in(wish.changes),
        )  # fmt: skip

    def _price(self, request: gr.Request, *values: Any) -> Iterator[View]:
        visit, wish = self._visit(request), Wish.of(*values)

        def work(progress: ProgressHook) -> dict[str, Any]:
            form, found = self._form(visit, wish), {}
            for done, depth in enumerate(DEPTHS):
                progress(Progress("price", done, len(DEPTHS)))
                replay = form.replay if depth == "full" else None
                found[depth] = _priced(replace(form, depth=depth, replay=replay), is_asked=depth == wish.depth)
            return found

        yield from self._followed(visit, self._backend.lane, "price of a training", work, self._priced(wish.depth))

    def _try(self, request: gr.Request, *values: Any) -> Iterator[View]:
        visit, wish = self._visit(request), Wish.of(*values)

        def work(progress: ProgressHook) -> dict[str, Any]:
            return {wish.depth: try_two_steps(self._form(visit, wish), progress).to_dict()}

        yield from self._followed(visit, self._backend.lane, "two steps of a training", work, self._priced(wish.depth, "Two steps went well."))  # fmt: skip

    def _priced(self, depth: str, words: str = "") -> Callable[[Visit, Any], View]:
        return lambda visit, found: {
            self._on.prices: training_texts.prices(found, depth),
            self._on.how_progress: texts.done(words),
        }

    # Start ----------------------------------------------------------------------------------------------------------------

    def _start(self, request: gr.Request, *values: Any) -> Iterator[View]:
        visit, wish = self._visit(request), Wish.of(*values)

        def work(progress: ProgressHook) -> tuple[str, Path]:
            report, _ = visit.training.looked_at()
            if not report.is_usable:
                raise OptionError(
                    "the data set cannot be trained on as it is", hint="Mend what is an error above, and look again."
                )
            form = self._form(visit, wish)
            request_of(form, visit.folder)  # what is wrong is told before anything is moved
            progress(Progress("keep data"))
            data = self._places.keep(form.data, form.title, visit.folder)
            asked = request_of(replace(form, data=data), task_files_folder())
            return self._runs.start(asked, form.title.strip()), data

        yield from self._followed(visit, self._lane, "start a training", work, self._begun)

    def _begun(self, visit: Visit, found: tuple[str, Path]) -> View:
        id, data = found
        seen = visit.training
        if seen.report and seen.form:
            seen.report, seen.form = _moved(seen.report, data), replace(seen.form, data=data)
        offered = {"choices": choices} if seen.is_new("sets", choices := self._places.sets()) else {}
        return {
            self._asked.data: gr.update(value=str(data), **offered),
            self._on.how_progress: texts.done("Started: it goes on by itself, also when this page is closed."),
            **self._started(visit, id),
        }

    # Jobs -----------------------------------------------------------------------------------------------------------------

    def _followed(
        self, visit: Visit, lane: Lane, title: str, work: Callable[[ProgressHook], Any], shown: Callable[[Visit, Any], View],
        *, is_data: bool = False,
    ) -> Iterator[View]:  # fmt: skip
        """Progress of a job, and what came of it. Whoever closes the tab cancels."""
        on, seen = self._on, visit.training
        progress, trouble = (on.data_progress, on.data_trouble) if is_data else (on.how_progress, on.how_trouble)
        if seen.job and not seen.job.done():
            yield {trouble: texts.trouble(OptionError("something is going on already", hint="Wait for it, or cancel it."))}
            return
        job = seen.job = lane.submit(title, work, visit.key)
        try:
            yield {trouble: "", on.cancel: gr.update(interactive=True), progress: texts.progress(job)}
            while not wait(job, LOOK_EVERY_S):
                yield {progress: texts.progress(job)}
        finally:
            job.cancel()
        yield {progress: "", on.cancel: gr.update(interactive=False), **self._ended(visit, job, shown, progress, trouble)}

    def _ended(self, visit: Visit, job: Job[Any], shown: Callable[[Visit, Any], View], progress: Any, trouble: Any) -> View:
        if job.state is State.DONE:
            return shown(visit, job.result())
        if isinstance(job.error, Cancelled):
            return {progress: texts.done("Cancelled."), self._on.archive: None}
        if not isinstance(job.error, UniSegError):
            _LOG.error("the Training tab failed", exc_info=job.error)
        return {trouble: texts.trouble(job.error), self._on.archive: None}


def _chosen_depth(depth: str) -> tuple[str, Any]:
    return texts.done(training_words.DEPTH_ABOUT[depth]), gr.update(visible=depth == "full")


def _priced(form: TrainingForm, *, is_asked: bool) -> dict[str, Any] | str:
    """The price of a depth; why it cannot be, where it is not the one that was asked for."""
    try:
        return price_of(form).to_dict()
    except UniSegError as exc:
        if is_asked:
            raise
        return f"Not possible: {exc.message}."


def _moved(report: Report, data: Path) -> Report:
    """The same of a data set that lies elsewhere now."""

    def there(path: Path) -> Path:
        return data / path.relative_to(report.folder)

    pairs = (replace(p, images=tuple(map(there, p.images)), labels=p.labels and there(p.labels)) for p in report.pairs)
    return replace(report, folder=data, pairs=tuple(pairs))


def _check_sizes(data: Path) -> None:
    """Refuse headers that claim more than this machine shall take; what else is wrong with a file is for the doctor to tell."""
    for pair in find_pairs(data)[1]:
        for path in (*pair.images, *([pair.labels] if pair.labels else [])):
            try:
                check_size([path])
            except (FileFormatError, GeometryError):
                continue
