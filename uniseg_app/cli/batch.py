"""Many images in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_app.cli.options import Json, PresetName, axes_named, say_weights, triple
from uniseg_app.console import progress_shown, say, say_json, warn
from uniseg_model.errors import OptionError, UniSegError


def batch(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A folder of NIfTI files (CASE_0000, CASE_0001, ... are channels) or of DICOM folders; or a list: .csv or .jsonl with case, images, task.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="One folder per case, summary.csv and summary.json.")],
    task: Annotated[str, typer.Option("--task", metavar="KEY[,KEY...]|all", help="What to segment; all: every task that suits the image. A list may say otherwise case by case.")],
    weights: Annotated[list[Path] | None, typer.Option("--weights", metavar="W", help="Weights file; several, such as folds: their mean. Default: $UNISEG_WEIGHTS, the settings, the demo weights.")] = None,
    pack: Annotated[list[Path] | None, typer.Option("--pack", metavar="PACK", help="A task pack in place of those installed.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine. Default: one a GPU, or one.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="tcp://HOST:PORT|local[:N]", help="A Dask scheduler, or N Dask workers on this machine.")] = None,
    scheduler_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Where a Dask scheduler has written its address.")] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N parts of the cases, for a job array; I from 1.")] = "1/1",
    timeout_s: Annotated[float | None, typer.Option(help="Seconds a case may take, the model's loading apart. Default: no limit.")] = None,
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="Average over eight flips. Default: on a GPU yes where the weights were trained so, on a CPU no (8 times the work).")] = None,
    step: Annotated[float | None, typer.Option(help="Distance of windows as a share of their side. Default: 0.5, or the preset's.")] = None,
    preset: PresetName = None,
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in mm in place of the task's own.")] = None,
    axes: Annotated[str | None, typer.Option(help="axial, stored, or three letters such as RAS, in place of the task's own.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    precision: Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float16")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each process.")] = None,
    format: Annotated[str, typer.Option(metavar="nifti|dicom-seg", help="As in segment.")] = "nifti",
    confidence: Annotated[bool, typer.Option("--confidence", help="Add a confidence per structure.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace even answers that were edited since.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Segment many images. Run again to go on: a case with a whole answer to the same request is kept. One bad case stops nothing."""
    from uniseg_app.batch.request import BatchRequest
    from uniseg_app.batch.run import run_batch
    from uniseg_model.options import Options

    options = Options.preset(
        preset, mirror=mirror, step=step, spacing_mm=triple(spacing), axes=axes_named(axes), confidence=confidence
    )
    request = BatchRequest(
        source, out, tuple(task.split(",")), options,
        weights=weights[0] if weights else None, folds=tuple(weights or ())[1:], packs=tuple(pack or ()),
        device=device.lower(), precision=precision, threads=threads, format=format, workers=workers, cluster=cluster,
        scheduler_file=scheduler_file, shard=_shard(shard), timeout_s=timeout_s, overwrite=overwrite,
    )  # fmt: skip
    with progress_shown(quiet=as_json) as progress:
        found = run_batch(request, progress, (lambda line: None) if as_json else warn)
    if as_json:
        say_json(found.to_dict())
    else:
        say(found.sentence())
        say(f"Wrote {out / 'summary.csv'}, {out / 'summary.json'}")
        say_weights(found.request["model"])
    if found.failed_here:
        raise UniSegError(
            "1 case has no answer" if found.failed_here == 1 else f"{found.failed_here} cases have no answer",
            hint=f"{out / 'summary.csv'} says why; mend them and run the same command again.",
        )


def _shard(text: str) -> tuple[int, int]:
    """Two numbers.

    Raises:
        OptionError: something else.
    """
    number, _, n = text.partition("/")
    if not (number.isdigit() and n.isdigit()):
        raise OptionError(f"the shard must be I/N such as 3/8, not {text!r}")
    return int(number), int(n)
