"""The rows of the table: what is done, and the number to reach."""

from __future__ import annotations

from benchmarks import sizes, speed
from benchmarks.speed import Row

__all__ = ["ROWS", "Row", "run_row"]

ROWS = {  # name: (what is done, the number to reach)
    "window": (speed.window_row, ">= 2.0x, labels equal"),
    "prepare": (speed.prepare_row, ">= 10x"),
    "restore": (speed.restore_row, ">= 15x, <= 1.0 GB"),
    "pipeline": (speed.pipeline_row, ">= 2.5x"),
    "tasks": (speed.tasks_row, "<= 0.80"),
    "default": (speed.default_row, ">= 15x"),
    "air": (sizes.air_row, "what the air costs"),
    "large": (sizes.large_row, "<= 6 GB; <= 12 GB"),
    "growth": (sizes.growth_row, "linear"),
}


def run_row(name: str, threads: int, image: str | None) -> Row:
    """Measure one row with so many threads."""
    import torch

    torch.set_num_threads(threads)
    return ROWS[name][0](image)
