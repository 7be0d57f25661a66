"""Data sets of one's own, which outlive any window and page: where they lie, and how corrections went. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uniseg_app.commands import find_weights
from uniseg_app.pack_store import base_of, packs_for
from uniseg_app.settings import settings_path
from uniseg_model.dataset import TASK_FILE
from uniseg_model.doctor.layout import find_pairs
from uniseg_model.errors import FileFormatError, OutputError
from uniseg_model.files import WRITE_HINT, make_folder
from uniseg_model.tasks import Task, read_tasks
from uniseg_model.training.corrected import read_provenance


def my_data_folder() -> Path:
    """Where they are kept: ``data`` beside the settings file."""
    return settings_path().parent / "data"


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may look into, as it may hold patients, with all above it.

    Raises:
        OutputError: it cannot be made.
    """
    make_folder(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"{path} cannot be made: {exc}", hint=WRITE_HINT) from exc


def task_files_folder() -> Path:
    """Where tasks are described whose data set does not do it itself: ``tasks`` beside the settings file."""
    return settings_path().parent / "tasks"


def my_data_sets() -> list[Path]:
    """The data sets in the folder, by name."""
    home = my_data_folder()
    return sorted(path for path in home.glob("[!.]*") if is_data_set(path)) if home.is_dir() else []


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds images and labels in a layout that the doctor reads."""
    try:
        return folder.is_dir() and bool(find_pairs(folder)[1])
    except (FileFormatError, OSError):
        return False


def task_in(folder: Path) -> Task | None:
    """The one task that a data set describes; None where it describes none, or several.

    Raises:
        TaskError: its description is damaged.
    """
    path = folder / TASK_FILE
    tasks = list(read_tasks(path)) if path.exists() else []
    return tasks[0] if len(tasks) == 1 else None


def pack_of(key: str, weights: Path | None) -> Path | None:
    """The installed pack of a task for weights, those in use when None; None where there is none.

    Raises:
        WeightsError: the weights are not there, or a pack is damaged.
    """
    base = base_of(find_weights(weights))
    found = [pack.path for pack in packs_for(base) if pack.facts.task.key == key] if base else []
    return found[0] if found else None


def corrected_folder(key: str) -> Path:
    """Where corrected answers of a task are kept."""
    return my_data_folder() / f"corrected_{key}"


def way_to_improve(key: str, weights: Path | None) -> tuple[str, Path | None]:
    """How a known task is made better, and the pack to go on from: a pack goes on from where it is, a task of the weights themselves is
    learned by all of them.

    Raises:
        WeightsError: as :func:`pack_of`.
    """
    pack = pack_of(key, weights)
    return ("pack", pack) if pack else ("full", None)


@dataclass(frozen=True)
class Correction:
    """A case that was added by correcting an answer. dice: mean over structures of the answer with its correction; None where neither has any."""

    case: str
    n_changed: int
    dice: float | None


def corrections_in(folder: Path) -> list[Correction]:
    """The corrected cases of a data set in the order in which they were added: whether answers get better can be read off.

    Cases that were not predicted first are left out.

    Raises:
        FileFormatError: what is written down of them is damaged.
    """
    found = []
    for case, one in read_provenance(folder).items():
        if one.weights:
            known = [value for value in one.dice.values() if value is not None]
            found.append(Correction(case, one.n_changed, sum(known) / len(known) if known else None))
    return found
