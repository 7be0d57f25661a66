"""When memory runs out: how that is known from other troubles, what is given up first, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from uniseg_model.errors import OutOfMemoryError

_T = TypeVar("_T")
_FRUGAL = "Close other programs, use --device cpu, or ask for a coarser --spacing."


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, on a GPU or a CPU, and nothing else is wrong."""
    words = str(exc)
    told = "DefaultCPUAllocator" in words and ("allocate memory" in words or "not enough memory" in words)
    told = isinstance(exc, RuntimeError) and (told or words == "std::bad_alloc")
    return told or isinstance(exc, torch.OutOfMemoryError | MemoryError)


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """Tell an out-of-memory anywhere in the block in our words.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except Exception as exc:
        if not is_out_of_memory(exc):
            raise
        raise OutOfMemoryError(f"memory ran out: {_first_line(exc)}", hint=_FRUGAL) from exc


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0] or type(exc).__name__


def halved(batch: int, notes: list[str], exc: Exception) -> int:
    """Half the batch, which is noted.

    Raises:
        OutOfMemoryError: it was one window.
    """
    _give_back()
    if batch > 1:
        notes.append(f"memory ran out with {batch} windows at once; went on with {batch // 2}")
        return batch // 2
    raise OutOfMemoryError(f"memory ran out with one window at a time: {_first_line(exc)}", hint=_FRUGAL) from exc


def or_on_cpu(on_gpu: Callable[[], _T], on_cpu: Callable[[], _T], note: str, notes: list[str]) -> _T:
    """What is worked out on the GPU; where its memory runs out, what is worked out on the CPU in its place, which is noted."""
    try:
        return on_gpu()
    except Exception as exc:
        if not is_out_of_memory(exc):
            raise
    _give_back()  # only now: the error held on to what lies there
    notes.append(note)
    return on_cpu()


def _give_back() -> None:
    """Let go of the GPU's memory that torch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
