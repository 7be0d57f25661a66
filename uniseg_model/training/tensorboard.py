"""The curve in TensorBoard, for those who have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uniseg_model.errors import MissingPackageError


class TensorBoard:
    """Writes each line of the curve as TensorBoard's events, too.

    Raises:
        MissingPackageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as exc:
            raise MissingPackageError("TensorBoard is not installed", hint="Install it: pip install tensorboard.") from exc
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, line: dict[str, Any]) -> None:
        """Add one line of the curve."""
        for name, value in flat(line):
            self._writer.add_scalar(name, value, line["step"])
        self._writer.flush()


def flat(line: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Nested numbers as names with slashes: ``{"dice": {"liver": 0.9}}`` is ``dice/liver``; the step is left out."""
    found = []
    for name, value in line.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{name}/")
        elif name != "step":
            found.append((prefix + name, float(value)))
    return found
