"""Cases as the network sees them: prepared once, then read window by window through memory maps.

A folder of plain ``.npy`` files: images, labels, and where the labels are. An array's name is the hash of everything that it depends on (the files' bytes, the
recipe), so a stale array is never used, tasks that share scans share arrays, and a half-written one has no name yet.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.errors import FileFormatError, UniSegError
from uniseg_model.files import TEMPORARY, file_sha256, make_folder, whole_file
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import read_labels, read_volume
from uniseg_model.preprocess import Prepared, Recipe, prepare
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.resample import coarse_axis, restored_slabs
from uniseg_model.tasks import Task
from uniseg_model.training.cases import Case
from uniseg_model.volume import Volume

_PLACES = 5000  # voxels remembered of each structure, from which windows are centred
_STALE_S = 3600
_FORMAT = 1  # of the arrays; part of their names


class StoredArray:
    """A ``.npy`` file that is opened for each look: thousands of cases keep no file open, and travel as a path.

    Raises:
        FileFormatError: it is gone or damaged, on making and at each look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        opened = self._open()
        self.shape, self.dtype, self.ndim = opened.shape, opened.dtype, opened.ndim

    def __getitem__(self, place: Any) -> np.ndarray:
        return np.asarray(self._open()[place])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._open(), dtype=dtype)

    def _open(self) -> np.ndarray:
        try:
            return np.asarray(np.load(self.path, mmap_mode="r"))
        except (OSError, ValueError, EOFError) as exc:
            what = "is gone" if isinstance(exc, FileNotFoundError) else f"cannot be read: {exc}"
            raise FileFormatError(f"the cached array {self.path} {what}",
                                  hint="Go on with --resume: what is missing is prepared again, what is damaged has to be deleted first.") from exc  # fmt: skip


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One case in the cache.

    image: (C, Z, Y, X) float32. labels: (Z, Y, X) uint8.
    places: for each label value that occurs, some of its voxels, (n, 3) int16 along Z, Y, X.
    key: what it was made of, as a hash.
    """

    name: str
    image: StoredArray | np.ndarray
    labels: StoredArray | np.ndarray
    places: Mapping[int, np.ndarray]
    key: str = ""


class Cache:
    """Prepared cases in a folder, which may be deleted at any time between two runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes: dict[tuple[int, ...], str] = {}  # by identity on the disk: shared scans are read once
        make_folder(folder)
        for leftover in folder.glob(f".*{TEMPORARY}*.npy"):
            if time.time() - leftover.stat().st_mtime > _STALE_S:  # nobody is still writing it
                leftover.unlink(missing_ok=True)

    def prepare_all(self, tasks: Mapping[Task, Sequence[Case]], progress: ProgressHook) -> dict[str, list[PreparedCase]]:
        """All cases by task key, prepared where they are not yet.

        Raises:
            UniSegError: the first case that cannot be used, by name, before anything is trained.
        """
        total, done = sum(map(len, tasks.values())), 0
        prepared: dict[str, list[PreparedCase]] = {}
        for task, cases in tasks.items():
            prepared[task.key] = []
            for case in cases:
                progress(Progress("prepare cases", done, total))
                prepared[task.key].append(self.get(case, task))
                done += 1
        return prepared

    def get(self, case: Case, task: Task) -> PreparedCase:
        """One case, prepared if it is not yet.

        Raises:
            UniSegError: its files cannot be read, contradict each other, or hold values that are no labels of the task.
        """
        try:
            files = self._files(case, task)
            if not (files.image.exists() and files.labels.exists()):
                _prepare(case, task, files)
            return files.load(case.name)
        except UniSegError as exc:
            raise type(exc)(f"case {case.name!r} of {task.key}: {exc.message}", hint=exc.hint) from exc

    def _files(self, case: Case, task: Task) -> _Files:
        image = _digest([_FORMAT, asdict(Recipe.of(task)), *map(self._sha256, case.images)])
        labels = _digest([image, self._sha256(case.labels), task.n_classes])
        return _Files(self.folder / f"{image}.npy", self.folder / f"{labels}.npy", self.folder / f"{labels}.places.npy")

    def _sha256(self, path: Path) -> str:
        try:
            facts = path.stat()
            identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if identity not in self._hashes:
                self._hashes[identity] = file_sha256(path)
        except OSError as exc:
            raise FileFormatError(f"{path} cannot be read: {exc}") from exc
        return self._hashes[identity]


@dataclass(frozen=True)
class _Files:
    image: Path
    labels: Path
    places: Path

    def load(self, name: str) -> PreparedCase:
        try:
            places = np.load(self.places)  # (n, 4): the label's value, then Z, Y, X
            by_value = {int(value): places[places[:, 0] == value, 1:] for value in np.unique(places[:, 0])}
            return PreparedCase(name, StoredArray(self.image), StoredArray(self.labels), by_value, self.labels.stem)
        except PermissionError as exc:
            raise FileFormatError(f"the cache cannot be read: {exc}") from exc
        except (OSError, ValueError, EOFError) as exc:
            raise FileFormatError(f"the cache is damaged: {exc}", hint=f"Delete {self.labels.parent} and start again.") from exc


def _prepare(case: Case, task: Task, files: _Files) -> None:
    volume = read_volume(case.images)
    known = np.load(files.image, mmap_mode="r") if files.image.exists() else None  # from another task on this scan
    prepared = prepare(volume, Recipe.of(task), array=known)
    labels = prepare_labels(_checked_labels(case, task, volume), prepared, task.n_classes)
    if known is None:
        save_array(files.image, prepared.array)
    save_array(files.places, _in_rows(places_of(labels)))
    save_array(files.labels, labels)  # last: who finds it finds the others, too


def prepare_labels(labels: np.ndarray, prepared: Prepared, n_classes: int) -> np.ndarray:
    """Labels (Z, Y, X) of the volume on the prepared grid: each class resampled linearly, the largest wins."""
    turned = prepared.axes.apply(labels)[prepared.box]
    if turned.shape == prepared.shape:
        return np.ascontiguousarray(turned)
    shares = np.stack([turned == k for k in range(n_classes)]).astype(np.float32)
    apart = coarse_axis(prepared.spacing_mm, prepared.recipe.spacing_mm)
    out = np.empty(prepared.shape, np.uint8)
    for rows, values in restored_slabs(shares, prepared.shape, apart):
        out[rows] = values.argmax(axis=0)
    return out


def _checked_labels(case: Case, task: Task, volume: Volume) -> np.ndarray:
    labels, affine = read_labels(case.labels)
    check_same_grid("the label map", Grid(labels.shape, affine), "the image", Grid(volume.shape, volume.affine),
                    hint="Resample the labels onto the image, with the nearest neighbour.")  # fmt: skip
    if strange := [int(value) for value in (labels.min(), labels.max()) if not 0 <= value < task.n_classes]:
        raise FileFormatError(
            f"the labels hold the value {strange[0]}, {task.title!r} has the values 0 to {task.n_classes - 1}"
        )
    return labels.astype(np.uint8)


def places_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Some voxels of each label that occurs, evenly over all of them: by value, (n, 3) int16 along Z, Y, X."""
    found = {int(value): np.argwhere(labels == value) for value in np.unique(labels) if value}
    return {value: places[:: max(1, len(places) // _PLACES)].astype(np.int16) for value, places in found.items()}


def _in_rows(places: Mapping[int, np.ndarray]) -> np.ndarray:
    """As one array for a file: (n, 4) int16, the value and Z, Y, X."""
    rows = [np.insert(found, 0, value, axis=1) for value, found in places.items()]
    return np.concatenate([np.empty((0, 4), np.int16), *rows])


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
