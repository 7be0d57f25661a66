"""What is asked of a batch, of the process that holds the model, and of one case. Plain values: they travel to other machines as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_model.errors import OptionError

if TYPE_CHECKING:
    from uniseg_app.batch.cases import Case
    from uniseg_model.checkpoint import Checkpoint
    from uniseg_model.options import Options


@dataclass(frozen=True)
class BatchRequest:
    """What a person asks for.

    source: a folder of images, or a list of them. tasks: keys, or ``all``. out: a folder with one folder per case.
    workers: processes on this machine; None: one a GPU, or one. cluster: the address of a Dask scheduler, or ``local`` or
        ``local:N`` for workers of our own. scheduler_file: where a scheduler has written its address.
    shard: which part of how many, from 1. timeout_s: for one case, model apart; None: no limit.
    overwrite: replace even answers that were edited since. The others: see ``commands.SegmentRequest``.
    """

    source: Path
    out: Path
    tasks: tuple[str, ...]
    options: Options
    weights: Path | None = None
    folds: tuple[Path, ...] = ()
    packs: tuple[Path, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    format: str = "nifti"
    workers: int | None = None
    cluster: str | None = None
    scheduler_file: Path | None = None
    shard: tuple[int, int] = (1, 1)
    timeout_s: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        number, n = self.shard
        if not 1 <= number <= n:
            raise OptionError(f"the shard must be I/N with I from 1 to N, not {number}/{n}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise OptionError(f"the time limit of a case must be more than 0 s, not {self.timeout_s:g}")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"there must be at least 1 worker, not {self.workers}")
        if self.cluster and self.scheduler_file:
            raise OptionError("--cluster and --scheduler-file both name a scheduler", hint="Leave one of them out.")
        if self.workers and (self.cluster or self.scheduler_file):
            raise OptionError(
                "--workers are processes without a cluster", hint="Say --cluster local:N, or start the workers there."
            )


@dataclass(frozen=True)
class Setup:
    """What a process needs to hold the model. identity: which weights these must be, see :func:`identity_of`. slot: which GPU of several."""

    weights: Path
    folds: tuple[Path, ...]
    packs: tuple[Path, ...]
    device: str
    precision: str
    threads: int | None
    options: Options
    format: str
    identity: Sequence[Mapping[str, Any]]
    slot: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), default=os.fspath)

    @classmethod
    def from_json(cls, line: str) -> Setup:
        """The same again."""
        from uniseg_model.options import Options

        facts = json.loads(line)
        paths = {name: tuple(map(Path, facts[name])) for name in ("folds", "packs")}
        return cls(**{**facts, **paths, "weights": Path(facts["weights"]), "options": Options(**facts["options"])})


@dataclass(frozen=True)
class Work:
    """One case to compute. facts: all that its answer depends on, for the question whether one that is there is the one asked for."""

    case: str
    images: tuple[str, ...]
    tasks: tuple[str, ...]
    series: str | None
    facts: Mapping[str, Any]


def identity_of(checkpoints: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """Which weights these are, packs included."""
    return [{"sha256": one.sha256, "packs": [pack.sha256 for pack in one.packs]} for one in checkpoints]


def work_of(case: Case, request: BatchRequest, identity: Sequence[Mapping[str, Any]]) -> Work:
    """A case of a batch. Not among its facts: the device and the threads, which may be others when a batch goes on elsewhere."""
    tasks = tuple(key.strip().lower() for key in case.tasks or request.tasks if key.strip())
    facts = {
        "tasks": list(tasks),
        "weights": list(identity),
        "options": asdict(request.options),
        "precision": request.precision,
        "format": request.format,
        "series": case.series,
        "images": [_stamp(path) for path in case.images],
    }
    images = tuple(str(path.absolute()) for path in case.images)
    return Work(case.name, images, tasks, case.series, json.loads(json.dumps(facts)))


def _stamp(image: Path) -> list[Any] | None:
    """Name, size and time of the last change: enough to see that an image is another one, without reading it. None: it is not there."""
    files = sorted(path for path in image.rglob("*") if path.is_file()) if image.is_dir() else [image]
    try:
        stats = [path.stat() for path in files]
    except OSError:
        return None
    return [image.name, len(stats), sum(one.st_size for one in stats), max((int(one.st_mtime) for one in stats), default=0)]
