"""Which cases train and which validate: from the authors' split file, else by the rule that made it.

Rules, as the authors made their files:

- seven organs (DoDNet's lists): the names in text order (kidney: in number order); every fifth, from the first, validates;
- prostate: per site the first 80 % in name order train;
- vertebrae, brain, whole body, VS: the names in text order, shuffled by Python's ``random`` with seed 1234; the first
  80 % train. For vertebrae the authors shuffled the order of their disk, which nobody can know: only their file gives
  their split;
- BTCV: cases 1-10 and 21-31 train, 32-40 validate.

A rule gives the authors' split only for the full set.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from uniseg_model.errors import FileFormatError
from uniseg_model.files import write_json
from uniseg_model.upstream.plain_pickle import read_plain_pickle

Fold = Mapping[str, Sequence[str]]  # "train" and "val", as in nnU-Net's splits_final.json

SITES: Mapping[str, range] = MappingProxyType({
    "BIDMC": range(12), "BMC": range(12, 42), "HK": range(42, 54), "I2CVB": range(54, 73), "RUNMC": range(73, 103), "UCL": range(103, 116),
})  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """How a set is split. text: for people. val: the names that validate, out of all names."""

    text: str
    val: Callable[[Collection[str]], Collection[str]]
    is_authors: bool = True


def _number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _shuffled_tail(names: Collection[str]) -> list[str]:
    order = sorted(names)
    random.Random(1234).shuffle(order)
    return order[int(0.8 * len(order)) :]


def _last_of_sites(names: Collection[str]) -> list[str]:
    late = {number for site in SITES.values() for number in site[int(0.8 * len(site)) :]}
    return [name for name in names if _number(name) in late]


EVERY_FIFTH = Rule("every fifth case in text order validates", lambda names: sorted(names)[::5])
EVERY_FIFTH_NUMBER = Rule("every fifth case in number order validates", lambda names: sorted(names, key=_number)[::5])
SHUFFLED = Rule("the names are shuffled with seed 1234, the last 20 % validate", _shuffled_tail)
SHUFFLED_OWN = Rule(SHUFFLED.text, _shuffled_tail, is_authors=False)
BY_SITE = Rule("the last 20 % of each site validate", _last_of_sites)
BTCV = Rule("cases 32 to 40 validate", lambda names: [name for name in names if 32 <= _number(name) <= 40])


def split_by(rule: Rule, names: Collection[str]) -> list[Fold]:
    """The one fold that a rule makes of all names."""
    val = set(rule.val(names))
    return [{"train": sorted(set(names) - val), "val": sorted(val)}]


def read_splits(path: Path) -> list[Fold]:
    """The folds of a split file: nnU-Net's ``splits_final.json``, or a pickle, of which nothing is run.

    Raises:
        FileFormatError: missing, damaged, unsafe, or not a list of folds with ``train`` and ``val``.
    """
    if not path.is_file():
        raise FileFormatError(f"there is no split file {path}", hint="Check the path, or leave --splits out.")
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise FileFormatError(f"{path.name} is not JSON: {exc}") from exc
    else:
        content = read_plain_pickle(path)
    folds = content if isinstance(content, list) else [content]
    if not folds or not all(_is_fold(fold) for fold in folds):
        raise FileFormatError(
            f"{path.name} is not a split file: a list of folds is needed, each with the case names of 'train' and 'val'"
        )
    return [{part: list(fold[part]) for part in ("train", "val")} for fold in folds]


def _is_fold(fold: Any) -> bool:
    return isinstance(fold, Mapping) and all(
        isinstance(fold.get(part), list | tuple) and all(isinstance(name, str) for name in fold[part])
        for part in ("train", "val")
    )


def kept(folds: Sequence[Fold], names: Collection[str]) -> list[Fold]:
    """The folds without the cases that are not among ``names``."""
    return [{part: [name for name in fold[part] if name in names] for part in fold} for fold in folds]


def write_splits(path: Path, folds: Sequence[Fold]) -> None:
    """Write nnU-Net's ``splits_final.json``, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(path, list(folds))
