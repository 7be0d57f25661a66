"""Rows of the table of speed that tell of size: air, growth, very large scans, many cases."""

from __future__ import annotations

import torch

from benchmarks.scale import CUBE_SPACING_MM, LARGE, air, stages_of, summed
from benchmarks.speed import Row

_SIDES = (128, 256, 384, 512, 768)


def air_row(path: str | None) -> Row:
    """20 windows, 8 of them nothing but air, demo network; the reference computes them all."""
    always_s, once_s = air(torch.get_num_threads())
    return Row(f"{always_s:.1f} s", f"{once_s:.1f} s", f"{1 - once_s / always_s:.0%} less", "13 of 20 are computed, 35 % less")


def growth_row(path: str | None) -> Row:
    """From 128 x 128 x 128 to 768 x 768 x 768 voxels of 2 mm, demo network, from file to file."""
    found = {side: summed(stages_of((side,) * 3, CUBE_SPACING_MM, None, "liver", torch.get_num_threads())) for side in _SIDES}
    per_voxel = [1e6 * seconds / side**3 for side, (seconds, _) in found.items()]
    told = "; ".join(f"{side}: {seconds:.0f} s, {gb:.1f} GB" for side, (seconds, gb) in found.items())
    return Row("", told, f"{per_voxel[-1]:.2f} s a million voxels, {per_voxel[1]:.2f} at {_SIDES[1]}")


def large_row(path: str | None) -> Row:
    """512 x 512 x 1000 and 1024 x 1024 x 768 voxels, demo network, from file to file."""
    found = [summed(stages_of(shape, spacing_mm, None, "liver", torch.get_num_threads())) for shape, spacing_mm in LARGE]
    return Row("", "; ".join(f"{seconds:.0f} s" for seconds, _ in found), "; ".join(f"{gb:.1f} GB" for _, gb in found))
