"""What may be asked for, and asking for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniseg_app.cli.options import Json, PresetName, Weights, axes_named, registry_of, say_weights, triple
from uniseg_app.cli.web import DataRoot, Port, serve
from uniseg_app.console import progress_shown, say, say_json, say_table, warn

if TYPE_CHECKING:
    from uniseg_app.commands import Outcome


def tasks(weights: Weights = None, as_json: Json = False) -> None:
    """List what may be asked for: the built-in tasks, or those of a weights file."""
    registry = registry_of(weights)
    if as_json:
        say_json([task.to_dict() for task in registry.values()])
        return
    rows = [
        [task.key, ", ".join(task.modalities), ", ".join(label.name for label in task.labels), ", ".join(f"{s:g}" for s in task.spacing_mm)]
        for task in registry.values()
    ]  # fmt: skip
    say_table(["task", "channels", "structures", "spacing z, y, x in mm"], rows)
    for task in registry.values():
        if task.caution:
            say(f"{task.key}: {task.caution}")


def segment(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="One file per channel in the task's order, one 4-D NIfTI, or a DICOM folder.")],
    task: Annotated[str, typer.Option("--task", metavar="KEY[,KEY...]|all", help="What to segment; all: every task that suits the image.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or for one map a name ending in .nii.gz (.dcm for DICOM-SEG).")],
    weights: Annotated[list[Path] | None, typer.Option("--weights", metavar="W", help="Weights file; several, such as folds: their mean. Default: $UNISEG_WEIGHTS, the settings, the demo weights.")] = None,
    pack: Annotated[list[Path] | None, typer.Option("--pack", metavar="PACK", help="A task pack in place of those installed; several of one task, such as folds: their mean.")] = None,
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="Average over eight flips. Default: on a GPU yes where the weights were trained so, on a CPU no (8 times the work).")] = None,
    step: Annotated[float | None, typer.Option(help="Distance of windows as a share of their side. Default: 0.5, or the preset's.")] = None,
    preset: PresetName = None,
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in mm in place of the task's own.")] = None,
    axes: Annotated[str | None, typer.Option(help="axial, stored, or three letters such as RAS, in place of the task's own.")] = None,
    merge: Annotated[str, typer.Option(metavar="keep|original", help="keep: earlier tasks win, overlaps are counted. original: the authors' overwriting.")] = "keep",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    engine: Annotated[str, typer.Option(metavar="auto|torch|openvino", help="What computes. Default: $UNISEG_ENGINE, on a CPU OpenVINO where it is installed, else torch.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float16")] = "auto",
    batch: Annotated[int | None, typer.Option(help="Windows at once. Default: 1 on a CPU, what fits on a GPU.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    series: Annotated[str | None, typer.Option(help="Which DICOM series: its number, its UID, or an end of it.")] = None,
    format: Annotated[str, typer.Option(metavar="nifti|dicom-seg", help="dicom-seg: one DICOM-SEG a task that refers to the DICOM series, and no merged map.")] = "nifti",
    confidence: Annotated[bool, typer.Option("--confidence", help="Add a confidence per structure.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="run.json", help="Write the run record here, too.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace even label files that were edited since.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Segment one image. Labels are written on the image's own grid, names and volumes beside them."""
    from uniseg_app import commands
    from uniseg_model.predictor import Options

    options = Options.preset(
        preset, mirror=mirror, step=step, spacing_mm=triple(spacing), axes=axes_named(axes), batch=batch, confidence=confidence
    )
    request = commands.SegmentRequest(
        tuple(images), tuple(task.split(",")), out, options,
        weights=weights[0] if weights else None, folds=tuple(weights or ())[1:], packs=tuple(pack or ()), device=device, precision=precision, threads=threads, engine=engine,
        merge=merge, series=series, report=report, overwrite=overwrite, format=format,
    )  # fmt: skip
    with progress_shown(quiet=as_json) as progress:
        outcome = commands.segment(request, progress)
    if as_json:
        say_json(outcome.to_dict())
    else:
        _tell(outcome)


def demo(
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="No page: files, and Dice against the known answers.")] = None,
    port: Port = 7860,
    data_root: DataRoot = None,
) -> None:  # fmt: skip
    """A synthetic CT under all its prompts, as a page in the browser or, with -o, as files."""
    if out is None:
        serve(port=port, segmented=True, data_roots=tuple(data_root or ()))
        return
    from uniseg_app import commands

    with progress_shown(quiet=False) as progress:
        outcome, scores = commands.run_demo(out, progress)
    _tell(outcome)
    rows = [[key, name, f"{value:.2f}"] for key, found in scores.items() for name, value in found.items()]
    say_table(["task", "structure", "Dice"], rows)
    say("Dice against the known answers of this synthetic scan; it says nothing about real patients.")


def _tell(outcome: Outcome) -> None:
    """What a person wants to know: structures, volumes, notes, where the files are, which weights, how long."""
    from uniseg_app import wording

    record = outcome.record
    if outcome.segmentations:
        rows = [
            [s.task.key, name, f"{ml:.1f}", "cut by the field of view" if cut[name] else ""]
            for s in outcome.segmentations
            for cut in [s.cut_by_field_of_view()]
            for name, ml in s.volumes_ml().items()
        ]
    else:
        rows = [["merged", name, f"{ml:.1f}", ""] for name, ml in outcome.merged.volumes_ml().items()] if outcome.merged else []
    say_table(["task", "structure", "ml", ""], rows)
    for overlap in outcome.merged.overlaps if outcome.merged else ():
        say(f"Overlap: {overlap['voxels']} voxels ({overlap['ml']:.1f} ml) claimed by {overlap['kept']} and {overlap['lost']}; "
            f"merged.nii.gz keeps {overlap['kept']}")  # fmt: skip
    for note in record.notes:
        warn(f"Note: {note}")
    for path in outcome.files:
        say(f"Wrote {path}")
    seconds = sum(record.seconds.values())
    say(f"Device: {record.engine['device']}, {record.engine['name']}, {record.engine['precision']}, {wording.work(record.options)}; {seconds:.1f} s, "
        f"peak memory {record.peak_memory_gb['process']:.2f} GB")  # fmt: skip
    say_weights(record.weights)
