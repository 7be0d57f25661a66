"""Pickles of other people, read as data: plain containers, ordered dicts and arrays of texts, and nothing else.

numpy never sees such a file: a forged array can make it follow any pointer. Harmless stand-ins take the place of its
classes and collect what the pickle says, and the texts are decoded here.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

from uniseg_model.errors import FileFormatError

_MOST_VALUES = 100_000
_LARGEST = 64 * 2**20  # bytes; the authors' files are thousand times smaller
_HINT = "Do not open it with other programs; download it again from the authors, or leave it out."


class _Kind:
    """Stands for a numpy data type: texts of a length, or objects."""

    def __init__(self, code: str = "", *_flags: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def texts(self, data: Any) -> list[Any]:
        """The elements behind an array's data."""
        if self.code in ("O8", "O") and isinstance(data, list):
            return data
        length = re.fullmatch(r"[<>|=]?U(\d+)", self.code)
        if not length or not isinstance(data, bytes) or not int(length[1]):
            raise FileFormatError(f"an array of {self.code!r} stands where texts are expected")
        step, codec = 4 * int(length[1]), "utf-32-be" if self.order == ">" else "utf-32-le"
        return [data[at : at + step].decode(codec).rstrip("\0") for at in range(0, len(data), step)]


class _Array:
    """Stands for a numpy array; becomes a list in :func:`_plain`."""

    def __init__(self, *_made_from: Any) -> None:
        self.elements: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        _version, _shape, kind, _fortran, data = state
        self.elements = kind.texts(data)


def _scalar(kind: _Kind, data: bytes) -> Any:
    return kind.texts(data)[0]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise FileFormatError(f"it uses the encoding {encoding!r}, only latin1 is expected")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of that name.

        Raises:
            FileFormatError: there is none.
        """
        if (module, name) not in _STAND_INS:
            raise FileFormatError(f"it wants to run {module}.{name}, it may hold only texts in lists and dicts", hint=_HINT)
        return _STAND_INS[module, name]


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle; arrays of texts become lists.

    Raises:
        FileFormatError: it wants to run something, is damaged, or is far too large.
    """
    if path.stat().st_size > _LARGEST:
        raise FileFormatError(f"{path.name} has {path.stat().st_size} bytes, a file of case names has at most {_LARGEST}")
    try:
        with path.open("rb") as file:
            return _plain(_PlainUnpickler(file).load(), [_MOST_VALUES])
    except FileFormatError as exc:
        raise FileFormatError(f"{path.name} was refused: {exc.message}", hint=exc.hint) from exc
    except Exception as exc:  # a damaged pickle can raise anything; nothing of it has run
        raise FileFormatError(f"{path.name} is damaged or no pickle: {exc}", hint=_HINT) from exc


def _plain(content: Any, left: list[int]) -> Any:
    """``left``: how many values may still come; lists that hold themselves many times over would fill the memory."""
    left[0] -= 1
    if left[0] < 0:
        raise FileFormatError(f"it unfolds to more than {_MOST_VALUES} values", hint=_HINT)
    if isinstance(content, dict):
        return {key: _plain(value, left) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value, left) for value in content]
    return _plain(content.elements, left) if isinstance(content, _Array) else content
