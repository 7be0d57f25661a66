"""How a stack of slices lies in space: order, gap and affine from plain numbers, which tests can check by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uniseg_model.errors import GeometryError

_TOLERANCE = 0.1  # of a voxel: how far a slice may lie from its place in the grid; header rounding stays far below
_SAME_PLACE_MM = 0.01  # slices closer than this share their place


def slice_axes(orientation: Sequence[float]) -> np.ndarray:
    """Unit vectors (3, 3) in LPS: along a row, along a column, and the slice normal.

    orientation: the six numbers of ImageOrientationPatient.

    Raises:
        GeometryError: they are not two perpendicular unit vectors.
    """
    row, column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-3):
        raise GeometryError(f"ImageOrientationPatient is {plain(orientation)}, it must be two perpendicular unit vectors")
    axes = np.stack([row, column, np.cross(row, column)])
    return np.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True))


def stack_order(positions: Sequence[Sequence[float]], orientation: Sequence[float], pixel_mm: float) -> tuple[list[int], float]:
    """Indices of the slices along their normal, and the gap in mm between their centres.

    positions: of each slice's first pixel, LPS mm. pixel_mm: the smaller pixel edge.

    Raises:
        GeometryError: fewer than 2 slices, two at one place, uneven gaps, or a stack that is not straight.
    """
    if len(positions) < 2:
        raise GeometryError(
            f"the series has {len(positions)} slice, a volume needs at least 2",
            hint="Give the folder with all slices of the scan.",
        )
    normal = slice_axes(orientation)[2]
    places = np.asarray(positions, dtype=np.float64)  # (N, 3)
    order = np.argsort(places @ normal, kind="stable")
    gap_mm = even_gap(places[order] @ normal)
    _check_straight(places[order], normal, pixel_mm)
    return [int(i) for i in order], gap_mm


def even_gap(heights_mm: np.ndarray) -> float:
    """The gap in mm between slices at ``heights_mm``, sorted, along their normal.

    Raises:
        GeometryError: two slices at one place, or one that is further than a tenth of the gap from its place.
    """
    gaps = np.diff(heights_mm)
    if (same := gaps < _SAME_PLACE_MM).any():
        raise GeometryError(
            f"{same.sum()} of {len(heights_mm)} slices lie where another one lies, the first at {heights_mm[same.argmax()]:.6g} mm "
            "along the slice normal: a volume has one slice at each place",
            hint="The series may hold several phases, echoes, b-values or copies: keep the files of one of them in the folder.",
        )
    gap_mm = float(heights_mm[-1] - heights_mm[0]) / len(gaps)
    off_mm = np.abs(heights_mm - heights_mm[0] - gap_mm * np.arange(len(heights_mm)))
    if off_mm.max() > _TOLERANCE * gap_mm:
        usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # of two gaps the smaller: slices go missing, they are not added
        worst = int(np.abs(gaps - usual).argmax())
        raise GeometryError(
            f"the slices are unevenly spaced: the one at {heights_mm[worst]:.6g} mm along the slice normal is followed by one "
            f"{gaps[worst]:.4g} mm further, the usual gap is {usual:.4g} mm",
            hint="A slice may be missing: export or copy the whole series again.",
        )
    return gap_mm


def _check_straight(places: np.ndarray, normal: np.ndarray, pixel_mm: float) -> None:
    """Refuse a stack whose slices, sorted, do not lie straight behind each other."""
    offsets = places - places[0]
    heights = offsets @ normal
    sideways_mm = np.linalg.norm(offsets - np.outer(heights, normal), axis=1)
    worst = int(sideways_mm.argmax())
    if sideways_mm[worst] > _TOLERANCE * pixel_mm:
        degrees = np.degrees(np.arctan2(sideways_mm[worst], heights[worst]))
        raise GeometryError(
            f"the stack is tilted by {degrees:.3g} degrees: slices shift sideways by {sideways_mm[worst]:.3g} mm over "
            f"{heights[worst]:.4g} mm, they must lie straight behind each other",
            hint="Straighten the scan while converting it to NIfTI, for example with dcm2niix, and give that file.",
        )


def stack_affine(origin: Sequence[float], orientation: Sequence[float], pixel_mm: Sequence[float], gap_mm: float) -> np.ndarray:
    """The affine from ``(z, y, x, 1)`` to RAS+ mm.

    origin: centre of the first pixel of the first slice, LPS mm. pixel_mm: between rows, between columns.

    Raises:
        GeometryError: the orientation is not two perpendicular unit vectors.
    """
    row, column, normal = slice_axes(orientation)
    lps = np.eye(4)
    # A step in y goes down a column, from row to row; a step in x along a row.
    lps[:3] = np.stack([normal * gap_mm, column * pixel_mm[0], row * pixel_mm[1], np.asarray(origin, dtype=np.float64)], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps + 0.0  # + 0.0 turns -0 into 0


def plain(numbers: Sequence[float]) -> str:
    """Numbers for a message, such as ``1, 0, 0``."""
    return " ".join(f"{number:.6g}" for number in numbers)
