"""How far a training is, as a piece of the page: a slice of a validation case with its truth and with the answer so far."""

from __future__ import annotations

from html import escape

from uniseg_app import preview_pictures
from uniseg_app.web_demo import texts
from uniseg_model.tasks import Task
from uniseg_model.training.preview import Preview


def preview(found: Preview, task: Task | None) -> str:
    """Image, truth and answer beside each other. task: see ``preview_pictures``."""
    figures = "".join(
        f"<figure>{texts.picture(picture, f'{name}, {found.source}, step {found.step}')}<figcaption>{name}</figcaption></figure>"
        for name, picture in preview_pictures.preview_pictures(found, task).items()
    )
    return f'<div class="us-preview">{figures}</div><p class="us-done">{escape(preview_pictures.preview_sentence(found))}</p>'
