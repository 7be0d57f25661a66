"""Installed task packs: files in a folder beside the settings. Knows no torch until a pack is installed.

A file is named KEY-BASE.pack.safetensors after its task and the first digits of its base's hash, so packs of one task for
several weights lie side by side, and each weights file gets its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg_app.settings import settings_path
from uniseg_model.errors import OutputError, TaskError, WeightsError
from uniseg_model.files import WRITE_HINT, make_folder, whole_file
from uniseg_model.packs.facts import SUFFIX, PackFacts, read_facts, read_metadata
from uniseg_model.tasks import TaskRegistry

_DIGITS = 12  # of the base's hash in a file's name
_MOST_WEIGHTS_HEADER = 16 * 2**20


@dataclass(frozen=True)
class InstalledPack:
    """A file in the folder and what it says of itself."""

    path: Path
    facts: PackFacts

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = self.facts
        return {
            "key": facts.task.key, "title": facts.task.title, "structures": [label.name for label in facts.task.labels],
            "base": facts.base, "base_name": facts.base_name, "dice": dict(facts.dice), "mean_dice": facts.mean_dice,
            "licence": facts.licence, "bytes": self.path.stat().st_size, "file": str(self.path),
        }  # fmt: skip


def packs_folder() -> Path:
    """Where installed packs lie: ``packs`` beside the settings file."""
    return settings_path().parent / "packs"


def installed_packs() -> list[InstalledPack]:
    """All installed packs, by task.

    Raises:
        WeightsError: one is damaged.
    """
    found = []
    for path in sorted(packs_folder().glob(f"[!.]*{SUFFIX}")):
        try:
            found.append(InstalledPack(path, read_facts(path)))
        except WeightsError as exc:
            key = path.name.split("-")[0]
            raise WeightsError(f"the installed pack {exc.message}", hint=f"Remove it: uniseg packs remove {key}") from exc
    return found


def packs_for(base: str) -> list[InstalledPack]:
    """The installed packs of the weights with this SHA-256."""
    return [pack for pack in installed_packs() if pack.facts.base == base]


def pack_files(weights: Path) -> list[Path]:
    """The files of the installed packs that belong to a weights file, as its header says who it is."""
    base = base_of(weights)
    return [pack.path for pack in packs_for(base)] if base else []


def base_of(weights: Path | None) -> str | None:
    """The SHA-256 that a weights file gives in its header; None where it gives none."""
    if weights is None or not weights.is_file():
        return None
    try:
        return str(json.loads(read_metadata(weights, _MOST_WEIGHTS_HEADER)["uniseg"])["sha256"])
    except (WeightsError, ValueError, KeyError, TypeError):
        return None


def with_packs(tasks: TaskRegistry, base: str | None) -> TaskRegistry:
    """The tasks of weights and those of their installed packs, in prompt order."""
    added = packs_for(base) if base else []
    return TaskRegistry([*tasks.values(), *(pack.facts.task for pack in added)])


def install(pack: Path, weights: Path, *, replace: bool = False) -> InstalledPack:
    """Check a pack against weights, to the last name and shape, and copy it into the folder.

    pack: a file, or the run folder that made it.

    Raises:
        WeightsError: it is no pack, is damaged, or belongs to other weights. TaskError: the weights know the task already.
        OutputError: a pack of that task is installed for them, and ``replace`` is not asked for; or it cannot be written.
    """
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.packs.file import check_base, load_pack

    path = pack / "best.safetensors" if pack.is_dir() else pack
    loaded, checkpoint = load_pack(path), load_checkpoint(weights)
    check_base(loaded.facts, checkpoint.sha256)
    checkpoint.with_packs([loaded])
    target = packs_folder() / f"{loaded.facts.task.key}-{loaded.facts.base[:_DIGITS]}{SUFFIX}"
    if target.exists() and not replace:
        raise OutputError(
            f"a pack for {loaded.facts.task.key!r} is installed for these weights", hint="Add --replace, or remove it first."
        )
    _copy(path, target)
    return InstalledPack(target, read_facts(target))


def remove(key: str) -> list[Path]:
    """Delete the installed packs of a task, damaged ones too; the files that are gone.

    Raises:
        TaskError: there is none. OutputError: a file cannot be deleted.
    """
    files = _files_of(key)
    try:
        for path in files:
            path.unlink()
    except OSError as exc:
        raise OutputError(f"{path} cannot be deleted: {exc}", hint=WRITE_HINT) from exc
    return files


def export(key: str, out: Path, *, base: str | None = None) -> None:
    """Copy the installed pack of a task to a file that can be shared.

    base: SHA-256 of the weights it is for, where several are installed.

    Raises:
        TaskError: there is none. OutputError: the file exists or cannot be written.
    """
    from uniseg_app.outputs import check_file

    files = [path for path in _files_of(key) if base is None or read_facts(path).base == base] or _files_of(key)
    check_file(out, files)
    if out.exists():
        raise OutputError(f"{out} exists", hint="Choose another name.")
    read_facts(files[0])
    _copy(files[0], out)


def _files_of(key: str) -> list[Path]:
    every = sorted(packs_folder().glob(f"[!.]*{SUFFIX}"))
    files = [path for path in every if path.name.split("-")[0] == key]
    if not files:
        known = list(dict.fromkeys(path.name.split("-")[0] for path in every))
        raise TaskError(f"no pack for {key!r} is installed", hint=_known(known))
    return files


def _known(keys: Sequence[str]) -> str:
    return f"Installed: {', '.join(keys)}." if keys else "None is installed; `uniseg packs install` does it."


def _copy(source: Path, target: Path) -> None:
    make_folder(target.parent)
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)
