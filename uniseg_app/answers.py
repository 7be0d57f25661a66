"""Answers as people take them away: a table of structures, and a folder or zip file with everything."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from uniseg_app.outputs import staged
from uniseg_model.errors import UniSegError
from uniseg_model.files import whole_file, write_sealed_json
from uniseg_model.segmentation import Segmentation, merge
from uniseg_model.tasks import TaskRegistry


@dataclass(frozen=True)
class StructureRow:
    """One structure of one task, as a table shows it.

    cut_by_field_of_view: its volume is a lower bound. mean_probability, uncertain_share: see ``Segmentation.confidence``;
        agreement: Dice with and without mirroring. None where it was not asked for or the structure was not found.
    """

    task: str
    structure: str
    color: str
    volume_ml: float
    cut_by_field_of_view: bool
    mean_probability: float | None = None
    uncertain_share: float | None = None
    agreement: float | None = None


def structure_rows(segmentations: Sequence[Segmentation]) -> Iterator[StructureRow]:
    """The rows of all tasks, in their order."""
    for answer in segmentations:
        volumes, cut = answer.volumes_ml(), answer.cut_by_field_of_view()
        sure = answer.confidence() if answer.margin is not None else {}
        agreed = {name: dice for name, dice in (answer.agreement or {}).items() if not math.isnan(dice)}
        for label in answer.task.labels:
            name = label.name
            yield StructureRow(
                answer.task.key, name, label.color, volumes[name], cut[name], **sure.get(name, {}), agreement=agreed.get(name)
            )


def as_csv(rows: Iterable[StructureRow]) -> str:
    """The rows as CSV with a header; numbers in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(StructureRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return out.getvalue()


def save_answers(
    folder: Path, segmentations: Sequence[Segmentation], known: TaskRegistry, rows: Iterable[StructureRow] | None = None
) -> list[Path]:
    """Labels of each task and, of several, the map of all; volumes as CSV; the run record. All of it or nothing.

    Of a DICOM series the labels come as DICOM-SEG, too; where it lacks what that needs, a text file says what.
    known: the tasks of the weights, whose order gives the map its values. rows: of the table, where they say more than the
        segmentations do.

    Raises:
        OutputError: the folder cannot be written.
    """
    with staged(folder) as staging:
        for answer in segmentations:
            answer.save(staging / f"{answer.task.key}.nii.gz")
            if answer.volume.source.format == "dicom":
                _save_dicom_seg(staging, answer)
        if len(segmentations) > 1:
            merge(segmentations, known.label_values).save(staging / "merged.nii.gz")
        (staging / "volumes.csv").write_text(as_csv(structure_rows(segmentations) if rows is None else rows), encoding="utf-8")
        write_sealed_json(staging / "run.json", segmentations[0].record.to_dict())
        return sorted(folder / path.name for path in staging.iterdir())


def _save_dicom_seg(folder: Path, answer: Segmentation) -> None:
    try:
        answer.save(folder / f"{answer.task.key}.dcm")
    except UniSegError as exc:
        (folder / "no-dicom-seg.txt").write_text(f"{exc}\n", encoding="utf-8")


def zipped(files: Sequence[Path], path: Path) -> Path:
    """One zip file of them, under their names. What is packed already is stored as it is.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name, zipfile.ZIP_STORED if file.suffix == ".gz" else None)
    return path
