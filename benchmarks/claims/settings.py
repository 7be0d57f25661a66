"""What is compared, on which grids and for how long. Settings are stored with the first run and hold for all later ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from uniseg_model.errors import OptionError
from uniseg_model.files import write_json
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import Label, Task, TaskRegistry, builtin_tasks
from uniseg_model.training.plan import Plan
from uniseg_model.volume import Triple

UNIVERSAL = ("uniseg", "uniseg_loud", "dynamic_head", "late_prompt")
STARTS = ("scratch", "pretrained")
ROUND = 110  # steps of a universal network come in such portions: ten a task, so that all budgets are equal to the step
TRAIN, DOWNSTREAM, HELD_OUT = 600_000, 650_000, 700_000  # first seeds of phantoms
NETWORK = NetworkConfig(
    window=(24, 48, 48), features=(8, 16, 32, 64, 80), strides=((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)), stems=(),
)  # fmt: skip
_SPACING_MM: dict[str, Triple] = {"prostate": (3.0, 2.5, 2.5), "brain": (3.0, 3.0, 3.0), "whole_body": (10.0, 6.0, 6.0)}
_TRUNK_MM: Triple = (8.0, 4.0, 4.0)


@dataclass(frozen=True)
class Settings:
    """How much of everything.

    steps: of a universal network, and of all single ones together. downstream_steps: of each start.
    trunk_cases, other_cases: training phantoms of a family. downstream_cases: how many, of a pool as large as the most.
    held_out: phantoms of each family to be judged by. weights: SHA-256 of those the downstream tasks start from.

    Raises:
        OptionError: a number below 1, or steps that cannot be shared evenly.
    """

    steps: int = 1980
    downstream_steps: int = 200
    seeds: int = 3
    trunk_cases: int = 120
    other_cases: int = 60
    held_out: int = 8
    downstream_cases: tuple[int, ...] = (5, 10, 20)
    weights: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "downstream_cases", tuple(self.downstream_cases))
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "int"}
        if small := [name for name, value in numbers.items() if value < 1]:
            raise OptionError(f"{small[0]} must be 1 or more, it is {numbers[small[0]]}")
        if self.steps % ROUND:
            raise OptionError(f"steps must be a multiple of {ROUND}, they are {self.steps}",
                              hint=f"Take {max(1, round(self.steps / ROUND)) * ROUND}.")  # fmt: skip


def stored_settings(folder: Path) -> Settings | None:
    """What the runs in a folder were started with; None when there is nothing yet."""
    path = folder / "settings.json"
    return Settings(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def settle(folder: Path, wanted: dict[str, Any]) -> Settings:
    """The settings of a folder: those that are stored, or the defaults with what is wanted.

    Raises:
        OptionError: what is wanted contradicts what is stored.
    """
    stored = stored_settings(folder)
    settings = replace(stored or Settings(), **wanted)
    if stored and not stored.weights:
        stored = replace(stored, weights=settings.weights)
    if stored and stored != settings:
        name = next(name for name, value in asdict(stored).items() if value != asdict(settings)[name])
        raise OptionError(f"the runs in {folder} have {name} {getattr(stored, name)}, not {getattr(settings, name)}",
                          hint="Choose another folder, or leave the option out.")  # fmt: skip
    return settings


def store(folder: Path, settings: Settings) -> None:
    """Keep the settings with the runs."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "settings.json", asdict(settings))


def upstream_tasks() -> TaskRegistry:
    """The eleven tasks on coarse grids."""
    return TaskRegistry(
        replace(task, spacing_mm=_SPACING_MM.get(task.key, _TRUNK_MM), axes="RAS") for task in builtin_tasks().values()
    )


def downstream_tasks(spacing_mm: Triple) -> TaskRegistry:
    """Two structures of the trunk that no upstream task contains; the labels' names are those of the phantom's strokes."""
    easy, hard = ("heart", "Heart muscle", "#D55E00"), ("bowel", "Small bowel", "#0072B2")
    return TaskRegistry(
        Task(key, title, ("CT",), (Label(key, color),), spacing_mm, ("hu",), axes="RAS") for key, title, color in (easy, hard)
    )


@dataclass(frozen=True)
class Job:
    """One training and its result.

    network: see ``rivals.NETWORKS``. start: ``scratch`` or ``pretrained``. n_cases: to learn from; 0 means all there are.
    """

    part: str
    network: str
    tasks: tuple[str, ...]
    steps: int
    seed: int
    start: str = "scratch"
    n_cases: int = 0

    @property
    def name(self) -> str:
        """A name for files."""
        what = self.network if len(self.tasks) > 1 else self.tasks[0]
        more = f"-{self.n_cases}-{self.start}" if self.n_cases else ""
        return f"{self.part}-{what}{more}-seed{self.seed}"

    def plan(self, tasks: TaskRegistry, network: NetworkConfig) -> Plan:
        """The training: that of the demo weights, but shorter and with nothing chosen per task."""
        chosen = TaskRegistry(tasks[key] for key in self.tasks)
        return Plan(
            chosen, network, iterations=self.steps, epoch=min(ROUND, self.steps), optimiser="adamw", rate=3e-3,
            warm_up=min(200, self.steps // 10), weight_decay=1e-2, augmentation="none", validation_windows=0,
            save_every=100, seed=self.seed,
        )  # fmt: skip


def jobs(settings: Settings, parts: str) -> Iterator[Job]:
    """All trainings of the parts, ``a``, ``b`` or ``ab``; one seed after the other, so that what is done is comparable."""
    every = tuple(builtin_tasks())
    for seed in range(settings.seeds):
        if "a" in parts:
            yield from (Job("multitask", network, every, settings.steps, seed) for network in UNIVERSAL)
            yield from (Job("multitask", "plain", (key,), settings.steps // len(every), seed) for key in every)
        if "b" in parts:
            for key in downstream_tasks(_TRUNK_MM):
                for n in settings.downstream_cases:
                    for start in STARTS:
                        yield Job("downstream", "plain", (key,), settings.downstream_steps, seed, start, n)
