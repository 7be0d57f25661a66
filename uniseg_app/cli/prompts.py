"""What the model is told: prompts of weights and of an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniseg_app.cli.options import Json, Weights, axes_named, triple
from uniseg_app.console import progress_shown, say, say_json, say_table, warn
from uniseg_model import DISCLAIMER

if TYPE_CHECKING:
    from uniseg_app.prompt_files import PromptsOutcome
    from uniseg_model.prompts.sets import PromptSet


def prompts(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder for maps, matrices and the page.")],
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help="As for segment; without one, only what training left in the weights.")] = None,
    tasks: Annotated[str, typer.Option("--tasks", "--task", metavar="KEY[,KEY...]|all", help="Whose prompts; all: those that suit the image, and of the weights every one.")] = "all",
    weights: Weights = None,
    step: Annotated[float, typer.Option(help="Distance of windows as a share of their side.")] = 0.5,
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in mm in place of the task's own.")] = None,
    axes: Annotated[str | None, typer.Option(help="axial, stored, or three letters such as RAS, in place of the task's own.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    series: Annotated[str | None, typer.Option(help="Which DICOM series: its number, its UID, or an end of it.")] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Segment too, and draw each structure where it is largest: sheet.png, sheet.pdf.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace even files that were edited since.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show what the model is told: maps of an image's task prompts as NIfTI, how alike prompts are, and one page with all of it."""
    from uniseg_app.prompt_files import PromptsRequest, inspect_prompts
    from uniseg_model.options import Options

    request = PromptsRequest(
        tuple(images or ()), tuple(tasks.split(",")), out, Options(step=step, spacing_mm=triple(spacing), axes=axes_named(axes)),
        weights=weights, device=device.lower(), threads=threads, series=series, sheet=sheet, overwrite=overwrite,
    )  # fmt: skip
    with progress_shown(quiet=as_json) as progress:
        outcome = inspect_prompts(request, progress)
    if as_json:
        say_json(outcome.to_dict())
    else:
        _tell(outcome)


def _tell(outcome: PromptsOutcome) -> None:
    """The most alike prompts, notes, files."""
    rows = [row for name, found in outcome.inspection.sets() for row in _rows(name, found)]
    say_table(["prompts", "task", "mean", "std", "most alike", "correlation"], rows)
    for note in dict.fromkeys(note for maps in outcome.inspection.maps for note in maps.record.notes):
        warn(f"Note: {note}")
    for path in outcome.files:
        say(f"Wrote {path}")
    weights = outcome.inspection.weights
    say(f"Weights: {weights['name']}. Licence: {weights['licence']}")
    say(DISCLAIMER)


def _rows(name: str, found: PromptSet) -> list[list[str]]:
    import numpy as np

    matrix = found.similarity()
    np.fill_diagonal(matrix, -np.inf)
    rows = []
    for task, numbers, alike in zip(found.tasks, found.statistics().values(), matrix, strict=True):
        best = int(alike.argmax())
        others = [found.tasks[best].key, f"{alike[best]:.2f}"] if len(matrix) > 1 else ["", ""]
        rows.append([name, task.key, f"{numbers.mean:.3g}", f"{numbers.std:.3g}", *others])
    return rows
