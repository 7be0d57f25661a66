"""What several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uniseg_app.console import say
from uniseg_model import DISCLAIMER
from uniseg_model.errors import OptionError
from uniseg_model.presets import AS_THE_DEVICE_ALLOWS, PRESETS
from uniseg_model.tasks import TaskRegistry, builtin_tasks

if TYPE_CHECKING:
    from uniseg_model.volume import Triple

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="W", help="Weights file. Default: $UNISEG_WEIGHTS, the settings, the demo weights."),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="|".join(PRESETS),
        help=" ".join([
            "How much work.",
            *(f"{name}: {preset.sentence}" for name, preset in PRESETS.items()),
            f"Without one: {AS_THE_DEVICE_ALLOWS.sentence}",
            "--mirror and --step count more.",
        ]),
    ),
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


def say_weights(weights: Mapping[str, Any]) -> None:
    """Which weights a record names, under which licence, and what nothing here is for."""
    from uniseg_model.checkpoint import KINDS

    n_others = len(weights.get("averaged_with", ()))
    mean = f", mean with {n_others} other{'s' if n_others > 1 else ''}" if n_others else ""
    say(f"Weights: {weights['name']} ({KINDS.get(weights['kind'], weights['kind'])}){mean}. Licence: {weights['licence']}")
    say(DISCLAIMER)
