"""What is to be trained and how. The defaults are the paper's; a TOML file may change any of them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from uniseg_model.errors import OptionError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import Task, TaskRegistry

OPTIMISERS = ("sgd", "adamw")
_IN_WORDS = {"int": "a whole number", "float": "a finite number", "str": "text", "bool": "true or false"}
AUGMENTATIONS = ("full", "light", "none")
PRECISIONS = ("auto", "float32", "bfloat16")
DEPTHS = ("scratch", "full", "pack", "backbone")


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
    foreground: share of the windows that must hold a structure of the task, in whole windows as the original rounds: of two
        windows a third is one, of one it is none.
    negatives: share of the steps that show a task an image with none of its modalities, where nothing is to be found.
    task_weights: how much more often than the others a task is trained; 1 where it is not named.
    augmentation: ``full`` as in nnU-Net v1, ``light`` without what is slow on a CPU, or ``none``.
    validation_cases: of each task, at most; a fifth of the cases when there are few.
    validation_windows: of each task at each validation.
    save_every: steps between two checkpoints, which is what a crash can lose. keep_every: steps between two
        checkpoints that stay; 0 keeps none but the last.
    batch_dice: Dice over all windows of a step together (of one process), so that what is found in a window without the
        structure counts as wrong. Counted alone, as in the paper, such a window's Dice has no gradient.
    precision: of the network's steps: ``auto`` (float16 on a GPU, float32 on a CPU), ``float32``, or ``bfloat16``. Weights,
        losses and validation are float32 always.
    compile: turn the network into machine code before the first step, which takes minutes and needs a C++ compiler; later
        steps are faster. With bfloat16, on a CPU that computes in it, they took 0.44 of the time on one core, 0.7 on two.
    seed: of everything that is drawn.
    depth: ``scratch`` learns all weights, from nothing or from others that know the same tasks; the rest add a task to trained
        weights, see ``tune``: ``pack`` on a frozen base whose network is ``network``, ``full`` in all weights, ``backbone`` without
        prompts and with a new head.
    rank: of a pack's updates.
    learn: keys of the tasks that are trained; all when empty.

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
    batch_dice: bool = False
    precision: str = "auto"
    compile: bool = False
    seed: int = 0
    depth: str = "scratch"
    rank: int = 4
    learn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_classes = max(self.network.n_classes, *(task.n_classes for task in self.tasks.values()))
        stems = {*self.network.stems, *(len(task.modalities) for task in self.tasks.values())}
        if self.depth != "pack":  # whose network is its base's
            network = replace(self.network, n_tasks=len(self.tasks), n_classes=n_classes, stems=tuple(sorted(stems)))
            object.__setattr__(self, "network", network)
        object.__setattr__(self, "learn", tuple(self.learn))
        for key in (*self.task_weights, *self.learn):
            self.tasks[key]
        self._check()

    def _check(self) -> None:
        for name in ("prompt_scale", "rank", "iterations", "batch", "epoch", "rate", "clip", "save_every", "validation_cases"):
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
        if self.depth not in DEPTHS:
            raise OptionError(f"the depth of a training must be one of {', '.join(DEPTHS)}, not {self.depth!r}")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionError(f"the augmentation must be one of {', '.join(AUGMENTATIONS)}, not {self.augmentation!r}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"the precision of a training must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not all(0 < weight <= 100 for weight in self.task_weights.values()):
            raise OptionError(f"weights of tasks are above 0 and at most 100, they are {dict(self.task_weights)}")
        self._check_shares()

    def _check_shares(self) -> None:
        weights = {key: self.task_weights.get(key, 1.0) for key in self.learned}
        rarest = min(weights, key=lambda key: weights[key])
        if self.epoch * weights[rarest] / sum(weights.values()) < 1:
            raise OptionError(f"an epoch of {self.epoch} steps has none for {rarest!r} among {len(weights)} tasks",
                              hint="Choose a longer epoch, or weights that differ less.")  # fmt: skip
        if self.negatives and not any(self.foreign_to(task) for task in self.learned.values()):
            raise OptionError(f"negatives of {self.negatives} need tasks without a common modality, here all share one",
                              hint="Leave negatives out.")  # fmt: skip

    @property
    def learned(self) -> TaskRegistry:
        """The tasks that are trained, in prompt order."""
        return TaskRegistry(task for key, task in self.tasks.items() if not self.learn or key in self.learn)

    def place(self, task: Task) -> int:
        """The task's channel in the universal prompt."""
        return list(self.tasks).index(task.key)

    def foreign_to(self, task: Task) -> list[str]:
        """Keys of the tasks whose images have no modality in common with the task's."""
        return [key for key, other in self.learned.items() if set(other.modalities).isdisjoint(task.modalities)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        tasks = [task.to_dict() for task in self.tasks.values()]
        return {
            **plain,
            "tasks": tasks,
            "network": self.network.to_dict(),
            "task_weights": dict(self.task_weights),
            "learn": list(self.learn),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Plan:
        """A plan from plain values.

        Raises:
            UniSegError: of the kind that fits what is wrong.
        """
        tasks = TaskRegistry(Task.from_dict(task) for task in facts["tasks"])
        return _plan({**facts, "tasks": tasks, "network": NetworkConfig.from_dict(facts["network"])})


def read_plan(path: Path | None, tasks: TaskRegistry, changes: Sequence[str] = ()) -> Plan:
    """The plan of a TOML file, or the paper's, with single lines of it changed.

    The file names the fields of :class:`Plan` that differ from the paper's; a table ``network`` those of
    :class:`NetworkConfig`; and tables ``tasks.KEY`` what is other than in ``tasks``, such as the spacing.

    Raises:
        OptionError: the file is no TOML, or names what there is not. TaskError: a task that is not in ``tasks``.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as exc:
        raise OptionError(f"the plan {path} cannot be read: {exc}") from exc
    facts |= read_changes(changes)
    own, network = _table("tasks", facts.pop("tasks", {})), _table("network", facts.pop("network", {}))
    changed = {key: Task.from_dict({**tasks[key].to_dict(), **_table(key, more)}) for key, more in own.items()}
    registry = TaskRegistry(changed.get(task.key, task) for task in tasks.values())
    network = {**NetworkConfig().to_dict(), **network}
    return _plan({**facts, "tasks": registry, "network": NetworkConfig.from_dict(network)})


def read_changes(lines: Sequence[str]) -> dict[str, Any]:
    """Settings as they could stand in a plan file, such as ``rate = 0.001``.

    Raises:
        OptionError: a line is no TOML.
    """
    facts: dict[str, Any] = {}
    for line in lines:
        try:
            facts |= tomllib.loads(line)
        except ValueError as exc:
            raise OptionError(
                f"{line!r} is no setting of a plan: {exc}",
                hint='Write it as in TOML: rate=0.001, or optimiser="adamw" with its quotes.',
            ) from exc
    return facts


def checked_plan(facts: Mapping[str, Any]) -> Plan:
    """A plan of these fields, each of which may come from a person.

    Raises:
        OptionError: an unknown field, or a value of another kind or outside its range.
    """
    return _plan(facts)


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{name!r} in the plan must be a table, it is {value!r}")
    return value


def _plan(facts: Mapping[str, Any]) -> Plan:
    known = {f.name: f for f in fields(Plan)}
    if unknown := sorted(set(facts) - set(known)):
        raise OptionError(f"a plan has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
    for name, value in facts.items():
        _check_type(name, value, known[name].type)
    return Plan(**facts)


def _check_type(name: str, value: Any, kind: Any) -> None:
    """A float may be written as a whole number; nothing else is taken for something else."""
    wanted: dict[Any, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    is_right = kind not in wanted or (isinstance(value, wanted[kind]) and isinstance(value, bool) == (kind == "bool"))
    if not is_right or (isinstance(value, float) and not math.isfinite(value)):
        raise OptionError(f"{name} in a plan is {_IN_WORDS.get(kind, kind)}, not {value!r}")
    if name == "task_weights" and not (
        isinstance(value, dict) and all(isinstance(v, int | float) and math.isfinite(v) for v in value.values())
    ):
        raise OptionError(f"task_weights is a table of numbers, not {value!r}")
