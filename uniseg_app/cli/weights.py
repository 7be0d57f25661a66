"""Weights files: from the authors' checkpoint, what they are, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_app.cli.options import Json
from uniseg_app.console import say, say_json, warn
from uniseg_model.errors import OutputError, WeightsError

app = typer.Typer(help="Import and inspect weights.", no_args_is_help=True, rich_markup_mode=None)


@app.command("import")
def import_weights(
    official: Annotated[Path, typer.Argument(metavar="OFFICIAL.model", help="The authors' model_final_checkpoint.model.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="W.safetensors")],
) -> None:
    """Import the UniSeg authors' checkpoint, without running anything that it contains."""
    from uniseg_app.outputs import check_file
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.official import import_official

    check_file(out, [official])
    if out.exists():
        try:
            load_checkpoint(out)
        except WeightsError as exc:
            raise OutputError(f"{out} exists and is not a weights file of this program", hint="Choose another name.") from exc
    checkpoint = import_official(official)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out)
    warn(f"Licence: {checkpoint.about.licence}")
    say(
        f"Imported {checkpoint.n_parameters:,} parameters for {len(checkpoint.tasks)} tasks, windows of {checkpoint.config.window} voxels"
    )
    say(f"to {out} (SHA-256 of the weights {checkpoint.sha256})")


@app.command("info")
def weights_info(weights: Annotated[Path, typer.Argument(metavar="W")], as_json: Json = False) -> None:
    """Tell what a weights file is, where it comes from and under which licence."""
    from uniseg_model.checkpoint import KINDS, load_checkpoint

    checkpoint = load_checkpoint(weights)
    about = checkpoint.about
    facts = {
        "name": about.name, "kind": about.kind, "meaning": KINDS.get(about.kind, about.kind), "licence": about.licence, "sha256": checkpoint.sha256, "mirrored": about.mirrored,
        "parameters": checkpoint.n_parameters, "network": checkpoint.config.to_dict(), "tasks": list(checkpoint.tasks), "history": dict(about.history),
    }  # fmt: skip
    if as_json:
        say_json(facts)
        return
    for name, value in facts.items():
        say(f"{name:11} {value}")


@app.command("verify")
def verify_weights(weights: Annotated[Path, typer.Argument(metavar="W")]) -> None:
    """Read every byte of a weights file and compare it with its own SHA-256."""
    from uniseg_model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(weights, verify=True)
    say(f"{weights}: whole, SHA-256 of the weights {checkpoint.sha256}")
