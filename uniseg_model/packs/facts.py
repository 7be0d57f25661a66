"""What a pack says of itself: the JSON in its header, read without torch and believed only within limits.

A pack comes from other people. It is a safetensors file, which cannot run code; before anything is read, its size and that
of its header are looked at, and each text and number in it has to be what it should be.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniseg_model.errors import TaskError, WeightsError
from uniseg_model.tasks import Task

FORMAT = 1
SUFFIX = ".pack.safetensors"
MOST_BYTES = 64 * 2**20  # of a pack; one for the full-size network has under 3 MB
MOST_HEADER_BYTES = 2**20
MOST_RANK, MOST_STRUCTURES, MOST_CHARACTERS = 64, 255, 2000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PackFacts:
    """What is known of a pack without its weights.

    base, base_name: SHA-256 and name of the weights it belongs to. rank: of its updates.
    dice: validation Dice by structure, from training; None where no validation window held it.
    mirrored: whether it was trained on mirrored images, too. history: how it was trained.
    sha256: of its weights, in its own words until they are read.
    """

    task: Task
    base: str
    base_name: str
    rank: int
    licence: str
    dice: Mapping[str, float | None] = field(default_factory=dict)
    mirrored: bool = False
    history: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.base_name, str) and isinstance(self.licence, str)):
            raise WeightsError(
                f"the base's name and the licence of a pack are texts, not {self.base_name!r} and {self.licence!r}"
            )
        for text in _texts(self.task.to_dict(), self.base_name, self.licence):
            if len(text) > MOST_CHARACTERS or not text.isprintable():
                raise WeightsError(f"a text in the pack has {len(text)} characters or such as cannot be printed: {text[:40]!r}")
        if len(self.task.key) > 64 or len(self.task.labels) > MOST_STRUCTURES:
            raise WeightsError(f"a pack's task key has at most 64 characters and the task {MOST_STRUCTURES} structures, it has "
                               f"{len(self.task.key)} and {len(self.task.labels)}")  # fmt: skip
        if not _SHA256.fullmatch(self.base) or not re.fullmatch(r"[0-9a-f]{64}|", self.sha256):
            raise WeightsError(f"the pack's hashes must be 64 hexadecimal digits, they are {self.base!r} and {self.sha256!r}")
        if type(self.rank) is not int or not 1 <= self.rank <= MOST_RANK:
            raise WeightsError(f"the rank of a pack is a whole number from 1 to {MOST_RANK}, not {self.rank!r}")
        if type(self.mirrored) is not bool or not isinstance(self.history, Mapping):
            raise WeightsError(f"a pack was trained on mirrored images or not, and its history is a table, not {self.mirrored!r} "
                               f"and {type(self.history).__name__}")  # fmt: skip
        if strange := sorted(set(self.dice) - {label.name for label in self.task.labels}):
            raise WeightsError(f"the validation Dice of a pack is of its own structures, {strange[0][:40]!r} is none of them")
        if not all(_is_share(value) for value in self.dice.values()):
            raise WeightsError(f"the validation Dice of a pack lies between 0 and 1, it is {dict(self.dice)}")

    @property
    def mean_dice(self) -> float | None:
        """Validation Dice, the mean over the structures that were judged."""
        known = [value for value in self.dice.values() if value is not None]
        return sum(known) / len(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {**vars(self), "format": FORMAT, "task": self.task.to_dict(), "dice": dict(self.dice), "history": dict(self.history)}  # fmt: skip

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> PackFacts:
        """Facts from plain values.

        Raises:
            WeightsError: written by a newer version, or a field is missing, unknown or wrong.
        """
        facts = dict(facts)
        if (version := facts.pop("format", None)) != FORMAT:
            raise WeightsError(
                f"the pack has format {version!r}, this version reads format {FORMAT}", hint="Update UniSeg App."
            )
        try:
            return cls(**{**facts, "task": Task.from_dict(facts["task"])})
        except (KeyError, TypeError, AttributeError, ValueError, TaskError) as exc:
            raise WeightsError(f"the pack describes itself wrongly: {exc}") from exc


def _is_share(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1)


def _texts(*values: Any) -> list[str]:
    """All texts in nested plain values."""
    found = []
    for value in values:
        if isinstance(value, dict):
            found += _texts(*value.values())
        elif isinstance(value, list | tuple):
            found += _texts(*value)
        elif isinstance(value, str):
            found.append(value)
    return found


def read_facts(path: Path) -> PackFacts:
    """What the file says of itself; its weights are not read.

    Raises:
        WeightsError: missing, too large, truncated, a pickle, of another program, or described wrongly.
    """
    if not path.is_file():
        raise WeightsError(f"there is no pack file {path}")
    if (n_bytes := path.stat().st_size) > MOST_BYTES:
        raise WeightsError(f"{path.name} has {n_bytes / 2**20:.0f} MB, a pack has at most {MOST_BYTES // 2**20} MB",
                           hint="Whole weights are used with --weights, not as a pack.")  # fmt: skip
    described = _metadata(path).get("uniseg_pack")
    if described is None:
        raise WeightsError(
            f"{path.name} is no task pack: it does not describe one", hint="`uniseg train --depth pack` makes packs."
        )
    try:
        facts = json.loads(described)
        if not isinstance(facts, dict):
            raise ValueError("no object")
        return PackFacts.from_dict(facts)
    except (ValueError, RecursionError) as exc:
        raise WeightsError(f"{path.name} describes itself wrongly: {exc}") from exc
    except WeightsError as exc:
        raise WeightsError(f"{path.name} was refused: {exc.message}", hint=exc.hint) from exc


def _metadata(path: Path) -> dict[str, str]:
    """The texts in the header; a file of the dangerous kind is called by its name."""
    try:
        return read_metadata(path, MOST_HEADER_BYTES)
    except WeightsError:
        with path.open("rb") as file:
            start = file.read(1)
        if start != b"\x80" and not zipfile.is_zipfile(path):
            raise
    raise WeightsError(f"{path.name} is a pickle or torch file, which could run code; a pack is a safetensors file",
                       hint="Do not open it with other programs.")  # fmt: skip


def read_metadata(path: Path, most_bytes: int) -> dict[str, str]:
    """The texts in the header of a safetensors file of at most ``most_bytes``.

    Raises:
        WeightsError: truncated, too long, or not such a file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > most_bytes:
                raise WeightsError(
                    f"{path.name} is no safetensors file, or its header of {length} bytes is longer than {most_bytes}"
                )
            header = json.loads(file.read(length))
        texts = header["__metadata__"]
        return {str(name): str(text) for name, text in texts.items()}
    except (OSError, ValueError, struct.error, RecursionError) as exc:
        raise WeightsError(f"{path.name} is truncated or not a safetensors file: {exc}", hint="Copy it again.") from exc
    except (KeyError, TypeError, AttributeError):
        return {}
