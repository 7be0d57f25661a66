"""What may be asked for: tasks, their structures, and the registry that finds them.

``tasks.toml`` is the only table of tasks. A ``Task`` says nothing of any weights: its place in the universal prompt is
its place in a checkpoint's list of tasks. Adding a task means adding a table to a TOML file of the same form.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_model.errors import OptionError, TaskError
from uniseg_model.files import whole_file

if TYPE_CHECKING:
    from uniseg_model.volume import Triple

INTENSITY_RULES = ("hu", "zscore")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_AXES = re.compile(r"(?=.*[RL])(?=.*[AP])(?=.*[SI])[RLAPSI]{3}")


@dataclass(frozen=True)
class Label:
    """A structure: its name and its colour, ``#RRGGBB``, distinguishable with colour-blind eyes."""

    name: str
    color: str


@dataclass(frozen=True)
class Task:
    """One thing the model can be asked for.

    modalities: in channel order, one per channel.
    labels: the structures; label ``i`` has the value ``i + 1``, 0 is background.
    spacing_mm: voxel size along Z, Y, X at which the network was trained on this task.
    intensity: one rule per channel: ``hu`` (clip to [-325, 325] HU, scale to [0, 1]) or ``zscore``.
    axes: see :func:`check_axes`.
    window_hu: the grey values (low, high) in which a CT is best looked at; None for other modalities.
    caution: what a person should know before trusting this task; may be empty.

    Raises:
        TaskError: a field breaks its rule.
    """

    key: str
    title: str
    modalities: tuple[str, ...]
    labels: tuple[Label, ...]
    spacing_mm: Triple
    intensity: tuple[str, ...]
    axes: str = "axial"
    window_hu: tuple[float, float] | None = None
    dataset: str = ""
    citation: str = ""
    caution: str = ""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise TaskError(f"the task key {self.key!r} must be lower-case letters, digits and underscores, a letter first")
        if not self.labels or len({label.name for label in self.labels}) != len(self.labels):
            raise TaskError(f"the labels of task {self.key!r} must be at least one, each with its own name")
        texts = (
            self.title,
            *self.modalities,
            *(label.name for label in self.labels),
            self.dataset,
            self.citation,
            self.caution,
        )
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise TaskError(f"titles, names and other words of task {self.key!r} must be text, {strange[0]!r} is none")
        if self.window_hu is not None and not _is_window(self.window_hu):
            raise TaskError(f"window_hu of task {self.key!r} must be two grey values, the lower first, it is {self.window_hu}")
        for label in self.labels:
            if not _COLOR.fullmatch(label.color):
                raise TaskError(f"the colour {label.color!r} of {label.name!r} in task {self.key!r} must look like #E69F00")
        if len(self.spacing_mm) != 3 or not all(0 < s < 100 for s in self.spacing_mm):
            raise TaskError(
                f"spacing_mm of task {self.key!r} must be three numbers between 0 and 100 mm, it is {self.spacing_mm}"
            )
        if len(self.intensity) != len(self.modalities) or not set(self.intensity) <= set(INTENSITY_RULES):
            raise TaskError(f"task {self.key!r} has {len(self.modalities)} channels and needs as many intensity rules "
                            f"out of {', '.join(INTENSITY_RULES)}; it has {list(self.intensity)}")  # fmt: skip
        try:
            check_axes(self.axes)
        except OptionError as exc:
            raise TaskError(f"task {self.key!r}: {exc}") from exc

    @property
    def n_classes(self) -> int:
        """Number of classes with background."""
        return len(self.labels) + 1

    def value_of(self, structure: str) -> int:
        """The value of one of its structures in a label map.

        Raises:
            OptionError: it has no structure of that name.
        """
        names = [label.name for label in self.labels]
        if structure not in names:
            raise OptionError(f"{self.title!r} has no structure {structure!r}, only {', '.join(names)}")
        return names.index(structure) + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML; :meth:`from_dict` reads them back."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Task:
        """A task from plain values.

        Raises:
            TaskError: a field is missing, unknown or wrong.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(facts) - known):
            raise TaskError(f"a task has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
        try:
            labels = tuple(Label(**label) for label in facts["labels"])
            lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list | tuple)}
            return cls(**{**facts, **lists, "labels": labels})
        except (KeyError, TypeError) as exc:
            raise TaskError(f"task {facts.get('key', '?')!r} is described wrongly: {exc}") from exc


def _is_window(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(isinstance(value, int | float) for value in values) and -1e6 < values[0] < values[1] < 1e6


def check_axes(axes: str) -> str:
    """The axes rule, when it is one.

    ``axial``: axes are permuted, never flipped, to (head-foot, front-back, left-right); usual axial files stay as they are.
    ``stored``: exactly as in the file, which is what the original does.
    Three letters such as ``RAS``: permuted and flipped so that the file's axes x, y, z would point there (nibabel's convention).

    Raises:
        OptionError: anything else.
    """
    if axes in ("axial", "stored") or _AXES.fullmatch(axes):
        return axes
    raise OptionError(f"axes must be 'axial', 'stored' or three letters such as 'RAS', not {axes!r}")


class TaskRegistry(Mapping[str, Task]):
    """Tasks by key, in prompt order.

    Raises:
        TaskError: two tasks with one key (on making); an unknown key (on looking it up).
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks: dict[str, Task] = {}
        for task in tasks:
            if task.key in self._tasks:
                raise TaskError(f"two tasks have the key {task.key!r}: {self._tasks[task.key].title!r} and {task.title!r}")
            self._tasks[task.key] = task

    def __getitem__(self, key: str) -> Task:
        if key in self._tasks:
            return self._tasks[key]
        near = difflib.get_close_matches(key, self._tasks, n=1, cutoff=0.5)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise TaskError(f"there is no task {key!r}", hint=f"{guess}Known tasks: {', '.join(self._tasks)}.")

    def __contains__(self, key: object) -> bool:
        return key in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def label_values(self) -> dict[tuple[str, str], int]:
        """Value of each (task key, label name) in a map of all tasks: counted through in prompt order, from 1."""
        names = [(task.key, label.name) for task in self.values() for label in task.labels]
        return {name: value for value, name in enumerate(names, start=1)}


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a TOML file.

    Raises:
        TaskError: the file is not TOML, or a task in it is wrong.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise TaskError(f"the task file {path} cannot be read: {exc}") from exc
    return _tasks_of(tables)


def write_task(path: Path, task: Task) -> None:
    """Write a task as a TOML file that :func:`read_tasks` reads, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    facts = {name: value for name, value in task.to_dict().items() if name != "key"}
    text = f"[{task.key}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in facts.items())
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # TOML's basic strings and numbers are JSON's, but for this


def builtin_tasks() -> TaskRegistry:
    """The eleven tasks of UniSeg, in prompt order."""
    text = resources.files("uniseg_model").joinpath("tasks.toml").read_text(encoding="utf-8")
    return TaskRegistry(_tasks_of(tomllib.loads(text)))


def _tasks_of(tables: dict[str, Any]) -> list[Task]:
    if stray := [key for key, facts in tables.items() if not isinstance(facts, dict)]:
        raise TaskError(f"a task file holds one table per task, {stray[0]!r} is not a table")
    return [Task.from_dict({"key": key, **facts}) for key, facts in tables.items()]
