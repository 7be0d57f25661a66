"""What can be wrong with one case, and with all of them together.

A case is read once; of it only small facts are kept, so a data set of any size can be looked at.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from uniseg_model.doctor.findings import Expected, Finding
from uniseg_model.doctor.layout import Pair
from uniseg_model.errors import UniSegError
from uniseg_model.grids import SAME_PLACE, corner_distance_mm
from uniseg_model.io import read_values, read_volume
from uniseg_model.suitability import looks_like_hu
from uniseg_model.volume import Shape, Triple, Volume, voxel_lengths

NOISE = 1e-3  # by which a stored whole number may be off, after scaling
TINY_PLACE = 0.5  # of the smallest voxel length: a grid that is nearer than this is the image's own, badly written
_FEW, _TOO_FEW = 5, 2  # cases
_OUTLIER, _OUTLIER_CASES = 2.0, 4  # times the median; cases from which a median says something
_LARGEST_VALUE = 255


@dataclass(frozen=True)
class Seen:
    """What is remembered of a case. image_hash: of its voxels; labels_hash: of its label values; values: those that occur."""

    name: str
    shape: Shape
    spacing_mm: Triple
    image_hash: str
    labels_hash: str
    values: tuple[float, ...]


def check_case(pair: Pair, expected: Expected) -> tuple[Seen | None, list[Finding]]:
    """One case; what is remembered of it, None where it cannot be read."""
    if lacking := _lacking(pair):
        return None, [lacking]
    try:
        volume = read_volume(pair.images)
        assert pair.labels is not None, "looked at above"
        values, affine = read_values(pair.labels)
    except UniSegError as exc:
        return None, [Finding("error", pair.name, "unreadable", exc.message, exc.hint or "Copy or export the file again.")]
    found = [*_channels(pair, volume, expected), *_intensity(pair, volume, expected), *_grid(pair, volume, values, affine)]
    found += [*_values(pair, values, expected)]
    rounded = np.rint(values)
    occur = tuple(float(v) for v in np.unique(rounded)) if np.isfinite(values).all() else ()
    hashes = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in (volume.array, rounded)]
    return Seen(pair.name, volume.shape, volume.spacing_mm, hashes[0], hashes[1], occur), found


def _lacking(pair: Pair) -> Finding | None:
    if pair.labels is None:
        return Finding(
            "error",
            pair.name,
            "missing labels",
            f"there is no label map for {pair.images[0].name}",
            "Add it, or take the image away.",
        )
    if not pair.images:
        return Finding(
            "error",
            pair.name,
            "missing image",
            f"there is no image for {pair.labels.name}",
            "Add it, or take the label map away.",
        )
    return None


def _channels(pair: Pair, volume: Volume, expected: Expected) -> Iterator[Finding]:
    if expected.modalities is not None and volume.n_channels != len(expected.modalities):
        yield Finding("error", pair.name, "channels", f"it has {volume.n_channels} channels, {len(expected.modalities)} are expected: "
                      f"{', '.join(expected.modalities)}", "Give one file per channel, _0000, _0001 and so on, in this order.")  # fmt: skip


def _intensity(pair: Pair, volume: Volume, expected: Expected) -> Iterator[Finding]:
    if expected.modalities and expected.modalities[0] == "CT" and not looks_like_hu(volume):
        low, high = volume.intensity_range
        yield Finding("error", pair.name, "not HU", f"the values from {low:g} to {high:g} are no Hounsfield units: a CT has air or fat below -50 "
                      "and something above 100", "Export the CT with its rescale slope and intercept, or name another modality.")  # fmt: skip


def _grid(pair: Pair, volume: Volume, values: np.ndarray, affine: np.ndarray) -> Iterator[Finding]:
    if values.shape != volume.shape:
        yield Finding("error", pair.name, "grid", f"the label map has {values.shape} voxels (z, y, x), the image {volume.shape}",
                      "Resample the labels onto the image, with the nearest neighbour.")  # fmt: skip
        return
    apart_mm, voxel_mm = corner_distance_mm(affine, volume.affine, volume.shape), min(voxel_lengths(volume.affine))
    if apart_mm <= SAME_PLACE * voxel_mm:
        return
    is_tiny = apart_mm <= TINY_PLACE * voxel_mm
    yield Finding("error", pair.name, "grid", f"the label map lies {apart_mm:.3g} mm away from the image, {SAME_PLACE * voxel_mm:.3g} mm are allowed",
                  "Take the image's geometry." if is_tiny else "Resample the labels onto the image, with the nearest neighbour.",
                  "give the labels the image's geometry" if is_tiny else "")  # fmt: skip


def _values(pair: Pair, values: np.ndarray, expected: Expected) -> Iterator[Finding]:
    off = float(np.abs(values - np.rint(values)).max()) if np.isfinite(values).all() else np.inf
    if off > NOISE:
        yield Finding("error", pair.name, "not whole", f"the labels hold values that are not whole numbers, off by up to {off:.3g}",
                      "They were resampled or are probabilities: export them again with the nearest neighbour.")  # fmt: skip
        return
    if off > 0:
        yield Finding(
            "error",
            pair.name,
            "not whole",
            f"the labels are off whole numbers by up to {off:.2g}",
            "Round them.",
            "round the labels",
        )
    occur = np.unique(np.rint(values)).astype(int)
    most = len(expected.values) if expected.values is not None else _LARGEST_VALUE
    if strange := [int(v) for v in occur if not 0 <= v <= most]:
        known = f"0 to {most} are declared" if expected.values is not None else f"values are 0 to {_LARGEST_VALUE}"
        yield Finding("error", pair.name, "undeclared", f"the labels hold the values {', '.join(map(str, strange[:5]))}, {known}",
                      "Declare the structure in the task, or change the value.")  # fmt: skip
    if not (occur > 0).any():
        yield Finding(
            "warning", pair.name, "empty", "the label map is empty", "Keep it only if the structure is really not there."
        )


def check_together(cases: Sequence[Seen], expected: Expected) -> list[Finding]:
    """What shows only when all cases are looked at."""
    return [*_number(cases), *_duplicates(cases), *_outliers(cases), *_never(cases, expected)]


def _number(cases: Sequence[Seen]) -> Iterator[Finding]:
    if len(cases) < _TOO_FEW:
        yield Finding(
            "error",
            "",
            "too few",
            f"{len(cases)} cases can be used, at least {_TOO_FEW} are needed, one of them for validation",
            "Add cases.",
        )
    elif len(cases) < _FEW:
        yield Finding(
            "warning",
            "",
            "too few",
            f"there are {len(cases)} cases; with fewer than {_FEW} the validation says little",
            "Add cases.",
        )


def groups_of_same(cases: Sequence[Seen]) -> list[list[Seen]]:
    """Cases with the same image, two or more a group."""
    groups: dict[str, list[Seen]] = defaultdict(list)
    for case in cases:
        groups[case.image_hash].append(case)
    return [group for group in groups.values() if len(group) > 1]


def _duplicates(cases: Sequence[Seen]) -> Iterator[Finding]:
    for first, *others in groups_of_same(cases):
        for other in others:
            is_same = other.labels_hash == first.labels_hash
            yield Finding(
                "warning" if is_same else "error", other.name, "duplicate",
                f"its image is that of {first.name}, with {'the same' if is_same else 'other'} labels",
                "Leave it out." if is_same else "Decide which labels are right, and leave the other case out.",
                "leave the second case out" if is_same else "",
            )  # fmt: skip


def _outliers(cases: Sequence[Seen]) -> Iterator[Finding]:
    if len(cases) < _OUTLIER_CASES:
        return
    spacings = np.array([case.spacing_mm for case in cases])
    extents = spacings * [case.shape for case in cases]
    for rule, values, what in (("spacing", spacings, "voxel size"), ("field of view", extents, "field of view")):
        median = np.median(values, axis=0)
        for case, own in zip(cases, values, strict=True):
            if (np.maximum(own / median, median / own) > _OUTLIER).any():
                yield Finding("warning", case.name, rule, f"its {what} is {_in_mm(own)} mm (z, y, x), the others' median {_in_mm(median)}",
                              "Look whether the header is right and the scan belongs here.")  # fmt: skip


def _in_mm(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


def _never(cases: Sequence[Seen], expected: Expected) -> Iterator[Finding]:
    for value, name in enumerate(expected.values or (), start=1):
        if cases and not any(value in case.values for case in cases):
            yield Finding(
                "warning",
                "",
                "never",
                f"the structure {name!r} (value {value}) is in no case",
                "Check the values, or take it out of the task.",
            )
