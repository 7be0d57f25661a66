"""What is to be trained and how. The defaults are the paper's; a TOML file may change any of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from uniseg_model.errors import OptionError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import Task, TaskRegistry

OPTIMISERS = ("sgd", "adamw")
AUGMENTATIONS = ("full", "light", "none")


@dataclass(frozen=True)
class Plan:
    """One training, from the first step to the last.

    tasks: what is learned, in prompt order. network: its shape; its number of tasks and classes follow the tasks.
    prompt_scale: of the task prompts at the start. The original's is 1, which is one voice among as many as the bottleneck
        has channels, and all prompts answer alike for long; with 10 a narrow network listens to them from the beginning.
    iterations: steps in all; each sees ``batch`` windows of one task.
    epoch: steps between two validations; in each the tasks get their share of steps exactly.
    optimiser: ``sgd`` (Nesterov, momentum 0.99) or ``adamw``. rate: the first learning rate; it falls to 0 as
        ``(1 - step / iterations) ** 0.9``, after rising over ``warm_up`` steps. clip: largest norm of the gradient.
    foreground: share of the windows that must hold a structure of the task.
    negatives: share of the steps that show a task the image of another modality, where nothing is to be found.
    task_weights: how much more often than the others a task is trained; 1 where it is not named.
    augmentation: ``full`` as in nnU-Net v1, ``light`` without what is slow on a CPU, or ``none``.
    validation_cases: of each task, at most; a fifth of the cases when there are few.
    validation_windows: of each task at each validation.
    save_every: steps between two checkpoints, which is what a crash can lose. keep_every: steps between two
        checkpoints that stay; 0 keeps none but the last.
    seed: of everything that is drawn.

    Raises:
        OptionError: a value outside its range. TaskError: a weight for a task that is not there.
    """

    tasks: TaskRegistry
    network: NetworkConfig = field(default_factory=NetworkConfig)
    prompt_scale: float = 1.0
    iterations: int = 550_000
    batch: int = 2
    epoch: int = 550
    optimiser: str = "sgd"
    rate: float = 0.01
    warm_up: int = 0
    weight_decay: float = 3e-5
    clip: float = 12.0
    foreground: float = 1 / 3
    negatives: float = 0.0
    task_weights: Mapping[str, float] = field(default_factory=dict)
    augmentation: str = "full"
    validation_cases: int = 20
    validation_windows: int = 50
    save_every: int = 550
    keep_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        n_classes = max(self.network.n_classes, *(task.n_classes for task in self.tasks.values()))
        stems = {*self.network.stems, *(len(task.modalities) for task in self.tasks.values())}
        network = replace(self.network, n_tasks=len(self.tasks), n_classes=n_classes, stems=tuple(sorted(stems)))
        object.__setattr__(self, "network", network)
        for key in self.task_weights:
            self.tasks[key]
        self._check()

    def _check(self) -> None:
        for name in ("prompt_scale", "iterations", "batch", "epoch", "rate", "clip", "save_every", "validation_cases"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be above 0, it is {getattr(self, name)}")
        for name in ("warm_up", "weight_decay", "validation_windows", "keep_every", "seed"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} must not be negative, it is {getattr(self, name)}")
        for name in ("foreground", "negatives"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is a share between 0 and 1, it is {getattr(self, name)}")
        if self.optimiser not in OPTIMISERS:
            raise OptionError(f"the optimiser must be one of {', '.join(OPTIMISERS)}, not {self.optimiser!r}")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionError(f"the augmentation must be one of {', '.join(AUGMENTATIONS)}, not {self.augmentation!r}")
        if not all(0 < weight <= 100 for weight in self.task_weights.values()):
            raise OptionError(f"weights of tasks are above 0 and at most 100, they are {dict(self.task_weights)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        tasks = [task.to_dict() for task in self.tasks.values()]
        return {**plain, "tasks": tasks, "network": self.network.to_dict(), "task_weights": dict(self.task_weights)}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Plan:
        """A plan from plain values.

        Raises:
            UniSegError: of the kind that fits what is wrong.
        """
        tasks = TaskRegistry(Task.from_dict(task) for task in facts["tasks"])
        return _plan({**facts, "tasks": tasks, "network": NetworkConfig.from_dict(facts["network"])})


def read_plan(path: Path, tasks: TaskRegistry) -> Plan:
    """The plan of a TOML file.

    The file names the fields of :class:`Plan` that differ from the paper's; a table ``network`` those of
    :class:`NetworkConfig`; and tables ``tasks.KEY`` what is other than in ``tasks``, such as the spacing.

    Raises:
        OptionError: the file is no TOML, or names what there is not. TaskError: a task that is not in ``tasks``.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise OptionError(f"the plan {path} cannot be read: {exc}") from exc
    changed = {key: Task.from_dict({**tasks[key].to_dict(), **more}) for key, more in facts.pop("tasks", {}).items()}
    registry = TaskRegistry(changed.get(task.key, task) for task in tasks.values())
    network = {**NetworkConfig().to_dict(), **facts.pop("network", {})}
    return _plan({**facts, "tasks": registry, "network": NetworkConfig.from_dict(network)})


def _plan(facts: Mapping[str, Any]) -> Plan:
    known = {f.name for f in fields(Plan)}
    if unknown := sorted(set(facts) - known):
        raise OptionError(f"a plan has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
    try:
        return Plan(**facts)
    except TypeError as exc:
        raise OptionError(f"the plan is described wrongly: {exc}") from exc
