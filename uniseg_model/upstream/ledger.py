"""What an imported data set remembers of itself: ``sources.json``, from which file each case came and what split it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from uniseg_model.errors import OptionError, OutputError
from uniseg_model.files import WRITE_HINT, file_sha256, write_json
from uniseg_model.upstream.find import Case
from uniseg_model.upstream.splits import Fold, write_splits

_HINT = "Choose another root folder."


class Ledger:
    """The cases of one data set's folder, which is made if it is not there.

    folder: of the data set. split: the name of the split file; empty when the rule splits.

    Raises:
        OutputError: the folder cannot be made, or holds files that no import wrote.
        OptionError: an earlier import was split by a file, and this one names none.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self.cases, before, self._folds_sha256 = self._read()
        if before and not split:
            raise OptionError(f"{folder} was split as in {before}, now no split file is named", hint="Name it again.")
        self._write()

    def _read(self) -> tuple[dict[str, str], str, str]:
        path = self.folder / "sources.json"
        if not path.exists():
            _make(self.folder)
            return {}, "", ""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return dict(facts["cases"]), str(facts["split"]), str(facts["folds_sha256"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise OutputError(f"{path} cannot be read: {exc}", hint=_HINT) from exc

    def _write(self) -> None:
        facts = {"split": self.split, "folds_sha256": self._folds_sha256, "cases": self.cases}
        write_json(self.folder / "sources.json", facts)

    def write_folds(self, folds: Sequence[Fold]) -> bool:
        """Write ``splits_final.json``; False, and nothing is touched, where somebody has changed it since or made it."""
        path = self.folder / "splits_final.json"
        if path.exists() and file_sha256(path) != self._folds_sha256:
            return False
        write_splits(path, folds)
        self._folds_sha256 = file_sha256(path)
        self._write()
        return True

    def holds(self, case: Case) -> bool:
        """Whether an earlier run has written this very case.

        Raises:
            OutputError: the case of that name is another one.
        """
        origin = self.cases.get(case.name, case.origin)
        if origin != case.origin:
            raise OutputError(
                f"{case.name} in {self.folder} came from {origin}, here it would be {case.origin}",
                hint="Choose another root folder, or give the whole download.",
            )
        return case.name in self.cases and self._is_there(case.name)

    def add(self, case: Case) -> None:
        """Remember a case that was written."""
        self.cases[case.name] = case.origin
        self._write()

    @property
    def names(self) -> set[str]:
        """The cases whose labels are there."""
        return {name for name in self.cases if self._is_there(name)}

    def _is_there(self, name: str) -> bool:
        return (self.folder / "labelsTr" / f"{name}.nii.gz").exists()


def _make(folder: Path) -> None:
    for name in ("labelsTr", "imagesTr"):
        if any(folder.glob(f"{name}/*")):
            raise OutputError(f"{folder / name} holds files that no import wrote", hint=_HINT)
    try:
        for name in ("imagesTr", "labelsTr"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"{folder} cannot be made: {exc}", hint=WRITE_HINT) from exc
