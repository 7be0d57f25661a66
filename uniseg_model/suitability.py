"""Does a task suit an image? What can be told from channels, the modality a file names, and the range of its values."""

from __future__ import annotations

from collections.abc import Iterable

from uniseg_model.errors import ModalityError
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.volume import Volume

_FAT_HU = -50.0  # a CT of a person shows fat or air: some voxel lies below this
_DENSE_HU = 100.0  # and something denser than water
_AIR_HU = -300.0  # no MR image has values as low as this


def check_channels(task: Task, volume: Volume) -> None:
    """Refuse an image with another number of channels than the task's.

    Raises:
        ModalityError: naming the channels the task needs.
    """
    needed = len(task.modalities)
    if volume.n_channels != needed:
        channels = "channel" if needed == 1 else "channels"
        raise ModalityError(
            f"{task.title!r} needs {needed} {channels} ({', '.join(task.modalities)}), the image has {volume.n_channels}",
            hint="A time series? Give one of its volumes."
            if needed == 1
            else "Give one file per channel in this order, or another task.",
        )


def doubts(task: Task, volume: Volume) -> list[str]:
    """Reasons to distrust this task on this image; none when all looks right. The channels must fit."""
    low, high = volume.intensity_range
    is_ct = task.modalities[0] == "CT"
    named = volume.source.modality
    if named == "PT" or (named in ("CT", "MR") and (named == "CT") != is_ct):
        return [f"the file says it is {named}, {task.title!r} was trained on {task.modalities[0]}"]
    if is_ct and not looks_like_hu(volume):
        return [f"the values from {low:g} to {high:g} do not look like Hounsfield units, which {task.title!r} was trained on"]
    if not is_ct and low < _AIR_HU:
        return [
            f"the values from {low:g} to {high:g} look like Hounsfield units, {task.title!r} was trained on {task.modalities[0]}"
        ]
    return []


def looks_like_hu(volume: Volume) -> bool:
    """Whether channel 0 spans what a CT of a person spans: below fat and above water."""
    low, high = volume.intensity_range
    return low < _FAT_HU and high > _DENSE_HU


def suitable_tasks(registry: TaskRegistry, volume: Volume) -> list[Task]:
    """The tasks that this image suits, in prompt order: what ``all`` means.

    Raises:
        ModalityError: none, because of the channels.
    """
    fitting = [task for task in registry.values() if len(task.modalities) == volume.n_channels]
    if not fitting:
        known = sorted({len(task.modalities) for task in registry.values()})
        raise ModalityError(f"no task takes {volume.n_channels} channels, the tasks take {', '.join(map(str, known))}")
    return _of_modality(fitting, volume) or fitting


def _of_modality(tasks: Iterable[Task], volume: Volume) -> list[Task]:
    is_ct = looks_like_hu(volume) if volume.source.modality not in ("CT", "MR") else volume.source.modality == "CT"
    return [task for task in tasks if (task.modalities[0] == "CT") == is_ct]
