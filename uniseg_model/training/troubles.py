"""What ends a training in torch's words, told in ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from uniseg_model.errors import OutOfMemoryError, TrainingError, UniSegError
from uniseg_model.memory import is_out_of_memory

_FRUGAL = (
    "Close other programs and go on with --resume, or start a new run with a smaller batch (--set batch=1), fewer workers "
    "or --device cpu."
)
_ON_GPU = re.compile(
    r"Tried to allocate ([\d.]+ \w+)\..*total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", re.DOTALL
)
_IN_WORKER = "in DataLoader worker"


@contextmanager
def troubles_named() -> Iterator[None]:
    """Tell what ends the block in one sentence, where it is known.

    Raises:
        OutOfMemoryError: memory ran out, of the GPU or of the machine. TrainingError: the network cannot be compiled, or a
            process that cuts windows is gone. Others as they are; our own from such a process without its traceback.
    """
    try:
        yield
    except UniSegError as exc:
        if _IN_WORKER not in exc.message:
            raise
        message, _, hint = _last_words(exc.message).rpartition(". ")
        raise (type(exc)(message, hint=f"{hint}.") if message else type(exc)(hint)) from exc
    except Exception as exc:
        if is_out_of_memory(exc):
            raise OutOfMemoryError(_what_ran_out(str(exc)), hint=_FRUGAL) from exc
        if type(exc).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise TrainingError(f"the network could not be compiled: {str(exc).strip().splitlines()[0]}",
                                hint="Install a C++ compiler, or train with --set compile=false.") from exc  # fmt: skip
        if "DataLoader worker" in str(exc):
            raise TrainingError(f"a process that cuts windows ended: {exc}",
                                hint="Mostly memory has run out: choose fewer --workers, and go on with --resume.") from exc  # fmt: skip
        raise


def _what_ran_out(words: str) -> str:
    if found := _ON_GPU.search(words):
        wanted, total, free = found.groups()
        return f"memory of the GPU ran out in training: {wanted} more were needed, {free} of {total} are free"
    if _IN_WORKER in words:
        words = _last_words(words)
    return f"memory ran out in training: {words.partition(chr(10))[0].rstrip('.') or 'the system gave no more'}"


def _last_words(traceback: str) -> str:
    """What an error said whose whole traceback torch has made its message, without the class's name."""
    return traceback.strip().splitlines()[-1].partition(": ")[2].rstrip(".")
