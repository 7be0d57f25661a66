"""Everything that can go wrong on purpose.

    UniSegError                 what a person can understand and act on
    ├── ImageError              the image cannot be read or used
    │   ├── FileFormatError     missing, truncated, or not the format it claims
    │   ├── GeometryError       voxel size, orientation or grid unknown, singular or contradictory
    │   ├── IntensityError      nothing to segment in the voxel values (all zero, NaN, infinite)
    │   └── ModalityError       not the channels that the task was trained on
    ├── TaskError               no such task, or a task described wrongly
    ├── WeightsError            weights missing, damaged, foreign or unsafe
    ├── OptionError             an option outside its range, or two that contradict each other
    ├── DeviceError             the device asked for is not there
    │   └── OutOfMemoryError    no plan was small enough
    ├── TrainingError           a training that cannot go on
    ├── OutputError             the answer cannot be written where it was asked for
    └── MissingPackageError     an optional package is needed and not installed

A message says the value and the rule; ``hint`` says the next step. The command line prints both on one line
and exits with status 1; a front end shows the hint below the message.
"""

from __future__ import annotations


class UniSegError(Exception):
    """An error that a person can act on.

    Args:
        message: one sentence without the final stop: the value met and the rule it breaks.
        hint: one sentence with the next step, final stop included; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class ImageError(UniSegError):
    """The image cannot be read or used."""


class FileFormatError(ImageError):
    """A file is missing, truncated, or not the format it claims to be."""


class GeometryError(ImageError):
    """Voxel size, orientation or grid is unknown, singular or contradictory."""


class IntensityError(ImageError):
    """The voxel values hold nothing that could be segmented."""


class ModalityError(ImageError):
    """The image does not have the channels that the task was trained on."""


class TaskError(UniSegError):
    """There is no such task, or its description is wrong."""


class WeightsError(UniSegError):
    """Weights are missing, damaged, foreign or unsafe to read."""


class OptionError(UniSegError):
    """An option is outside its range, or two options contradict each other."""


class DeviceError(UniSegError):
    """The device that was asked for cannot be used."""


class OutOfMemoryError(DeviceError):
    """Even the most frugal plan does not fit into memory."""


class TrainingError(UniSegError):
    """A training cannot go on."""


class OutputError(UniSegError):
    """The answer cannot be written where it was asked for."""


class MissingPackageError(UniSegError):
    """An optional package is needed for this and is not installed."""
