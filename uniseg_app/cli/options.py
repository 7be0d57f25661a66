"""What several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniseg_model.errors import OptionError
from uniseg_model.tasks import TaskRegistry, builtin_tasks

if TYPE_CHECKING:
    from uniseg_model.volume import Triple

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="W", help="Weights file. Default: $UNISEG_WEIGHTS, the settings, the demo weights."),
]


def registry_of(weights: Path | None) -> TaskRegistry:
    """The tasks of a weights file, or the built-in ones; and those of the packs that are installed for the weights in use."""
    from uniseg_app.pack_store import base_of, with_packs

    if weights is None:
        from uniseg_app.settings import installed_weights

        return with_packs(builtin_tasks(), base_of(installed_weights()))
    from uniseg_model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(weights)
    return with_packs(checkpoint.tasks, checkpoint.sha256)


def triple(text: str | None) -> Triple | None:
    """Three numbers in mm.

    Raises:
        OptionError: something else.
    """
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise OptionError(f"the spacing must be three numbers in mm such as 3,1.5,1.5 (z,y,x), not {text!r}") from exc
    return z, y, x


def axes_named(text: str | None) -> str | None:
    """An orientation as the tasks spell it: three letters are capitals, words stay as they are."""
    return text.upper() if text and len(text) == 3 else text
