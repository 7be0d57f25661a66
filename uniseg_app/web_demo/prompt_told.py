"""What the Prompts tab tells of a view: the sections below the viewer."""

from __future__ import annotations

from uniseg_app import prompt_words
from uniseg_app.backend import Backend
from uniseg_app.web_demo import prompt_texts
from uniseg_app.web_demo.prompt_controls import CHANGE, IMAGE, LEARNED, OWN_SCALE, SENSITIVITY, SHEET, Wish
from uniseg_app.web_demo.prompt_scenes import Mapped, mapped
from uniseg_app.web_demo.visits import Visit
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.whatif import WhatIf


def told(visit: Visit, wish: Wish, backend: Backend) -> str:
    """HTML; what to do next where nothing was looked at yet.

    Raises:
        WeightsError: the weights hold no prompts.
    """
    if wish.view == LEARNED:
        return prompt_texts.learned(learned_prompts(backend.model().checkpoint), own_scale=wish.scale == OWN_SCALE)
    if visit.volume is None:
        return ""
    plain = prompt_texts.caution(prompt_texts.PLAIN[wish.view]) if visit.is_plain else ""
    return plain + (_found(visit, wish, backend) or prompt_texts.hint(wish.view, has_crosshair=not visit.is_plain))


def _found(visit: Visit, wish: Wish, backend: Backend) -> str:
    seen, has_viewer = visit.seen, not visit.is_plain
    if wish.view == IMAGE and (over := mapped(seen, wish)):
        return _told_maps(visit, over, backend)
    if wish.view == CHANGE and seen.what_if:
        return _told_change(visit, seen.what_if, wish.layer if has_viewer else None, backend)
    if wish.view == SENSITIVITY and seen.saliency:
        return prompt_texts.sensitivity(seen.saliency)
    return prompt_texts.sheet(seen.sheet) if wish.view == SHEET and seen.sheet else ""


def _told_maps(visit: Visit, over: Mapped, backend: Backend) -> str:
    checkpoint, sets = backend.model().checkpoint, visit.seen.maps
    learned = [learned_prompts(checkpoint, [task.key for task in maps.tasks]) for maps in sets]
    if visit.is_plain:
        return prompt_texts.image(sets, learned, None)
    minus = checkpoint.tasks[over.minus].title if over.minus else None
    return prompt_texts.image(sets, learned, checkpoint.tasks[over.key].title, minus)


def _told_change(visit: Visit, found: WhatIf, layer: str | None, backend: Backend) -> str:
    change, known = found.change.to_dict(), backend.model().checkpoint.tasks
    keys = {found.before.task.key, change.get("task")} - {None}
    suiting = {choice.task.key for choice in backend.choices(visit.image()) if choice.suits}
    cautions = prompt_words.cautions(found, is_other_kind=bool(keys - suiting))
    said = prompt_words.change_in_words(change, lambda key: known[key].title)
    return prompt_texts.what_if(found, layer, said, cautions)
