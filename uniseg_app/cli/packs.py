"""Task packs: tasks that are added to weights without changing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_app.cli.options import Json, Weights
from uniseg_app.console import progress_shown, say, say_json, say_table
from uniseg_model.errors import OutputError, WeightsError
from uniseg_model.files import write_json

app = typer.Typer(help="Install, list, remove and share task packs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("install")
def install_pack(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="A pack file, or the run folder that made it.")],
    weights: Weights = None,
    replace: Annotated[bool, typer.Option("--replace", help="In place of the one that is installed.")] = False,
) -> None:
    """Check a pack against the weights and install it: its task is then in every list of tasks."""
    from uniseg_app.commands import find_weights
    from uniseg_app.pack_store import install

    facts = install(pack, find_weights(weights), replace=replace).facts
    dice = "not judged" if facts.mean_dice is None else f"{facts.mean_dice:.2f}"
    say(f"Installed {facts.task.key!r} ({facts.task.title}) for the weights {facts.base_name!r}; validation Dice {dice}")
    say(f"Licence: {facts.licence}")


@app.command("list")
def list_packs(as_json: Json = False) -> None:
    """List the installed packs."""
    from uniseg_app.pack_store import installed_packs

    packs = installed_packs()
    if as_json:
        say_json([pack.to_dict() for pack in packs])
        return
    rows = [
        [p.facts.task.key, p.facts.task.title, f"{p.facts.base_name} ({p.facts.base[:12]})",
         "" if p.facts.mean_dice is None else f"{p.facts.mean_dice:.2f}", p.facts.licence, f"{p.path.stat().st_size / 1e6:.2f}"]
        for p in packs
    ]  # fmt: skip
    say_table(["task", "title", "for the weights", "Dice", "licence", "MB"], rows)
    if not packs:
        say("No pack is installed.")


@app.command("remove")
def remove_pack(key: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """Delete the installed packs of a task."""
    from uniseg_app.pack_store import remove

    for path in remove(key):
        say(f"Removed {path}")


@app.command("export")
def export_pack(
    key: Annotated[str, typer.Argument(metavar="KEY")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE")],
    weights: Weights = None,
) -> None:
    """Copy an installed pack to a file that can be shared."""
    from uniseg_app.commands import find_weights
    from uniseg_app.pack_store import base_of, export

    export(key, out, base=base_of(find_weights(weights)))
    say(f"Wrote {out}")


@app.command("certify")
def certify_packs(
    weights: Weights = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.json", help="Write the certificate.")] = None,
    as_json: Json = False,
) -> None:
    """Prove that the installed packs change nothing: logits of all old tasks with and without them, compared to the last bit."""
    from uniseg_app.commands import find_weights
    from uniseg_app.outputs import check_file
    from uniseg_app.pack_store import pack_files
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.packs.certificate import certify
    from uniseg_model.packs.file import load_pack

    if out is not None:
        check_file(out, [])
        if out.exists():
            raise OutputError(f"{out} exists", hint="Choose another name.")
    path = find_weights(weights)
    checkpoint = load_checkpoint(path).with_packs([load_pack(pack) for pack in pack_files(path)])
    with progress_shown(quiet=as_json) as progress:
        found = certify(checkpoint, progress)
    if out is not None:
        write_json(out, found.to_dict())
    if as_json:
        say_json(found.to_dict())
    else:
        say(found.sentence())
    if found.changed:
        raise WeightsError(found.sentence().rstrip("."), hint="Please report this: it must not happen.")
