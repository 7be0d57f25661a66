"""What was seen of prompts as files, each view in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uniseg_app.outputs import check_folder, free_name
from uniseg_app.prompt_answers import save_inspection, save_saliency, save_what_if
from uniseg_app.prompt_words import CHANGE, CONTACT_SHEET, IMAGE, LEARNED
from uniseg_model.prompts.inspection import Inspection
from uniseg_model.prompts.sets import PromptSet


def save_seen(folder: Path, view: str, found: Any, learned: PromptSet, weights: Mapping[str, Any]) -> Path:
    """Write what a view's job gave; the folder that was made.

    learned: the prompts of the weights. weights: see ``run.describe_weights``.

    Raises:
        OutputError: the folder cannot be written.
    """
    check_folder(folder)
    made = free_name(folder, f"uniseg-{view.lower().replace(' ', '-')}")
    if view in (LEARNED, IMAGE):
        save_inspection(made, Inspection(weights, learned, tuple(found) if view == IMAGE else ()))
    elif view == CHANGE:
        save_what_if(made, found)
    elif view == CONTACT_SHEET:
        made.mkdir()
        for name in ("sheet.png", "sheet.pdf"):
            found.save(made / name)
    else:
        save_saliency(made, found)
    return made
