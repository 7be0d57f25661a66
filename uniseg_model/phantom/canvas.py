"""From strokes to voxels: where the body lies, on which grid it is seen, and who owns each voxel.

An anatomy is drawn first, as strokes in mm, and applied afterwards, so that it does not depend on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from uniseg_model.errors import GeometryError
from uniseg_model.phantom.shapes import Solid, rotation
from uniseg_model.volume import Shape, Triple


@dataclass(frozen=True)
class Grid:
    """Voxels along Z, Y, X, their size in mm, and the world's origin in their middle.

    Raises:
        GeometryError: fewer than two voxels along an axis, or a spacing that is not positive.
    """

    shape: Shape
    spacing_mm: Triple

    def __post_init__(self) -> None:
        if min(self.shape) < 2 or not all(0 < s < np.inf for s in self.spacing_mm):
            raise GeometryError(f"a grid needs two voxels or more along each axis and positive spacings in mm, "
                                f"it has {self.shape} voxels at {self.spacing_mm}")  # fmt: skip

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) float64, ``(z, y, x, 1)`` to RAS+ mm."""
        affine = np.zeros((4, 4))
        for axis, (n, step) in enumerate(zip(self.shape, self.spacing_mm, strict=True)):
            affine[2 - axis, axis], affine[2 - axis, 3] = step, -step * (n - 1) / 2
        affine[3, 3] = 1.0
        return affine

    @property
    def voxel_mm(self) -> float:
        """Edge of a cube of a voxel's volume."""
        return float(np.cbrt(np.prod(self.spacing_mm)))

    def points(self) -> np.ndarray:
        """World place of each voxel, (3, Z, Y, X) float32."""
        axes = [step * (np.arange(n) - (n - 1) / 2) for n, step in zip(self.shape, self.spacing_mm, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")[::-1]).astype(np.float32)

    def covered_by(self, shape: Shape | None, spacing_mm: Triple | None) -> Grid:
        """A grid of another shape or spacing; where only one of the two is given, with the same field of view."""
        extent = np.multiply(self.shape, self.spacing_mm)
        if spacing_mm is None:
            z, y, x = (extent / np.maximum(shape or self.shape, 1)).tolist()
            return Grid(shape or self.shape, (z, y, x))
        if shape is None and min(spacing_mm) > 0:
            z, y, x = np.maximum(np.round(extent / np.asarray(spacing_mm)), 2).astype(int).tolist()
            return Grid((z, y, x), spacing_mm)
        return Grid(shape or self.shape, spacing_mm)


@dataclass(frozen=True, eq=False)
class Pose:
    """How the body lies in the world: turned, scaled, shifted, and gently warped by ``waves`` (wave, push, phase)."""

    turn: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    waves: tuple[tuple[np.ndarray, np.ndarray, float], ...] = ()

    @property
    def slack_mm(self) -> float:
        """How far the warp can move a point at most."""
        return float(sum(np.abs(push).max() for _, push, _ in self.waves))

    def to_body(self, points: np.ndarray) -> np.ndarray:
        """World points (3, ...) as places in the body."""
        inverse = (np.diag(1 / self.scale) @ self.turn.T).astype(np.float32)
        body = np.tensordot(inverse, points - self.shift.astype(np.float32)[:, None, None, None], axes=1)
        moved = body.copy()
        for wave, push, phase in self.waves:
            ripple = np.sin(np.tensordot(wave.astype(np.float32), body, axes=1) + np.float32(phase))
            moved += push.astype(np.float32)[:, None, None, None] * ripple
        return np.asarray(moved)

    def to_world(self, corners: np.ndarray) -> np.ndarray:
        """Body corners (n, 3) in the world, the warp left aside."""
        return np.asarray((corners * self.scale) @ self.turn.T + self.shift)


def draw_pose(rng: np.random.Generator, *, degrees: float, shift_mm: Triple, scale: float, warp_mm: float = 2.0) -> Pose:
    """A random pose: turns of up to ``degrees``, shifts up to ``shift_mm``, scales within 1 ± ``scale``."""
    x, y, z = (rng.uniform(-1, 1, 3) * degrees).tolist()
    shift = rng.uniform(-1, 1, 3) * np.asarray(shift_mm)
    factors = 1 + rng.uniform(-1, 1, 3) * scale
    waves = []
    for _ in range(4):
        wave = rng.normal(size=3)
        wave *= 2 * np.pi / rng.uniform(110, 220) / np.linalg.norm(wave)
        waves.append((wave, rng.uniform(-1, 1, 3) * warp_mm, float(rng.uniform(0, 2 * np.pi))))
    return Pose(rotation((x, y, z)), factors, shift, tuple(waves))


@dataclass(frozen=True, eq=False)
class Stroke:
    """One thing to paint: its name, its solids (their union), its value in each channel.

    only: names of those it may cover; empty means all.
    """

    name: str
    parts: tuple[Solid, ...]
    value: tuple[float, ...]
    only: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """What the strokes came to: values (C, Z, Y, X) float32, and the owner (Z, Y, X) of each voxel as an index of ``names``."""

    values: np.ndarray
    owner: np.ndarray
    names: list[str]

    def where(self, *names: str) -> np.ndarray:
        """(Z, Y, X) bool: voxels that one of ``names`` owns."""
        return np.asarray(np.isin(self.owner, [self.names.index(n) for n in names if n in self.names]))


def paint(strokes: Sequence[Stroke], grid: Grid, pose: Pose, background: tuple[float, ...]) -> Picture:
    """The strokes in their order, later over earlier, with edges as soft as a voxel is wide."""
    points = pose.to_body(grid.points())  # (3, Z, Y, X)
    values = np.empty((len(background), *grid.shape), np.float32)
    values[:] = np.asarray(background, np.float32)[:, None, None, None]
    picture = Picture(values, np.zeros(grid.shape, np.uint8), ["", *dict.fromkeys(s.name for s in strokes)])
    for stroke in strokes:
        seen = [(box, part) for part in stroke.parts if (box := _box(part, grid, pose)) is not None]
        if seen:
            hull = _hull([box for box, _ in seen])
            _apply(stroke, hull, _distance(seen, hull, points), picture, grid.voxel_mm)
    return picture


Box = tuple[slice, slice, slice]


def _box(solid: Solid, grid: Grid, pose: Pose) -> Box | None:
    """The part of the grid in which a solid can leave a trace; None where there is none."""
    corners = np.array(list(product(*zip(solid.low, solid.high, strict=True))))
    world = pose.to_world(corners)
    reach = 1.1 * pose.slack_mm + grid.voxel_mm
    step, shape = np.asarray(grid.spacing_mm), np.asarray(grid.shape)
    start = np.floor((world.min(axis=0)[::-1] - reach) / step + (shape - 1) / 2)
    stop = np.ceil((world.max(axis=0)[::-1] + reach) / step + (shape - 1) / 2) + 1
    start, stop = np.maximum(start, 0).astype(int), np.minimum(stop, shape).astype(int)
    if (start >= stop).any():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return z, y, x


def _hull(boxes: Sequence[Box]) -> Box:
    z, y, x = (slice(min(box[i].start for box in boxes), max(box[i].stop for box in boxes)) for i in range(3))
    return z, y, x


def _distance(parts: Sequence[tuple[Box, Solid]], hull: Box, points: np.ndarray) -> np.ndarray:
    if len(parts) == 1:
        return parts[0][1].distance(points[:, *hull])
    distance = np.full(points[0][hull].shape, np.inf, np.float32)
    for box, solid in parts:
        z, y, x = (slice(b.start - h.start, b.stop - h.start) for b, h in zip(box, hull, strict=True))
        distance[z, y, x] = np.minimum(distance[z, y, x], solid.distance(points[:, *box]))
    return distance


def _apply(stroke: Stroke, hull: Box, distance: np.ndarray, picture: Picture, edge_mm: float) -> None:
    cover = np.clip(0.5 - distance / np.float32(edge_mm), 0, 1)
    inside = distance < 0
    owner = picture.owner[hull]
    if stroke.only:
        allowed = np.isin(owner, [picture.names.index(n) for n in stroke.only if n in picture.names])
        cover, inside = cover * allowed, inside & allowed
    for channel, value in zip(picture.values, stroke.value, strict=True):
        channel[hull] += cover * (np.float32(value) - channel[hull])
    owner[inside] = picture.names.index(stroke.name)
