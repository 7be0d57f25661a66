"""What the Prompts tab shows of a visit. Every event returns whole parts of it, so nothing of another image is left over."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from uniseg_app.backend import Backend
from uniseg_app.jobs import Job, State
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.prompt_controls import CHANGE, IMAGE, SENSITIVITY, Asked, Controls, Wish
from uniseg_app.web_demo.prompt_downloads import downloads
from uniseg_app.web_demo.prompt_offers import PromptOffers
from uniseg_app.web_demo.prompt_scenes import scene_of
from uniseg_app.web_demo.prompt_told import told
from uniseg_app.web_demo.showing import View, to_fetch
from uniseg_app.web_demo.visits import Visit
from uniseg_model.errors import UniSegError
from uniseg_model.progress import Cancelled

_LOG = logging.getLogger(__name__)


class PromptShowing:
    """Visits and wishes as values of controls."""

    def __init__(self, on: Controls, asked: Asked, backend: Backend) -> None:
        self._on, self._backend, self._offers = on, backend, PromptOffers(on, asked, backend)

    def whole(self, visit: Visit, wish: Wish) -> View:
        """Everything."""
        return _merged({self._on.progress: "", self._on.trouble: ""}, self._offers.choices(visit, wish), self.part(visit, wish))

    def part(self, visit: Visit, wish: Wish) -> View:
        """What depends on the view."""
        try:
            return _merged(self._offers.laid(visit, wish), self.pictures(visit, wish))
        except UniSegError as exc:  # such as weights without prompts
            return {self._on.report: "", self._on.trouble: texts.trouble(exc)}

    def pictures(self, visit: Visit, wish: Wish) -> View:
        """The viewer, what is told of it, and what can be taken away."""
        on, checkpoint = self._on, self._backend.model().checkpoint
        stage = visit.staged() if wish.view in (IMAGE, CHANGE, SENSITIVITY) and not visit.is_plain else None
        scene = scene_of(stage, visit.seen, wish, checkpoint.tasks) if stage else None
        viewer = gr.update(visible=True, value=scene) if scene else gr.update(visible="hidden")
        report = told(visit, wish, self._backend)
        files = zip((on.first_file, on.second_file), downloads(visit, wish.view, checkpoint), strict=False)
        offered = {button: {**to_fetch(path), "label": label} for button, (label, path) in files}
        none = {button: gr.update(visible=False) for button in (on.first_file, on.second_file)}
        return {on.viewer: viewer, **self._offers.layers(visit, wish), on.report: report, **none, **offered}

    def running(self, job: Job[Any]) -> View:
        """A job goes on."""
        on = self._on
        return {on.run: gr.update(interactive=False), on.cancel: gr.update(interactive=True), on.trouble: "",
                on.progress: texts.progress(job)}  # fmt: skip

    def ended(self, visit: Visit, wish: Wish, job: Job[Any]) -> View:
        """A job is over, however it went."""
        on = self._on
        idle = {on.run: gr.update(interactive=True), on.cancel: gr.update(interactive=False), on.progress: ""}
        if job.state is State.DONE:
            return _merged(idle, self.part(visit, wish), {on.progress: texts.done("Done.")})
        if isinstance(job.error, Cancelled):
            return {**idle, on.progress: texts.done("Cancelled. What was seen before is kept.")}
        if not isinstance(job.error, UniSegError):
            _LOG.error("a look at prompts failed", exc_info=job.error)
        return {**idle, on.trouble: texts.trouble(job.error)}


def _merged(*views: View) -> View:
    """All of them; what several say of one control goes together, the last word being the later one's."""
    merged: View = {}
    for control, value in ((control, value) for view in views for control, value in view.items()):
        both = isinstance(value, dict) and isinstance(merged.get(control), dict)
        merged[control] = {**merged[control], **value} if both else value
    return merged
