"""The answer: labels on the image's own grid, volumes in ml, maps of several tasks, and how they are saved.

Saved labels are NIfTI with a JSON file of the same name beside them that holds names, colours and volumes, or, of a DICOM
series, one DICOM-SEG that holds its names and colours itself.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model import DISCLAIMER
from uniseg_model.errors import GeometryError, OptionError, OutputError
from uniseg_model.evaluation.metrics import dice
from uniseg_model.files import file_sha256, write_sealed_json
from uniseg_model.io import NIFTI_SUFFIXES, write_labels
from uniseg_model.io.dicom_seg import DICOM_SUFFIX, write_dicom_seg
from uniseg_model.record import RunRecord
from uniseg_model.tasks import Label, Task
from uniseg_model.volume import Volume

LABEL_SUFFIXES = (*NIFTI_SUFFIXES, DICOM_SUFFIX)

_UNCERTAIN_MARGIN = 0.2  # the two best classes are closer than this


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One task's labels on one image.

    labels: (Z, Y, X) uint8 on the grid of ``volume``; value i + 1 is ``task.labels[i]``.
    agreement: Dice of each structure with and without mirroring; None unless asked for.
    probability, margin: see :class:`~uniseg_model.preprocess.Restored`; None unless confidence was asked for.
    edited_voxels: how many labels a person has changed since.
    """

    task: Task
    labels: np.ndarray = field(repr=False)
    volume: Volume
    record: RunRecord = field(repr=False)
    probability: np.ndarray | None = field(default=None, repr=False)
    margin: np.ndarray | None = field(default=None, repr=False)
    agreement: Mapping[str, float] | None = None
    edited_voxels: int = 0

    def mask(self, name: str) -> np.ndarray:
        """(Z, Y, X) bool of one structure.

        Raises:
            OptionError: the task has no structure of that name.
        """
        return np.asarray(self.labels == self.task.value_of(name))

    def volumes_ml(self) -> dict[str, float]:
        """Millilitres of each structure by name; 0 for one that was not found."""
        return {label.name: _ml(self.labels, i, self.volume) for i, label in enumerate(self.task.labels, start=1)}

    def cut_by_field_of_view(self) -> dict[str, bool]:
        """Whether each structure touches a face of the image, so that its volume is a lower bound."""
        faces = [self.labels.take(end, axis) for axis in range(3) for end in (0, -1)]
        met = set(np.unique(np.concatenate([face.reshape(-1) for face in faces])))
        return {label.name: i in met for i, label in enumerate(self.task.labels, start=1)}

    def confidence(self) -> dict[str, dict[str, float]]:
        """For each structure found: the mean probability of its voxels in [0, 1], and the share of them that lead by less than 0.2.

        Raises:
            OptionError: the run was not asked for confidence.
        """
        if self.probability is None or self.margin is None:
            raise OptionError(
                "this segmentation has no confidence", hint="Segment with Options(confidence=True) or --confidence."
            )
        masks = {name: mask for name in self.volumes_ml() if (mask := self.mask(name)).any()}
        return {
            name: {
                "mean_probability": float(self.probability[mask].mean()) / 255,
                "uncertain_share": float((self.margin[mask] / 255 < _UNCERTAIN_MARGIN).mean()),
            }
            for name, mask in masks.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """What stands beside the labels: names, colours, volumes and where they come from."""
        facts: dict[str, Any] = {
            "task": self.task.key,
            "title": self.task.title,
            "labels": legend({i: (self.task, label) for i, label in enumerate(self.task.labels, start=1)}),
            "volumes_ml": self.volumes_ml(),
            "cut_by_field_of_view": self.cut_by_field_of_view(),
            "weights": dict(self.record.weights),
            "note": DISCLAIMER,
        }
        if self.edited_voxels:
            facts["edited_voxels"] = self.edited_voxels
        if self.margin is not None:
            facts["confidence"] = self.confidence()
        if self.agreement is not None:
            facts["agreement_under_mirroring"] = {k: None if math.isnan(v) else v for k, v in self.agreement.items()}
        return facts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write labels as ``.nii.gz`` or ``.nii`` and their names as ``.json`` beside them, or all in one DICOM-SEG, ``.dcm``.

        Raises:
            OutputError: they cannot be written, or a DICOM-SEG is asked for of an image that is no DICOM series.
            MissingPackageError: a DICOM-SEG is asked for, and pydicom or highdicom is not installed.
        """
        if (path := Path(path)).name.endswith(DICOM_SUFFIX):
            write_dicom_seg(path, self.labels, self.volume, self.task, str(self.record.weights.get("name", "")))
        else:
            save_labels(path, self.labels, self.volume, self.to_dict())


def agreement(a: Segmentation, b: Segmentation) -> dict[str, float]:
    """Dice of each structure between two answers to one task; NaN where neither found it."""
    return {label.name: dice(a.mask(label.name), b.mask(label.name)) for label in a.task.labels}


@dataclass(frozen=True, eq=False)
class MergedMap:
    """Several tasks in one map.

    labels: (Z, Y, X); the value of a structure is its place among all structures of the weights, from 1.
    overlaps: for each two tasks that both claimed voxels, how many, and which of them kept those.
    """

    labels: np.ndarray = field(repr=False)
    volume: Volume
    structures: Mapping[int, tuple[Task, Label]]
    rule: str
    overlaps: tuple[Mapping[str, Any], ...] = ()

    def volumes_ml(self) -> dict[str, float]:
        """Millilitres of each structure in the map by name."""
        return {label.name: _ml(self.labels, value, self.volume) for value, (_, label) in self.structures.items()}

    def to_dict(self) -> dict[str, Any]:
        """The legend of the map."""
        return {
            "labels": legend(self.structures),
            "volumes_ml": self.volumes_ml(),
            "rule": self.rule,
            "overlaps": [dict(overlap) for overlap in self.overlaps],
            "note": DISCLAIMER,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map and its legend.

        Raises:
            OutputError: they cannot be written.
        """
        save_labels(Path(path), self.labels, self.volume, self.to_dict())


def merge(
    segmentations: Sequence[Segmentation], values: Mapping[tuple[str, str], int], *, later_wins: bool = False
) -> MergedMap:
    """One map of several tasks on one grid. Where two claim a voxel the earlier keeps it, unless ``later_wins``.

    values: of each (task key, label name), such as ``TaskRegistry.label_values``.

    Raises:
        GeometryError: no segmentation, or grids that differ.
    """
    if len({s.labels.shape for s in segmentations}) != 1:
        raise GeometryError(
            f"a map is merged from segmentations on one grid, these have {[s.labels.shape for s in segmentations]}"
        )
    structures = {values[s.task.key, label.name]: (s.task, label) for s in segmentations for label in s.task.labels}
    merged = np.zeros(segmentations[0].labels.shape, np.min_scalar_type(max(structures)))
    for segmentation in segmentations if later_wins else reversed(segmentations):
        own = np.array([0, *(values[segmentation.task.key, label.name] for label in segmentation.task.labels)], merged.dtype)
        claimed = segmentation.labels > 0
        merged[claimed] = own[segmentation.labels[claimed]]
    ordered = dict(sorted(structures.items()))
    rule = "later wins" if later_wins else "earlier wins"
    return MergedMap(merged, segmentations[0].volume, ordered, rule, tuple(_overlaps(segmentations, later_wins)))


def _overlaps(segmentations: Sequence[Segmentation], later_wins: bool) -> list[dict[str, Any]]:
    found = []
    for a, b in combinations(segmentations, 2):
        if n := int(np.count_nonzero((a.labels > 0) & (b.labels > 0))):
            kept, lost = (b, a) if later_wins else (a, b)
            found.append({"kept": kept.task.key, "lost": lost.task.key, "voxels": n, "ml": n * a.volume.voxel_ml})
    return found


def _ml(labels: np.ndarray, value: int, volume: Volume) -> float:
    n = sum(int(np.count_nonzero(plane == value)) for plane in labels)  # plane by plane: no mask of the image's size is made
    return n * volume.voxel_ml


def legend(structures: Mapping[int, tuple[Task, Label]]) -> dict[str, dict[str, str]]:
    """Names and colours by label value, as JSON wants it."""
    return {
        str(value): {"name": label.name, "color": label.color, "task": task.key} for value, (task, label) in structures.items()
    }


def sidecar(path: Path) -> Path:
    """Where the names of the labels in ``path`` stand.

    Raises:
        OutputError: not a NIfTI name.
    """
    for suffix in sorted(NIFTI_SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix) + ".json")
    raise OutputError(f"labels are written as .nii or .nii.gz, not as {path.name}")


def files_of(path: Path) -> list[Path]:
    """The files that labels saved as ``path`` consist of.

    Raises:
        OutputError: no name for labels.
    """
    return [path] if path.name.endswith(DICOM_SUFFIX) else [path, sidecar(path)]


def save_labels(path: Path, labels: np.ndarray, volume: Volume, facts: Mapping[str, Any]) -> None:
    """Labels on the volume's grid, and their facts beside them; each file appears whole or not at all.

    Raises:
        OutputError: they cannot be written.
    """
    names = sidecar(path)
    write_labels(path, labels, volume)
    write_sealed_json(names, {**facts, "file_sha256": file_sha256(path)})


def is_unedited(path: Path) -> bool:
    """Whether a label file is as this program wrote it: the facts beside it know its bytes. Nothing knows those of a DICOM-SEG."""
    if path.name.endswith(DICOM_SUFFIX):
        return False
    try:
        facts = json.loads(sidecar(path).read_text(encoding="utf-8"))
        return bool(facts["file_sha256"] == file_sha256(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False
