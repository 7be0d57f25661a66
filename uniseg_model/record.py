"""The run record: what was done with which weights on which machine, for whoever has to do it again or to trust it."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uniseg_model import __version__


@dataclass(frozen=True)
class RunRecord:
    """Plain facts of one run; ``to_dict`` is a promise to those who read ``run.json``.

    seconds: wall time by stage. peak_memory_gb: of the process since it began, and of the GPU where one was used.
    notes: everything that went another way than by default or than asked for, and the warnings about the image.
    """

    weights: Mapping[str, Any]
    image: Mapping[str, Any]
    tasks: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]
    engine: Mapping[str, Any]
    seconds: Mapping[str, float]
    peak_memory_gb: Mapping[str, float]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: loaded_versions())
    finished: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Stopwatch:
    """Seconds of wall time by stage, added up over several visits."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last_s = 0.0  # of the last visit

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the block's time to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.last_s = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + self.last_s, 3)


def loaded_versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on; of libraries only those already loaded."""
    loaded = {
        name: getattr(sys.modules.get(name), "__version__", None) for name in ("numpy", "scipy", "torch", "openvino", "nibabel")
    }
    return {"uniseg": __version__, "python": platform.python_version(), **{name: v for name, v in loaded.items() if v}}


def peak_memory_gb() -> float:
    """Largest resident size of this process since it began; 0 where the system does not tell."""
    try:  # Linux; getrusage would count the parent's size before exec, too
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return round(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9, 3)
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9, 3)  # macOS tells bytes
