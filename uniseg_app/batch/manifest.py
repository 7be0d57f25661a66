"""A list of cases: a CSV file, or JSON lines. Columns ``case`` and ``images``; ``task`` and ``series`` where wanted; others are passed over."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from uniseg_app.batch.cases import Case, check_names
from uniseg_model.errors import FileFormatError

MANIFEST_SUFFIXES = (".csv", ".jsonl")
_NEEDED, _OPTIONAL = ("case", "images"), ("task", "series")
_FORM = "A CSV begins with the line case,images (several images with ; between them); each line of a .jsonl is an object with these."

_Row = tuple[int, Mapping[str, Any]]


def read_manifest(path: Path) -> list[Case]:
    """The cases of a list, in its order; paths in it are relative to the list's own folder. Whether images are there is not looked at.

    Raises:
        FileFormatError: it cannot be read, a column is missing or misspelt, or a line is empty where it must not be.
        OptionError: names of cases that are no names of folders, or not each once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel puts a mark in front
    except (OSError, UnicodeDecodeError) as exc:
        raise FileFormatError(f"{path} cannot be read as UTF-8 text: {exc}", hint="Save the list as UTF-8.") from exc
    rows = _json_lines(path, text) if path.suffix.lower() == ".jsonl" else _csv_lines(path, text)
    cases = [_case(path, line, row) for line, row in rows]
    if not cases:
        raise FileFormatError(f"{path} lists no case", hint=_FORM)
    check_names([case.name for case in cases], path.name)
    return cases


def _csv_lines(path: Path, text: str) -> Iterator[_Row]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(path, 1, [(name or "").strip() for name in rows.fieldnames or ()])
        for row in rows:
            if None in row:
                raise FileFormatError(
                    f"{path} line {rows.line_num} has more fields than columns", hint="Put text with commas in quotes."
                )
            yield rows.line_num, {name.strip(): value for name, value in row.items()}
    except csv.Error as exc:
        raise FileFormatError(f"{path} line {rows.line_num} is not CSV: {exc}", hint=_FORM) from exc


def _json_lines(path: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise FileFormatError(f"{path} line {number} is not JSON: {exc}", hint=_FORM) from exc
        if not isinstance(row, dict):
            raise FileFormatError(f"{path} line {number} is no JSON object: {line.strip()[:60]}", hint=_FORM)
        _check_columns(path, number, row)
        yield number, row


def _check_columns(path: Path, line: int, names: Iterable[str]) -> None:
    names = list(names)
    for name in names:
        near = difflib.get_close_matches(name.strip().lower(), [*_NEEDED, *_OPTIONAL], n=1, cutoff=0.75)
        if near and name not in (*_NEEDED, *_OPTIONAL):
            raise FileFormatError(f"{path} line {line} has a column {name!r}", hint=f"Did you mean {near[0]}?")
    if missing := [name for name in _NEEDED if name not in names]:
        raise FileFormatError(
            f"{path} line {line} has no column {missing[0]!r}, it has {', '.join(names) or 'nothing'}", hint=_FORM
        )


def _case(path: Path, line: int, row: Mapping[str, Any]) -> Case:
    name, images = str(row["case"] if row["case"] is not None else "").strip(), _parts(row["images"], ";")
    if not name or not images:
        raise FileFormatError(f"{path} line {line} has no {'images' if name else 'case'}", hint=_FORM)
    series = str(row.get("series") or "").strip() or None
    return Case(name, tuple(path.parent / image for image in images), tuple(_parts(row.get("task"), "[,;]")), series)


def _parts(value: Any, between: str) -> list[str]:
    parts = value if isinstance(value, list) else re.split(between, str(value or ""))
    return [str(part).strip() for part in parts if str(part).strip()]
