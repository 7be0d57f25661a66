"""What was seen of a model's prompts, and of an image's, as files: NIfTI maps, matrices, one JSON document, one page.

liver_prompt.nii.gz ...          this image's prompts, one map a task, on the coarse grid
learned_correlation.csv ...      the matrices: learned and image, by correlation and by cosine
prompts.json                     everything but the voxels, with the SHA-256 of the other files, sealed
prompts.html                     the page
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg_model import DISCLAIMER
from uniseg_model.files import file_sha256, whole_file, write_sealed_json
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.similarity import SIMILARITIES

FACTS, PAGE = "prompts.json", "prompts.html"


@dataclass(frozen=True, eq=False)
class Inspection:
    """Learned prompts and, of an image, the maps of each grid. weights: see ``run.describe_weights``."""

    weights: Mapping[str, Any]
    learned: PromptSet
    maps: tuple[PromptMaps, ...] = ()

    def sets(self) -> Iterator[tuple[str, PromptSet]]:
        """All sets with the name that their files begin with."""
        yield "learned", self.learned
        for i, maps in enumerate(self.maps, start=1):
            yield ("image" if len(self.maps) == 1 else f"image{i}"), maps

    def files(self) -> list[str]:
        """Names of the files that :meth:`write` makes."""
        maps = [map_name(task.key) for maps in self.maps for task in maps.tasks]
        return [*maps, *(f"{name}_{kind}.csv" for name, _ in self.sets() for kind in SIMILARITIES), PAGE, FACTS]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"weights": dict(self.weights), **{name: found.to_dict() for name, found in self.sets()}, "note": DISCLAIMER}

    def write(self, folder: Path, beside: Sequence[str] = ()) -> None:
        """Write all files into a folder that is there; each appears whole or not at all.

        beside: names of files that lie there already and belong to them, so that the facts know their digests too.

        Raises:
            OutputError: one cannot be written.
        """
        from uniseg_model.prompts.report import render_html

        for maps in self.maps:
            for task in maps.tasks:
                maps.save(folder / map_name(task.key), task.key)
        for name, found in self.sets():
            for kind in SIMILARITIES:
                _write_text(folder / f"{name}_{kind}.csv", matrix_csv(found, kind))
        _write_text(folder / PAGE, render_html(self))
        digests = {name: file_sha256(folder / name) for name in (*self.files(), *beside) if name != FACTS}
        write_sealed_json(folder / FACTS, {**self.to_dict(), "files_sha256": digests})


def map_name(key: str) -> str:
    """The file of one task's map."""
    return f"{key}_prompt.nii.gz"


def matrix_csv(found: PromptSet, kind: str) -> str:
    """A similarity matrix with a head line and the task keys in the first column, in the set's own order."""
    keys = [task.key for task in found.tasks]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", *keys])
    writer.writerows([key, *(f"{value:.9g}" for value in row)] for key, row in zip(keys, found.similarity(kind), strict=True))
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file name may be no valid text
