"""What lies over the scan on the Prompts tab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uniseg_app import prompt_words
from uniseg_app.web_demo.display import Structure, display_labels, located
from uniseg_app.web_demo.heat import Heat, cells_heat, change_heat
from uniseg_app.web_demo.prompt_controls import AFTER, BEFORE, CHANGE, IMAGE, OWN_SCALE, PROBABILITY, SENSITIVITY, Wish
from uniseg_app.web_demo.scenes import Layers, Stage
from uniseg_app.web_demo.seen import Seen
from uniseg_app.web_demo.viewer import ViewerScene
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.saliency import Saliency
from uniseg_model.prompts.whatif import WhatIf
from uniseg_model.tasks import TaskRegistry


@dataclass(frozen=True)
class Mapped:
    """Whose map is shown, by task key, and which other one is taken away from it."""

    maps: PromptMaps
    key: str
    minus: str | None = None


def mapped(seen: Seen, wish: Wish) -> Mapped | None:
    """What a wish asks for, as far as it was read; None where nothing was."""
    keys = [task.key for maps in seen.maps for task in maps.tasks]
    key = wish.shown if wish.shown in keys else next(iter(keys), None)
    maps = seen.maps_of(key) if key else None
    if maps is None or key is None:
        return None
    others = {task.key for task in maps.tasks} - {key}
    return Mapped(maps, key, wish.minus if wish.minus in others else None)


def scene_of(stage: Stage, seen: Seen, wish: Wish, known: TaskRegistry) -> ViewerScene:
    """For the viewer; the scan alone where nothing was looked at yet."""
    if wish.view == IMAGE and (over := mapped(seen, wish)):
        return stage.heat_scene(_map_heat(stage, over, is_own=wish.scale == OWN_SCALE), over.maps.tasks)
    if wish.view == CHANGE and seen.what_if:
        return _changed(stage, seen.what_if, wish.layer, known)
    if wish.view == SENSITIVITY and seen.saliency:
        return stage.heat_scene(_saliency_heat(stage, seen.saliency), [seen.saliency.task])
    return stage.scene(stage.layers({}, known))


def _map_heat(stage: Stage, over: Mapped, *, is_own: bool) -> Heat:
    """One task's map, or the difference of two. is_own: a scale of its own, else one for all maps of the grid."""
    maps = over.maps
    if over.minus:
        values = maps.difference(over.key, over.minus)
        return cells_heat("difference of prompts", values, maps.affine, stage.copy, _around_zero(values), around_zero=True)
    values = maps.of(over.key)
    ruler = values if is_own else maps.array
    return cells_heat("prompt", values, maps.affine, stage.copy, (float(np.nanmin(ruler)), float(np.nanmax(ruler))))


def _saliency_heat(stage: Stage, found: Saliency) -> Heat:
    name = f"sensitivity of {found.structure}"
    return cells_heat(name, found.array, found.affine, stage.copy, _around_zero(found.array), around_zero=True)


def _around_zero(values: np.ndarray) -> tuple[float, float]:
    most = float(np.nanmax(np.abs(values))) or 1.0
    return -most, most


def _changed(stage: Stage, found: WhatIf, layer: str, known: TaskRegistry) -> ViewerScene:
    task = found.before.task
    if layer == PROBABILITY:
        return stage.heat_scene(change_heat("change of probability", found.probability_change, stage.copy), [task])
    if layer in (BEFORE, AFTER):
        answer = found.before if layer == BEFORE else found.after
        return stage.scene(stage.layers({task.key: answer.labels}, known))
    labels = display_labels(found.difference, stage.copy)
    named = [Structure(value, name, color) for value, (name, color) in prompt_words.DIFFERENCES.items()]
    windows = stage.layers({task.key: found.before.labels}, known).windows
    return stage.scene(Layers(windows, labels, tuple(located(named, labels, stage.copy.affine))))
