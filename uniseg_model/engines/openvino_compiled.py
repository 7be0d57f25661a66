"""Graphs compiled for this processor, and kept on disk, so that the next start takes a third of the time.

A file belongs to weights, number of threads, precision, processor and OpenVINO: all of them are in its name. It begins with
the SHA-256 of the rest, because OpenVINO itself does not notice a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.errors import OutputError
from uniseg_model.files import make_folder, whole_file

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

_DIGEST_BYTES = 32
_KEPT = 8  # folders, each of one set of weights: of a full-size network 220 MB
_LAYOUT = 3  # of the graphs; another number for other graphs, and no old file is read
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def cache_folder() -> Path:
    """``$UNISEG_CACHE``, or the user's cache folder for ``uniseg``."""
    chosen = os.environ.get("UNISEG_CACHE")
    return Path(chosen) if chosen else user_cache_path("uniseg", appauthor=False)


class Compiler:
    """Compiles graphs of one network. weights: SHA-256 of all that is in them. precision: a key of ``HINTS``."""

    def __init__(self, weights: Sequence[str], precision: str, threads: int) -> None:
        self._core = openvino().Core()
        self._weights, self._precision, self._threads = list(weights), precision, threads
        self._folder = cache_folder() / "openvino" / f"{weights[0][:16]}-{threads}"
        self._options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}  # fmt: skip

    def compiled(self, name: str, build: Callable[[], Model]) -> CompiledModel:
        """The compiled graph, from the disk if it is there. name: tells it from the network's others. build: makes it."""
        path = self._path(name)
        if found := self._read(path):
            return found
        made = self._core.compile_model(build(), "CPU", self._options)
        self._keep(path, made)
        return made

    def _path(self, name: str) -> Path:
        facts = [name, _LAYOUT, self._weights, self._precision, openvino().get_version(), processor(self._core)]
        return self._folder / f"{name.split()[0]}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.blob"

    def _read(self, path: Path) -> CompiledModel | None:
        """The graph in a file; None where there is none, or a damaged one."""
        try:
            content = memoryview(path.read_bytes())
            digest, blob = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(blob).digest() != digest:
                return None
            return self._core.import_model(bytes(blob), "CPU", self._options)
        except (OSError, RuntimeError):
            return None

    def _keep(self, path: Path, made: CompiledModel) -> None:
        """Write it for the next start; where nothing can be written, the next start compiles again."""
        with suppress(OutputError, OSError, RuntimeError):
            blob = made.export_model().getbuffer()
            make_folder(path.parent)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                file.write(hashlib.sha256(blob).digest())
                file.write(blob)
            forget_old(path.parent.parent)


def processor(core: Any) -> list[str]:
    """Name of the processor and the arithmetic it has, such as FP32, INT8, BF16."""
    return [core.get_property("CPU", "FULL_DEVICE_NAME"), *core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


def forget_old(folder: Path) -> None:
    """Keep the folders that were written to last."""
    folders = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in folders[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
