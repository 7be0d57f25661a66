"""What the Prompts tab shows of a visit. Every event returns whole parts of it, so nothing of another image is left over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from uniseg_app.answers import zipped
from uniseg_app.backend import Backend, Choice
from uniseg_app.examples import EXAMPLES
from uniseg_app.jobs import Job, State
from uniseg_app.prompt_answers import change_rows, changes_csv, save_inspection, save_saliency, save_what_if
from uniseg_app.web_demo import prompt_texts, texts
from uniseg_app.web_demo.display import Structure, display_labels, located
from uniseg_app.web_demo.heat import Heat, cells_heat, change_heat
from uniseg_app.web_demo.prompt_controls import (
    AFTER,
    BEFORE,
    BLEND,
    BOX,
    CHANGE,
    FOREIGN,
    IMAGE,
    LEARNED,
    OWN_SCALE,
    PROBABILITY,
    SENSITIVITY,
    SHEET,
    SHUFFLE,
    SWAP,
    VERBS,
    Asked,
    Controls,
    Wish,
)
from uniseg_app.web_demo.scenes import Layers, Stage
from uniseg_app.web_demo.showing import View, task_title, to_fetch
from uniseg_app.web_demo.viewer import ViewerScene
from uniseg_app.web_demo.visits import Visit
from uniseg_model.errors import UniSegError
from uniseg_model.progress import Cancelled
from uniseg_model.prompts.inspection import PAGE, Inspection
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.whatif import WhatIf

_LOG = logging.getLogger(__name__)
_HINTS = {
    IMAGE: "Choose whose prompts, and press “Read the prompts”. Every window is encoded once, whatever you tick.",
    CHANGE: "Put the crosshair where you want to look, choose what the decoder is told, and press “Show what changes”.",
    SENSITIVITY: "Put the crosshair on a structure, choose it, and press “Work it out”.",
    SHEET: "Choose the tasks, and press “Draw the sheet”: the image is segmented under each of them.",
}  # fmt: skip
_NONE = "Nothing"


class PromptShowing:
    """Visits and wishes as values of controls."""

    def __init__(self, on: Controls, asked: Asked, backend: Backend) -> None:
        self._on, self._asked, self._backend = on, asked, backend

    def whole(self, visit: Visit, wish: Wish) -> View:
        """Everything."""
        return _merged({self._on.progress: "", self._on.trouble: ""}, self._offered(visit, wish), self.part(visit, wish))

    def part(self, visit: Visit, wish: Wish) -> View:
        """What depends on the view."""
        try:
            return _merged(self._laid(visit, wish), self.pictures(visit, wish))
        except UniSegError as exc:  # such as weights without prompts
            return {self._on.report: "", self._on.trouble: texts.trouble(exc)}

    def _offered(self, visit: Visit, wish: Wish) -> View:
        """What can be chosen for this image."""
        on, asked, volume = self._on, self._asked, visit.volume
        choices = self._backend.choices(volume) if volume else []
        fitting = sorted((c for c in choices if not c.refused), key=lambda c: not c.suits)
        titles = [(task_title(c), c.task.key) for c in fitting]
        keys, suiting = [key for _, key in titles], [c.task.key for c in fitting if c.suits]
        kept = [key for key in wish.tasks if key in keys]
        structures = [
            (f"{c.task.title}: {label.name}", f"{c.task.key}|{label.name}") for c in fitting for label in c.task.labels
        ]
        others = [(_other_title(c), c.task.key) for c in sorted(choices, key=lambda c: not c.suits)]
        return {
            on.image: texts.image_facts(volume, visit.title) if volume else texts.done("No image is open. Take an example, or open a scan in the Segment tab."),
            on.offer: gr.update(visible=volume is None),
            on.about_tasks: texts.about_tasks(choices) if volume else "",
            asked.tasks: gr.update(choices=titles, value=kept or suiting or keys[:1]),
            asked.task: _dropdown(titles, wish.task),
            asked.other: _dropdown(others, wish.other, 1),
            asked.foreign: _dropdown(self._foreign(visit), wish.foreign),
            asked.structure: _dropdown(structures, wish.structure),
        }  # fmt: skip

    def _foreign(self, visit: Visit) -> list[tuple[str, str]]:
        """Images whose prompts may be taken: those looked at before, and the examples of this kind."""
        if visit.volume is None:
            return []
        known = self._backend.model().checkpoint.tasks
        n = visit.volume.n_channels
        fitting = [e.caption for e in EXAMPLES if e.task in known and len(known[e.task].modalities) == n]
        names = [name for name in dict.fromkeys([*visit.seen.means, *fitting]) if name != visit.title]
        return [(name, name) for name in names]

    def _laid(self, visit: Visit, wish: Wish) -> View:
        """Which controls are of use."""
        on, asked, has = self._on, self._asked, visit.volume is not None
        view, is_change = wish.view, wish.view == CHANGE
        shown = {
            asked.scale: view in (LEARNED, IMAGE),
            asked.tasks: view in (IMAGE, SHEET), asked.slice: view == SHEET,
            asked.task: is_change, asked.change: is_change,
            asked.other: is_change and wish.change in (SWAP, BLEND), asked.share: is_change and wish.change == BLEND,
            asked.seed: is_change and wish.change == SHUFFLE, asked.foreign: is_change and wish.change == FOREIGN,
            asked.structure: view == SENSITIVITY,
            asked.region: view in (CHANGE, SENSITIVITY), asked.side: view in (CHANGE, SENSITIVITY) and wish.region == BOX,
            asked.layer: is_change and visit.seen.what_if is not None,
            on.about_tasks: view != LEARNED and has, on.run_box: view != LEARNED,
        }  # fmt: skip
        laid = {control: gr.update(visible=bool(value)) for control, value in shown.items()}
        verb = {} if view == LEARNED else {on.run: gr.update(value=VERBS[view])}
        return {**laid, **verb}

    # Pictures ---------------------------------------------------------------------------------------------------------

    def pictures(self, visit: Visit, wish: Wish) -> View:
        """The viewer, the report, and what can be taken away."""
        on, asked = self._on, self._asked
        key, minus, view = self._mapped(visit, wish)
        has_viewer = wish.view in (IMAGE, CHANGE, SENSITIVITY) and visit.volume is not None
        told = self._told(visit, wish, key, minus)
        if visit.is_plain and has_viewer:
            told = prompt_texts.caution(_PLAIN) + told
        elif has_viewer:
            view[on.viewer] = gr.update(visible=True, value=self._scene(visit, wish, key, minus))
        if not has_viewer or visit.is_plain:
            view[on.viewer] = gr.update(visible="hidden")
        is_mapped = wish.view == IMAGE and key is not None
        view |= {asked.layer: gr.update(visible=wish.view == CHANGE and visit.seen.what_if is not None)}
        if not is_mapped:
            view |= {asked.shown: gr.update(visible=False), asked.minus: gr.update(visible=False)}
        return {**view, on.report: told, **self._files(visit, wish.view)}

    def _mapped(self, visit: Visit, wish: Wish) -> tuple[str | None, str | None, View]:
        """Whose map is shown, minus whose, and the two lists to choose from."""
        asked, titles = self._asked, [(task.title, task.key) for maps in visit.seen.maps for task in maps.tasks]
        keys = [key for _, key in titles]
        key = wish.shown if wish.shown in keys else next(iter(keys), None)
        if key is None:
            return None, None, {}
        maps = visit.seen.maps_of(key)
        others = [(t.title, t.key) for t in maps.tasks if t.key != key] if maps else []
        minus = wish.minus if wish.minus in [k for _, k in others] else None
        return key, minus, {
            asked.shown: gr.update(choices=titles, value=key, visible=True),
            asked.minus: gr.update(choices=[(_NONE, ""), *others], value=minus or "", visible=True),
        }  # fmt: skip

    def _scene(self, visit: Visit, wish: Wish, key: str | None, minus: str | None) -> ViewerScene | None:
        stage, seen = visit.staged(), visit.seen
        assert stage is not None  # there is a volume
        if wish.view == IMAGE and key is not None and (maps := seen.maps_of(key)):
            return stage.heat_scene(_map_heat(stage, maps, key, minus, is_own=wish.scale == OWN_SCALE), maps.tasks)
        if wish.view == CHANGE and seen.what_if:
            return self._changed(stage, seen.what_if, wish.layer)
        if wish.view == SENSITIVITY and (found := seen.saliency):
            most = float(np.nanmax(np.abs(found.array))) or 1.0
            name = f"sensitivity of {found.structure}"
            return stage.heat_scene(
                cells_heat(name, found.array, found.affine, stage.copy, (-most, most), around_zero=True), [found.task]
            )
        return stage.scene(stage.layers({}, self._backend.model().checkpoint.tasks))

    def _changed(self, stage: Stage, found: WhatIf, layer: str) -> ViewerScene:
        known, task = self._backend.model().checkpoint.tasks, found.before.task
        if layer == PROBABILITY:
            return stage.heat_scene(change_heat("change of probability", found.probability_change, stage.copy), [task])
        if layer in (BEFORE, AFTER):
            answer = found.before if layer == BEFORE else found.after
            return stage.scene(stage.layers({task.key: answer.labels}, known))
        labels = display_labels(found.difference, stage.copy)
        named = [Structure(value, name, color) for value, (name, color) in prompt_texts.DIFFERENCES.items()]
        windows = stage.layers({task.key: found.before.labels}, known).windows
        return stage.scene(Layers(windows, labels, tuple(located(named, labels, stage.copy.affine))))

    def _told(self, visit: Visit, wish: Wish, key: str | None, minus: str | None) -> str:
        seen, checkpoint = visit.seen, self._backend.model().checkpoint
        if wish.view == LEARNED:
            return prompt_texts.learned(learned_prompts(checkpoint), own_scale=wish.scale == OWN_SCALE)
        if wish.view == IMAGE and key is not None:
            learned = [learned_prompts(checkpoint, [task.key for task in maps.tasks]) for maps in seen.maps]
            titles = [checkpoint.tasks[k].title if k else None for k in (key, minus)]
            return prompt_texts.image(seen.maps, learned, str(titles[0]), titles[1])
        if wish.view == CHANGE and seen.what_if:
            return self._told_change(visit, seen.what_if, wish.layer)
        if wish.view == SENSITIVITY and seen.saliency:
            return prompt_texts.sensitivity(seen.saliency)
        if wish.view == SHEET and seen.sheet:
            return prompt_texts.sheet(seen.sheet)
        return prompt_texts.hint(_HINTS[wish.view]) if visit.volume else ""

    def _told_change(self, visit: Visit, found: WhatIf, layer: str) -> str:
        change, known = found.change.to_dict(), self._backend.model().checkpoint.tasks
        keys = {found.before.task.key, change.get("task")} - {None}
        suiting = {choice.task.key for choice in self._backend.choices(visit.image()) if choice.suits}
        other = known[change["task"]].title if "task" in change else ""
        said = {
            "own": "its own prompt", "swap": f"the prompt of {other}", "zero": "no prompt",
            "blend": f"{change.get('share', 0):.0%} of the prompt of {other}", "shuffle": f"its own prompt, shuffled (seed {change.get('seed')})",
            "foreign": f"the prompt of {change.get('said')}",
        }[change["prompt"]]  # fmt: skip
        return prompt_texts.what_if(found, layer, said, prompt_texts.cautions_of(found, is_other_kind=bool(keys - suiting)))

    # A job ------------------------------------------------------------------------------------------------------------

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

    # Files ------------------------------------------------------------------------------------------------------------

    def _files(self, visit: Visit, view: str) -> View:
        files = self._written(visit, view)
        buttons = (self._on.first_file, self._on.second_file)
        offered = {button: {**to_fetch(path), "label": label} for button, (label, path) in zip(buttons, files, strict=False)}
        return {**{button: gr.update(visible=False) for button in buttons}, **offered}

    def _written(self, visit: Visit, view: str) -> list[tuple[str, Path]]:
        """What can be taken away from a view; written when it is first asked for."""
        seen, folder = visit.seen, visit.folder / "prompts"
        name = f"uniseg-{view.lower().replace(' ', '-')}"
        has = {LEARNED: True, IMAGE: bool(seen.maps), CHANGE: seen.what_if, SENSITIVITY: seen.saliency, SHEET: seen.sheet}
        if not has[view]:
            return []
        if view not in seen.ready:
            folder.mkdir(exist_ok=True)
            self._write(visit, view, folder, name)
            seen.ready.add(view)
        if view == SHEET:
            return [("Picture (.png)", folder / f"{name}.png"), ("Picture (.pdf)", folder / f"{name}.pdf")]
        more = {LEARNED: [("Report (.html)", folder / view / PAGE)], IMAGE: [("Report (.html)", folder / view / PAGE)],
                CHANGE: [("Table (.csv)", folder / f"{name}.csv")]}  # fmt: skip
        return [("All numbers (.zip)", folder / f"{name}.zip"), *more.get(view, [])]

    def _write(self, visit: Visit, view: str, folder: Path, name: str) -> None:
        seen, parts = visit.seen, folder / view
        if view == SHEET and seen.sheet:
            seen.sheet.save(folder / f"{name}.png")
            seen.sheet.save(folder / f"{name}.pdf")
            return
        files: Sequence[Path] = ()
        if view == CHANGE and seen.what_if:
            files = save_what_if(parts, seen.what_if)
            (folder / f"{name}.csv").write_text(changes_csv(change_rows(seen.what_if)), encoding="utf-8")
        elif view == SENSITIVITY and seen.saliency:
            files = save_saliency(parts, seen.saliency)
        elif view in (LEARNED, IMAGE):
            model = self._backend.model()
            from uniseg_model.predictor import describe_weights

            weights, maps = describe_weights(model.checkpoint), seen.maps if view == IMAGE else ()
            files = save_inspection(parts, Inspection(weights, learned_prompts(model.checkpoint), maps))
        zipped(files, folder / f"{name}.zip")


_PLAIN = "This browser does not offer WebGL2, which the viewer needs: tables, stacks of slices and downloads show the same."


def _map_heat(stage: Stage, maps: PromptMaps, key: str, minus: str | None, *, is_own: bool) -> Heat:
    """One task's map, or the difference of two, over the scan. is_own: a scale of its own, else one for all maps of the grid."""
    if minus:
        values = maps.difference(key, minus)
        most = float(np.nanmax(np.abs(values))) or 1.0
        return cells_heat("difference of prompts", values, maps.affine, stage.copy, (-most, most), around_zero=True)
    values = maps.of(key)
    ruler = values if is_own else maps.array
    return cells_heat("prompt", values, maps.affine, stage.copy, (float(np.nanmin(ruler)), float(np.nanmax(ruler))))


def _dropdown(choices: list[tuple[str, str]], wanted: str | None, first: int = 0) -> Any:
    """Choices with the value that was chosen, where it is still among them."""
    values = [value for _, value in choices]
    value = wanted if wanted in values else next(iter(values[first:] or values), None)
    return gr.update(choices=choices, value=value)


def _merged(*views: View) -> View:
    """All of them; what several say of one control goes together, the last word being the later one's."""
    merged: View = {}
    for control, value in ((control, value) for view in views for control, value in view.items()):
        both = isinstance(value, dict) and isinstance(merged.get(control), dict)
        merged[control] = {**merged[control], **value} if both else value
    return merged


def _other_title(choice: Choice) -> str:
    return choice.task.title if choice.suits else f"{choice.task.title} (for another kind of image)"
