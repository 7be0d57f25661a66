"""Data sets: made up, brought in, compared with answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniseg_app.cli.options import Json, Weights, registry_of
from uniseg_app.console import progress_shown, say, say_json, say_table, warn
from uniseg_model.errors import OptionError, OutputError, UniSegError

if TYPE_CHECKING:
    from uniseg_model.evaluation import Evaluation


def phantom(
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="KEY[,KEY...]|all",
            help="Several: a data set each, in folders named by task; scans are shared. Beside the eleven: gallbladder, ribs.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR")],
    count: Annotated[int, typer.Option(min=1, help="Patients.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case; the next ones count up.")] = 0,
) -> None:
    """Make synthetic cases with known answers: images and labels in nnU-Net's layout."""
    from uniseg_app import commands
    from uniseg_model.phantom import phantom_tasks

    with progress_shown(quiet=False) as progress:
        cases = commands.make_phantoms(task.split(","), out, count, seed, progress)
    for key, names in cases.items():
        place = out if len(cases) == 1 else out / key
        say(f"{len(names)} cases of {phantom_tasks()[key].title!r} in {place}: imagesTr, labelsTr, dataset.json")


def import_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A task key, or btcv or vs, the two sets for fine-tuning.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Where the download was unpacked; it is only read.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="ROOT", help="The data set becomes ROOT/NAME.")],
    splits: Annotated[Path | None, typer.Option(metavar="FILE", help="The authors' splits_final*.pkl, or a splits_final.json. Default: the set's own rule.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Import a published data set from your own download, as UniSeg was trained on it. Run again to add what is missing."""
    from uniseg_app import commands

    with progress_shown(quiet=as_json) as progress:
        found = commands.import_data(name, source, out, splits, progress)
    if as_json:
        say_json(found.to_dict())
    else:
        say(
            f"{len(found.imported)} cases imported, {len(found.already)} were there already, {len(found.left_out)} without lesions left out"
        )
        say(f"Wrote {found.folder}: {found.n_train} training and {found.n_val} validation cases")
        for note in found.notes:
            warn(f"Note: {note}")
    for case, reason in found.failed.items():
        warn(f"failed: {case}: {reason}")
    if not found.is_complete:
        raise UniSegError(
            f"{len(found.failed)} cases could not be imported", hint="The lines above say why; mend them and run again."
        )


def doctor(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="nnU-Net's layout, the Decathlon's, two folders of the same names, or paired names.")],
    task: Annotated[str | None, typer.Option("--task", metavar="KEY", help="What it is for. Default: its task.toml, else its dataset.json.")] = None,
    task_file: Annotated[Path | None, typer.Option("--task-file", metavar="T.toml", help="A task of your own.")] = None,
    fix: Annotated[Path | None, typer.Option("--fix", metavar="OUT", help="Write a copy in nnU-Net's layout with all that can be mended safely.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Two real training steps on its first cases, and what the training will cost.")] = False,
    depth: Annotated[str, typer.Option(metavar="pack|full|backbone", help="Of the dry run.")] = "pack",
    minutes: Annotated[float, typer.Option(help="Of the training that the dry run prices.")] = 10.0,
    weights: Weights = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Look for what is wrong with a data set before training, and tell how to mend it. Nothing in it is changed."""
    from uniseg_app.examination import DoctorRequest, look_at

    request = DoctorRequest(dataset, task, task_file, fix, dry_run, depth, minutes, weights)
    with progress_shown(quiet=as_json) as progress:
        found = look_at(request, progress)
    if as_json:
        say_json(found.to_dict())
    else:
        for line in found.lines():
            say(line)
        rows = [
            [f.severity, f.case, f.rule, f.what, f.how + (f" --fix: {f.fix}." if f.fix else "")] for f in found.report.findings
        ]
        if rows:
            say_table(["", "case", "what", "found", "how to mend it"], rows)
        say(found.report.sentence())
    if not found.report.is_usable:
        raise UniSegError(
            "the data set cannot be trained on as it is", hint="The table says why; --fix OUT mends what is safe."
        )


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PRED_DIR")],
    references: Annotated[Path, typer.Argument(metavar="REF_DIR")],
    task: Annotated[str, typer.Option("--task", metavar="KEY")],
    tolerance_mm: Annotated[float, typer.Option(help="Of the surface Dice.")] = 2.0,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="TABLE.csv", help="Write one row per case and structure.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE.html", help="Write one page: means, box plots, pictures of the worst cases.")] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="imagesTr with CASE_0000.nii.gz, to lie behind the pictures of --html.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table or page that is there.")] = False,
    weights: Weights = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Compare label files with the right answers: Dice, HD95 in mm, surface Dice and volume error, each by its stated definition."""
    from uniseg_model.evaluation import check_images, evaluate_folders, write_csv, write_html

    _check_reports({".csv": csv, ".html": html}, overwrite=overwrite)
    if images is not None:
        if html is None:
            raise OptionError("--images lie behind the pictures of a page", hint="Add --html PAGE.html.")
        check_images(images)
    with progress_shown(quiet=as_json) as progress:
        found = evaluate_folders(
            predictions, references, registry_of(weights)[task], tolerance_mm=tolerance_mm, progress=progress
        )
    for path in filter(None, (csv, html)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if csv is not None:
        write_csv(csv, found)
    if html is not None:
        write_html(html, found, images)
    if as_json:
        say_json(found.to_dict())
    else:
        _tell_scores(found)
        for path in filter(None, (csv, html)):
            say(f"Wrote {path}")
    for case, reason in found.failed.items():
        warn(f"failed: {case}: {reason}")
    if found.missing:
        warn(f"no prediction for: {', '.join(found.missing)}")
    if found.surplus:
        warn(f"no reference for: {', '.join(found.surplus)}")
    if not found.is_complete:
        n = len(found.failed) + len(found.missing)
        raise UniSegError(f"{n} of {n + len(found.cases)} cases could not be compared", hint="The lines above say why.")


def _tell_scores(found: Evaluation) -> None:
    """Means, intervals and medians, and what each number means."""
    from uniseg_model.evaluation import INTERVAL, METRICS

    rows = [
        [name, found.title_of(metric), *spreads[metric.name].in_words(metric.decimals)]
        for name, spreads in found.summary().items()
        for metric in METRICS
    ]
    say_table(["structure", "metric", "mean", "95 % interval", "median", "cases"], rows)
    for metric in METRICS:
        say(f"{found.title_of(metric)}: {metric.definition}")
    say(f"Interval: {INTERVAL}")


def _check_reports(reports: dict[str, Path | None], *, overwrite: bool) -> None:
    """Refuse, before any work, a table or page of another format, that cannot be written, or that is there already."""
    from uniseg_app.outputs import check_file

    for suffix, path in reports.items():
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise OutputError(
                f"--{suffix[1:]} writes a {suffix} file, not {path.name}", hint=f"Choose a name ending in {suffix}."
            )
        check_file(path, [])
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists", hint="Choose another name, or add --overwrite.")
