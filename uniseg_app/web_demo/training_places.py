"""Where data sets may lie on this server: below the folders that its operator named, and in a folder of our own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uniseg_app.outputs import free_name
from uniseg_app.own_data import is_data_set, make_private_folder, my_data_folder
from uniseg_app.typed import key_of
from uniseg_app.web_demo.words import shown
from uniseg_model.errors import FileFormatError, OptionError, OutputError
from uniseg_model.files import WRITE_HINT

MY_DATA = "my data"
_MOST_SETS = 200


@dataclass(frozen=True)
class DataPlaces:
    """own: the folder of our own, which may not be there yet. roots: of the operator, resolved."""

    own: Path
    roots: tuple[Path, ...] = ()

    @classmethod
    def of(cls, roots: tuple[Path, ...]) -> DataPlaces:
        """The usual places.

        Raises:
            OptionError: one of the roots is no folder.
        """
        for root in roots:
            if not root.is_dir():
                raise OptionError(f"there is no folder {root} to take data sets from", hint="Name another with --data-root.")
        return cls(my_data_folder().resolve(), tuple(root.resolve() for root in roots))

    @property
    def homes(self) -> list[tuple[str, Path]]:
        """The folders that hold data sets, each with what it is called."""
        return [(MY_DATA, self.own), *((root.name or str(root), root) for root in self.roots)]

    def sets(self) -> list[tuple[str, str]]:
        """The data sets in these folders and one level below, as titles and paths."""
        found = [(self.title(path), str(path)) for _, home in self.homes for path in _folders(home) if is_data_set(path)]
        return list(dict.fromkeys(found))[:_MOST_SETS]

    def title(self, path: Path) -> str:
        """What a folder is called: without the part that is the server's own."""
        for name, home in self.homes:
            if path.is_relative_to(home):
                return f"{name}/{path.relative_to(home)}".removesuffix("/.")
        return path.name

    def find(self, text: str, private: Path) -> Path:
        """The folder that somebody asks for, by its path or by its place below one of ours. private: a visit's own folder.

        Links are followed first. What lies elsewhere is not even looked for.

        Raises:
            OptionError: it lies outside. FileFormatError: it lies inside, and there is no such folder.
        """
        name = text.strip()
        homes = [home for _, home in self.homes]
        try:
            tried = [Path(name)] if Path(name).is_absolute() else [home / name for home in homes]
            inside = [path for path in (path.resolve() for path in tried) if _is_below(path, [*homes, private.resolve()])]
            found = next((path for path in inside if path.is_dir()), None)
        except (OSError, ValueError):  # a name that no file system takes
            inside, found = [], None
        if not name or not inside:
            raise OptionError(f"{shown(name) or 'nothing'} is in no folder whose data sets may be used here",
                              hint="Choose one from the list, or drop a .zip. Who runs this server adds folders with --data-root.")  # fmt: skip
        if found is None:
            raise FileFormatError(f"there is no folder {shown(name)}", hint="Choose one from the list.")
        return found

    def kept(self, name: str) -> Path:
        """The folder of our own of that name, which may not be there yet.

        Raises:
            OutputError: its parent cannot be made.
        """
        make_private_folder(self.own)
        return self.own / name

    def new(self, name: str) -> Path:
        """A folder of our own that is not there yet, named like a title or file.

        Raises:
            OutputError: its parent cannot be made.
        """
        make_private_folder(self.own)
        return free_name(self.own, key_of(name), "_")

    def keep(self, data: Path, name: str, private: Path) -> Path:
        """Where a data set stays when the visit ends: moved to a folder of our own, if it lies in the visit's.

        Raises:
            OutputError: it cannot be moved.
        """
        if not _is_below(data.resolve(), [private.resolve()]):
            return data
        target = self.new(name)
        staging = target.with_name(f".{target.name}.unfinished")
        try:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.move(data, staging)
            os.replace(staging, target)
        except OSError as exc:
            raise OutputError(f"the data set cannot be kept in {MY_DATA}: {exc}", hint=WRITE_HINT) from exc
        return target


def _is_below(path: Path, homes: list[Path]) -> bool:
    return any(path.is_relative_to(home) for home in homes)


def _folders(home: Path) -> Iterator[Path]:
    if home.is_dir():
        yield home
        yield from sorted(path for path in home.glob("[!.]*") if path.is_dir() and not path.is_symlink())
