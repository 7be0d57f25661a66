"""What can be chosen on the Prompts tab for an image, and which controls are of use in which view."""

from __future__ import annotations

from typing import Any

import gradio as gr

from uniseg_app.backend import Backend, Choice
from uniseg_app.examples import EXAMPLES
from uniseg_app.prompt_words import other_title
from uniseg_app.web_demo import prompt_texts, texts
from uniseg_app.web_demo.prompt_controls import (
    BLEND,
    BOX,
    CHANGE,
    FOREIGN,
    IMAGE,
    LEARNED,
    SENSITIVITY,
    SHEET,
    SHUFFLE,
    SWAP,
    VERBS,
    WINDOW,
    Asked,
    Controls,
    Wish,
)
from uniseg_app.web_demo.prompt_scenes import mapped
from uniseg_app.web_demo.showing import View, task_title
from uniseg_app.web_demo.visits import Visit

_NOTHING = "Nothing"
_NO_IMAGE = "No image is open. Take an example, or open a scan in the Segment tab."


class PromptOffers:
    """Choices as values of controls."""

    def __init__(self, on: Controls, asked: Asked, backend: Backend) -> None:
        self._on, self._asked, self._backend = on, asked, backend

    def choices(self, visit: Visit, wish: Wish) -> View:
        """What can be chosen for this image; what was chosen stays, where it suits: it may have been for another image."""
        on, asked, volume = self._on, self._asked, visit.volume
        choices = self._backend.choices(volume) if volume else []
        fitting = sorted((c for c in choices if not c.refused), key=lambda c: not c.suits)
        titles, keys = [(task_title(c), c.task.key) for c in fitting], [c.task.key for c in fitting]
        suiting = [c.task.key for c in fitting if c.suits] or keys
        kept = [key for key in wish.tasks if key in suiting]
        others = [(other_title(c), c.task.key) for c in sorted(choices, key=lambda c: not c.suits)]
        return {
            on.image: texts.image_facts(volume, visit.title) if volume else texts.done(_NO_IMAGE),
            on.offer: gr.update(visible=volume is None),
            on.about_tasks: gr.update(value=texts.about_tasks(choices)),
            asked.tasks: gr.update(choices=titles, value=kept or suiting),
            asked.task: _dropdown(titles, wish.task if wish.task in suiting else None),
            asked.other: _dropdown(others, wish.other, 1),
            asked.foreign: _dropdown(self._foreign(visit), wish.foreign),
            asked.structure: _dropdown(_structures(fitting), wish.structure if _task_of(wish.structure) in suiting else None),
        }

    def _foreign(self, visit: Visit) -> list[tuple[str, str]]:
        """Images whose prompts may be taken: those looked at before, and the examples of this kind."""
        if visit.volume is None:
            return []
        known, n = self._backend.model().checkpoint.tasks, visit.volume.n_channels
        fitting = [e.caption for e in EXAMPLES if e.task in known and len(known[e.task].modalities) == n]
        names = [name for name in dict.fromkeys([*visit.seen.means, *fitting]) if name != visit.title]
        return [(name, name) for name in names]

    def laid(self, visit: Visit, wish: Wish) -> View:
        """Which controls are of use."""
        on, asked, view = self._on, self._asked, wish.view
        shown = {
            asked.scale: view in (LEARNED, IMAGE),
            asked.tasks: view in (IMAGE, SHEET), asked.slice: view == SHEET,
            asked.structure: view == SENSITIVITY,
            asked.region: view in (CHANGE, SENSITIVITY), asked.side: view in (CHANGE, SENSITIVITY) and wish.region == BOX,
            on.about_tasks: view != LEARNED and visit.volume is not None, on.run_box: view != LEARNED,
        }  # fmt: skip
        verb = {} if view == LEARNED else {on.run: gr.update(value=VERBS[view])}
        return {
            **{control: gr.update(visible=is_of_use) for control, is_of_use in shown.items()},
            **self._laid_change(wish),
            **verb,
        }

    def _laid_change(self, wish: Wish) -> View:
        asked, is_change = self._asked, wish.view == CHANGE
        shown = {
            asked.task: True, asked.change: True, asked.other: wish.change in (SWAP, BLEND),
            asked.seed: wish.change == SHUFFLE, asked.foreign: wish.change == FOREIGN,
        }  # fmt: skip
        info = prompt_texts.SLIDES if wish.region == WINDOW else prompt_texts.SLIDES_AND_PRESS
        share = gr.update(visible=is_change and wish.change == BLEND, info=info)
        return {
            **{control: gr.update(visible=is_change and is_of_use) for control, is_of_use in shown.items()},
            asked.share: share,
        }

    def layers(self, visit: Visit, wish: Wish) -> View:
        """What the viewer can be asked for, once something was looked at; nothing where there is no viewer."""
        asked, has_viewer = self._asked, not visit.is_plain
        over = mapped(visit.seen, wish) if wish.view == IMAGE and has_viewer else None
        layer = {asked.layer: gr.update(visible=wish.view == CHANGE and has_viewer and visit.seen.what_if is not None)}
        if over is None:
            return {**layer, asked.shown: gr.update(visible=False), asked.minus: gr.update(visible=False)}
        titles = [(task.title, task.key) for maps in visit.seen.maps for task in maps.tasks]
        others = [(task.title, task.key) for task in over.maps.tasks if task.key != over.key]
        return {
            **layer,
            asked.shown: gr.update(choices=titles, value=over.key, visible=True),
            asked.minus: gr.update(choices=[(_NOTHING, ""), *others], value=over.minus or "", visible=True),
        }


def _structures(choices: list[Choice]) -> list[tuple[str, str]]:
    return [(f"{c.task.title}: {label.name}", f"{c.task.key}|{label.name}") for c in choices for label in c.task.labels]


def _task_of(structure: str | None) -> str:
    return (structure or "").partition("|")[0]


def _dropdown(choices: list[tuple[str, str]], wanted: str | None, first: int = 0) -> Any:
    """Choices with the value that was chosen, where it is still among them."""
    values = [value for _, value in choices]
    value = wanted if wanted in values else next(iter(values[first:] or values), None)
    return gr.update(choices=choices, value=value)
