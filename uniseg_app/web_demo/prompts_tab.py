"""The Prompts tab: what the weights learned, what the decoder is told about this image, and what changes when it is told something else.

It looks at the image that is open in the Segment tab, with a job of the same visit: one thing at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from uniseg_app.backend import Backend
from uniseg_app.examples import EXAMPLES, Example
from uniseg_app.jobs import Job, State, wait
from uniseg_app.prompt_jobs import Elsewhere, PromptJobs, box_around
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.prompt_controls import (
    BEST,
    BLEND,
    BOX,
    CHANGE,
    FOREIGN,
    IMAGE,
    SENSITIVITY,
    SHUFFLE,
    SWAP,
    WHOLE_IMAGE,
    WINDOW,
    ZERO,
    Wish,
    lay_out,
)
from uniseg_app.web_demo.prompt_showing import PromptShowing
from uniseg_app.web_demo.segment_tab import AT_ONCE, LOOK_EVERY_S, STREAMED, SegmentTab, voxel_at
from uniseg_app.web_demo.showing import View
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.errors import OptionError, OutputError, UniSegError
from uniseg_model.prompts.changes import Blend, Change, Foreign, Own, Shuffle, Swap, Zero
from uniseg_model.regions import WHOLE, OneWindow, Region
from uniseg_model.volume import Triple, Volume

# The place of this tab's crosshair, else of the Segment tab's, in place of the last input.
_WITH_POSITION = """(...inputs) => {
    const own = document.querySelector('.us-prompts .us-viewer')?.viewer?.position();
    return [...inputs.slice(0, -1), own ?? window.unisegViewer?.position() ?? null];
}"""
# Both tabs' crosshairs go together: that of the tab that was left is taken along.
_TO_PROMPTS = "() => { document.querySelector('.us-prompts .us-viewer')?.viewer?.follow(window.unisegViewer); }"
_TO_SEGMENT = "() => { window.unisegViewer?.follow(document.querySelector('.us-prompts .us-viewer')?.viewer); }"


class PromptsTab:
    """The tab and its events. segment: the tab whose image is looked at."""

    def __init__(self, backend: Backend, visits: Visits, script_url: str, segment: SegmentTab) -> None:
        self._jobs, self._visits, self._segment = PromptJobs(backend), visits, segment
        self._on, self._asked, examples = lay_out(script_url)
        self._showing = PromptShowing(self._on, self._asked, backend)
        self._connect(examples)

    def connect_tabs(self, own: gr.Tab, segment: gr.Tab) -> None:
        """What happens when a tab is opened."""
        own.select(self._opened, self._asked.all(), self._outputs, **AT_ONCE)
        own.select(None, None, None, js=_TO_PROMPTS)
        segment.select(None, None, None, js=_TO_SEGMENT)

    @property
    def _outputs(self) -> list[Any]:
        return [*self._on.all(), *self._asked.all()]

    def _connect(self, examples: list[gr.Button]) -> None:
        on, asked, place = self._on, self._asked, gr.JSON(visible=False)
        lays = [asked.view.input, asked.change.input, asked.region.input]
        gr.on(lays, self._viewed, asked.all(), self._outputs, trigger_mode="always_last", **AT_ONCE)
        draws = [asked.scale.input, asked.shown.input, asked.minus.input, asked.layer.input]
        gr.on(draws, self._drawn, asked.all(), self._outputs, trigger_mode="always_last", **AT_ONCE)
        for button, example in zip(examples, EXAMPLES, strict=True):
            button.click(self._shower(example), asked.all(), [*self._segment.outputs, *self._outputs], **AT_ONCE)
        on.run.click(self._run, [*asked.all(), place], self._outputs, js=_WITH_POSITION, **STREAMED)
        asked.share.release(
            self._slid, [*asked.all(), place], self._outputs, js=_WITH_POSITION, trigger_mode="always_last", **STREAMED
        )
        on.cancel.click(self._cancelled, None, None, **AT_ONCE)
        on.viewer.nowebgl(self._plain, asked.all(), self._outputs, **AT_ONCE)

    def _visit(self, request: gr.Request) -> Visit:
        return self._visits.of(request.session_hash)

    # What is shown ----------------------------------------------------------------------------------------------------

    def _opened(self, request: gr.Request, *values: Any) -> View:
        return self._showing.whole(self._visit(request), Wish(*values))

    def _viewed(self, request: gr.Request, *values: Any) -> View:
        visit = self._visit(request)
        quiet = {} if visit.is_busy else {self._on.progress: ""}
        show = (
            self._showing.part if visit.volume else self._showing.whole
        )  # where there is no image any more, nothing can be chosen
        return {self._on.trouble: "", **quiet, **show(visit, Wish(*values))}

    def _drawn(self, request: gr.Request, *values: Any) -> View:
        return self._showing.pictures(self._visit(request), Wish(*values))

    def _plain(self, request: gr.Request, *values: Any) -> View:
        visit = self._visit(request)
        visit.is_plain = True
        return self._showing.pictures(visit, Wish(*values))

    def _shower(self, example: Example) -> Any:
        def show(request: gr.Request, *values: Any) -> View:
            visit = self._visit(request)
            return {**self._segment.show_example(visit, example), **self._showing.whole(visit, Wish(*values))}

        return show

    # Looking ----------------------------------------------------------------------------------------------------------

    def _run(self, request: gr.Request, *values: Any) -> Iterator[View]:
        *wished, place_mm = values
        visit, wish = self._visit(request), Wish(*wished)
        try:
            job = visit.job = self._begun(visit, wish, place_mm)
        except UniSegError as exc:
            yield {self._on.trouble: texts.trouble(exc)}
            return
        title = visit.title
        try:
            yield self._showing.running(job)
            while not wait(job, LOOK_EVERY_S):
                yield {self._on.progress: texts.progress(job)}
            if job.state is State.DONE and visit.job is job:
                visit.seen.keep(title, job.result())
            yield self._showing.ended(visit, wish, job)
        except OutputError:  # whoever left took the folder along
            if not visit.has_left:
                raise
        finally:
            job.cancel()

    def _slid(self, request: gr.Request, *values: Any) -> Iterator[View]:
        """The slider was let go: a window that was looked at before is looked at again, if it is told something else now."""
        wish, found = Wish(*values[:-1]), self._visit(request).seen.what_if
        if found is None or (wish.view, wish.change, wish.region) != (CHANGE, BLEND, WINDOW):
            return
        now = {"prompt": "blend", "task": wish.other, "share": wish.share}
        if (found.before.task.key, found.change.to_dict()) != (wish.task, now):
            yield from self._run(request, *values)

    def _begun(self, visit: Visit, wish: Wish, place_mm: Triple | None) -> Job[Any]:
        volume = visit.image()
        if visit.is_busy:
            raise OptionError("a run is going on already", hint="Wait for it, or cancel it.")
        voxel = _inside(volume, place_mm)
        if wish.view == IMAGE:
            return self._jobs.maps(volume, _ticked(wish), owner=visit.key)
        if wish.view == CHANGE:
            task, region = _chosen(wish.task, "task"), _region(volume, wish, voxel)
            return self._jobs.what_if(volume, task, self._change(visit, wish, task), region, owner=visit.key)
        if wish.view == SENSITIVITY:
            task, _, structure = _chosen(wish.structure, "structure").partition("|")
            return self._jobs.saliency(volume, task, structure, _region(volume, wish, voxel), owner=visit.key)
        return self._jobs.sheet(volume, _ticked(wish), None if wish.slice == BEST else voxel, owner=visit.key)

    def _change(self, visit: Visit, wish: Wish, task: str) -> Change | Elsewhere:
        if wish.change == SWAP:
            return Swap(_chosen(wish.other, "other task"))
        if wish.change == BLEND:
            return Blend(_chosen(wish.other, "other task"), float(wish.share))
        if wish.change == ZERO:
            return Zero()
        if wish.change == SHUFFLE:
            return Shuffle(int(wish.seed or 0))
        return self._foreign(visit, _chosen(wish.foreign, "other image"), task) if wish.change == FOREIGN else Own()

    def _foreign(self, visit: Visit, title: str, task: str) -> Change | Elsewhere:
        """The mean prompt of an image that was looked at before, or of an example."""
        mean = visit.seen.means.get(title, {}).get(task)
        if mean is not None:
            return Foreign(mean, title)
        example = next((example for example in EXAMPLES if example.caption == title), None)
        if example is None:
            raise OptionError(
                f"the prompt of {task!r} was not read while {title} was open",
                hint="Open it again and read it under “This image”.",
            )
        return Elsewhere(example.volume(), title)

    def _cancelled(self, request: gr.Request) -> None:
        job = self._visit(request).job
        if job:
            job.cancel()


def _ticked(wish: Wish) -> list[str]:
    if not wish.tasks:
        raise OptionError("no task is ticked", hint="Tick at least one under “Whose prompts”.")
    return wish.tasks


def _chosen(value: str | None, what: str) -> str:
    if not value:
        raise OptionError(f"no {what} is chosen", hint="Choose one; another image may offer more.")
    return value


def _inside(volume: Volume, place_mm: Triple | None) -> Triple:
    """The voxel at the crosshair, the nearest one where that is beyond the image; the middle where there is no crosshair."""
    middle = [(n - 1) / 2 for n in volume.shape]
    z, y, x = np.clip(voxel_at(volume, place_mm) if place_mm else middle, 0, [n - 1 for n in volume.shape]).tolist()
    return z, y, x


def _region(volume: Volume, wish: Wish, voxel: Triple) -> Region:
    if wish.region == WHOLE_IMAGE:
        return WHOLE
    return box_around(volume, voxel, float(wish.side)) if wish.region == BOX else OneWindow(voxel)
