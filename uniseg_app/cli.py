"""The command line. Its names, options and exit codes are a promise.

Exit codes: 0 done, 1 a ``UniSegError`` (one line on stderr), 2 wrong usage, 130 interrupted. ``--json`` prints one JSON
document on stdout and nothing else. Nothing ever waits for an answer. What needs torch is imported inside the commands,
so that ``--help`` and ``tasks`` answer at once.
"""

from __future__ import annotations

import sys
import tempfile
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniseg_app.console import progress_shown, say, say_json, say_table, tell_error, warn
from uniseg_model import DISCLAIMER, __version__
from uniseg_model.errors import OptionError, OutputError, UniSegError, WeightsError
from uniseg_model.tasks import TaskRegistry, builtin_tasks

if TYPE_CHECKING:
    from uniseg_app.backend import Outcome
    from uniseg_model.volume import Triple

INTERRUPTED = 130

app = typer.Typer(
    help=f"Segment 3D medical images with one promptable model. {DISCLAIMER}",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
weights_app = typer.Typer(help="Import and inspect weights.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="W", help="Weights file. Default: $UNISEG_WEIGHTS, the settings, the demo weights."),
]


def _version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def tasks(weights: Weights = None, as_json: Json = False) -> None:
    """List what may be asked for: the built-in tasks, or those of a weights file."""
    registry = _registry(weights)
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


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="One file per channel in the task's order, one 4-D NIfTI, or a DICOM folder.")],
    task: Annotated[str, typer.Option("--task", metavar="KEY[,KEY...]|all", help="What to segment; all: every task that suits the image.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or for one map a name ending in .nii.gz.")],
    weights: Weights = None,
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="Average over eight flips. Default: on a GPU yes, on a CPU no (8 times the work).")] = None,
    step: Annotated[float, typer.Option(help="Distance of windows as a share of their side.")] = 0.5,
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in mm in place of the task's own.")] = None,
    axes: Annotated[str | None, typer.Option(help="axial, stored, or three letters such as RAS, in place of the task's own.")] = None,
    merge: Annotated[str, typer.Option(metavar="keep|original", help="keep: earlier tasks win, overlaps are counted. original: the authors' overwriting.")] = "keep",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    engine: Annotated[str, typer.Option(metavar="auto|torch")] = "auto",
    precision: Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float16")] = "auto",
    batch: Annotated[int | None, typer.Option(help="Windows at once. Default: 1 on a CPU, what fits on a GPU.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    series: Annotated[str | None, typer.Option(help="Which DICOM series: its number, its UID, or an end of it.")] = None,
    confidence: Annotated[bool, typer.Option("--confidence", help="Add a confidence per structure.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="run.json", help="Write the run record here, too.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace even label files that were edited since.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Segment one image. Labels are written on the image's own grid, names and volumes beside them."""
    if engine not in ("auto", "torch"):
        raise OptionError(f"the engine must be auto or torch, not {engine!r}")
    from uniseg_app import backend
    from uniseg_model.predictor import Options

    axes = axes.upper() if axes and len(axes) == 3 else axes
    options = Options(mirror=mirror, step=step, spacing_mm=_triple(spacing), axes=axes, batch=batch, confidence=confidence)
    request = backend.SegmentRequest(
        tuple(images), tuple(task.split(",")), out, options,
        weights=weights, device=device, precision=precision, threads=threads,
        merge=merge, series=series, report=report, overwrite=overwrite,
    )  # fmt: skip
    with progress_shown(quiet=as_json) as progress:
        outcome = backend.segment(request, progress)
    if as_json:
        say_json(outcome.to_dict())
    else:
        _tell(outcome)


@weights_app.command("import")
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


@weights_app.command("info")
def weights_info(weights: Annotated[Path, typer.Argument(metavar="W")], as_json: Json = False) -> None:
    """Tell what a weights file is, where it comes from and under which licence."""
    from uniseg_model.checkpoint import KINDS, load_checkpoint

    checkpoint = load_checkpoint(weights)
    about = checkpoint.about
    facts = {
        "name": about.name, "kind": about.kind, "meaning": KINDS.get(about.kind, about.kind), "licence": about.licence, "sha256": checkpoint.sha256,
        "parameters": checkpoint.n_parameters, "network": checkpoint.config.to_dict(), "tasks": list(checkpoint.tasks), "history": dict(about.history),
    }  # fmt: skip
    if as_json:
        say_json(facts)
        return
    for name, value in facts.items():
        say(f"{name:11} {value}")


@weights_app.command("verify")
def verify_weights(weights: Annotated[Path, typer.Argument(metavar="W")]) -> None:
    """Read every byte of a weights file and compare it with its own SHA-256."""
    from uniseg_model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(weights, verify=True)
    say(f"{weights}: whole, SHA-256 of the weights {checkpoint.sha256}")


@app.command()
def phantom(
    task: Annotated[str, typer.Option("--task", metavar="KEY")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR")],
    count: Annotated[int, typer.Option(min=1)] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case; the next ones count up.")] = 0,
) -> None:
    """Make synthetic cases with known answers: images and labels in nnU-Net's layout."""
    from uniseg_app import backend

    with progress_shown(quiet=False) as progress:
        cases = backend.make_phantoms(task, out, count, seed, progress)
    say(f"{len(cases)} cases of {builtin_tasks()[task].title!r} in {out}: imagesTr, labelsTr, dataset.json")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED_DIR")],
    references: Annotated[Path, typer.Argument(metavar="REF_DIR")],
    task: Annotated[str, typer.Option("--task", metavar="KEY")],
    tolerance_mm: Annotated[float, typer.Option(help="Of the surface Dice.")] = 2.0,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Compare label files with the right answers: Dice, HD95 in mm and surface Dice, each by its stated definition."""
    from uniseg_model.evaluation import evaluate_folders

    with progress_shown(quiet=as_json) as progress:
        found = evaluate_folders(
            predictions, references, _registry(weights)[task], tolerance_mm=tolerance_mm, progress=progress
        )
    if as_json:
        say_json(found.to_dict())
    else:
        rows = [
            [name, *(f"{spread.mean:.3f} ({spread.n_finite} of {len(found.cases)})" for spread in metrics.values())]
            for name, metrics in found.summary().items()
        ]
        say_table(["structure", "Dice", "HD95 mm", f"surface Dice at {tolerance_mm:g} mm"], rows)
        for name, definition in found.definitions.items():
            say(f"{name}: {definition}")
    for case, reason in found.failed.items():
        warn(f"failed: {case}: {reason}")
    if found.missing:
        warn(f"no prediction for: {', '.join(found.missing)}")
    if found.surplus:
        warn(f"no reference for: {', '.join(found.surplus)}")
    if not found.is_complete:
        n = len(found.failed) + len(found.missing)
        raise UniSegError(f"{n} of {n + len(found.cases)} cases could not be compared", hint="The lines above say why.")


@app.command()
def demo(out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Keep the results here.")] = None) -> None:
    """Segment a synthetic CT from start to end, with untrained weights until trained ones are installed."""
    from uniseg_app import backend

    folder = out or Path(tempfile.mkdtemp(prefix="uniseg-demo-"))
    with progress_shown(quiet=False) as progress:
        outcome = backend.run_demo(folder, progress)
    _tell(outcome)


def _registry(weights: Path | None) -> TaskRegistry:
    if weights is None:
        return builtin_tasks()
    from uniseg_model.checkpoint import load_checkpoint

    return load_checkpoint(weights).tasks


def _triple(text: str | None) -> Triple | None:
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise OptionError(f"the spacing must be three numbers in mm such as 3,1.5,1.5 (z,y,x), not {text!r}") from exc
    return z, y, x


def _tell(outcome: Outcome) -> None:
    """What a person wants to know: structures, volumes, notes, where the files are, which weights, how long."""
    from uniseg_model.checkpoint import KINDS

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
    mirroring = "with" if record.options["mirror"] else "without"
    say(f"Device: {record.engine['device']}, {record.engine['precision']}, {mirroring} mirroring; {seconds:.1f} s, "
        f"peak memory {record.peak_memory_gb['process']:.2f} GB")  # fmt: skip
    say(
        f"Weights: {record.weights['name']} ({KINDS.get(record.weights['kind'], record.weights['kind'])}). Licence: {record.weights['licence']}"
    )
    say(DISCLAIMER)


def main() -> None:
    """The ``uniseg`` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be no valid text
    try:
        app()
    except UniSegError as error:
        tell_error(error)
        sys.exit(1)
    except MemoryError as error:
        tell_error(
            UniSegError(
                f"memory ran out: {error or 'no more is free'}", hint="Close other programs or choose a coarser --spacing."
            )
        )
        sys.exit(1)
    except OSError as error:  # a path or a disk that nobody foresaw
        tell_error(UniSegError(str(error), hint="Choose other paths, and check the space on the disk."))
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer turns Ctrl-C into this
            warn("uniseg: interrupted; no file is half-written")
        raise
