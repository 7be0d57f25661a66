"""Solids as signed distances in millimetres: the vocabulary in which the anatomies are written.

Places are (right, anterior, superior) in mm of the body, whatever grid it is later seen on; ``points`` are (3, ...)
float32 in that order. Distances are negative inside and exact only near the surface, which is where they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from uniseg_model.volume import Triple

Field = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Solid:
    """A signed distance and the box, ``low`` to ``high`` (3,), outside which nothing of the solid lies."""

    low: np.ndarray
    high: np.ndarray
    distance: Field


class Segment(NamedTuple):
    """A straight piece of a tube, with the radii in mm at its two ends."""

    start: np.ndarray
    end: np.ndarray
    radius: float
    end_radius: float


def shifted(place: Triple | np.ndarray, right: float, anterior: float, superior: float) -> np.ndarray:
    """The place so many mm further to the right, to the front and up."""
    return np.asarray(np.asarray(place, float) + np.array([right, anterior, superior]))


def rotation(degrees: Triple) -> np.ndarray:
    """The matrix (3, 3) that turns about the right, the anterior and then the superior axis."""
    turned: np.ndarray = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        c, s, one = np.cos(angle), np.sin(angle), np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a], one[a, b], one[b, a], one[b, b] = c, -s, s, c
        turned = one @ turned
    return np.asarray(turned)


def ellipsoid(centre: Triple | np.ndarray, radii: Triple, degrees: Triple = (0, 0, 0)) -> Solid:
    """An ellipsoid with half-axes ``radii``, turned by ``degrees`` about its centre."""
    turn, middle = rotation(degrees), np.asarray(centre, float)
    reach = np.sqrt(turn**2 @ np.square(radii))

    def distance(points: np.ndarray) -> np.ndarray:
        return _ellipse_distance(_into_frame(points, middle, turn), radii)

    return Solid(middle - reach, middle + reach, distance)


def column(centre: Triple | np.ndarray, radii: tuple[float, float], half_height: float, degrees: Triple = (0, 0, 0)) -> Solid:
    """An upright elliptic cylinder with rounded rims."""
    turn, middle = rotation(degrees), np.asarray(centre, float)
    rim = 0.25 * half_height
    reach = np.abs(turn) @ np.array([*radii, half_height])

    def distance(points: np.ndarray) -> np.ndarray:
        local = _into_frame(points, middle, turn)
        side = _ellipse_distance(local[:2], (radii[0] - rim, radii[1] - rim))
        lid = np.abs(local[2]) - (half_height - rim)
        outside = np.hypot(np.maximum(side, 0), np.maximum(lid, 0))
        return np.asarray(np.minimum(np.maximum(side, lid), 0) + outside - rim)

    return Solid(middle - reach, middle + reach, distance)


def half_space(point: Triple, outward: Triple) -> Solid:
    """All that lies behind the plane through ``point``; only of use in :func:`intersection`, as it has no end."""
    normal = np.asarray(outward, float) / np.linalg.norm(outward)
    offset = float(normal @ np.asarray(point))
    return Solid(np.full(3, -np.inf), np.full(3, np.inf), lambda points: _dot(normal, points) - np.float32(offset))


def capsule(segment: Segment) -> Solid:
    """A tube's straight piece with round ends, its radius running evenly from one end to the other."""
    start, end, radius, end_radius = segment
    along, widest = end - start, max(radius, end_radius)
    length_squared = max(float(along @ along), 1e-6)

    def distance(points: np.ndarray) -> np.ndarray:
        away = points - start.astype(np.float32)[:, None, None, None]
        share = np.clip(_dot(along / length_squared, away), 0, 1)
        away -= along.astype(np.float32)[:, None, None, None] * share
        return np.asarray(_length(away) - (radius + (end_radius - radius) * share), dtype=np.float32)

    return Solid(np.minimum(start, end) - widest, np.maximum(start, end) + widest, distance)


def tube(knots: Sequence[tuple[float, float, float, float]], rounds: int = 2) -> list[Segment]:
    """A smooth tube near ``knots`` (right, anterior, superior, radius), from the first to the last.

    Corners are cut ``rounds`` times (Chaikin, 1974): no overshoot, so a tube stays within the hull of its knots.
    """
    line = np.asarray(knots, float)
    for _ in range(rounds):
        cut = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1).reshape(-1, 4)
        line = np.concatenate([line[:1], cut, line[-1:]])
    return [Segment(a[:3], b[:3], float(a[3]), float(b[3])) for a, b in pairwise(line)]


def tree(rng: np.random.Generator, root: Segment, depth: int, spread: float = 0.6) -> list[Segment]:
    """``root`` and the branches that fork from its end, two at each of ``depth`` forks, ever shorter and thinner."""
    if depth == 0:
        return [root]
    along = root.end - root.start
    sideways = np.cross(along, rng.normal(size=3))
    sideways *= np.linalg.norm(along) / max(float(np.linalg.norm(sideways)), 1e-6)
    branches = [root]
    for side in (1, -1):
        turned = along + side * spread * rng.uniform(0.7, 1.2) * sideways
        length = rng.uniform(0.7, 0.95) * np.linalg.norm(along)
        end = root.end + turned * length / np.linalg.norm(turned)
        branches += tree(rng, Segment(root.end, end, root.end_radius, 0.78 * root.end_radius), depth - 1, spread)
    return branches


def capsules(segments: Sequence[Segment], grow_mm: float = 0.0) -> tuple[Solid, ...]:
    """One solid for each segment, thicker by ``grow_mm``; a segment that would vanish is left out."""
    grown = [s._replace(radius=s.radius + grow_mm, end_radius=s.end_radius + grow_mm) for s in segments]
    return tuple(capsule(s) for s in grown if min(s.radius, s.end_radius) > 0)


def union(a: Solid, b: Solid, blend_mm: float = 0.0) -> Solid:
    """What lies in either, with the crease between them filled over ``blend_mm``."""

    def distance(points: np.ndarray) -> np.ndarray:
        return -_smooth_max(-a.distance(points), -b.distance(points), blend_mm)

    return Solid(np.minimum(a.low, b.low) - blend_mm / 4, np.maximum(a.high, b.high) + blend_mm / 4, distance)


def intersection(a: Solid, b: Solid, blend_mm: float = 0.0) -> Solid:
    """What lies in both, with the edge rounded over ``blend_mm``."""

    def distance(points: np.ndarray) -> np.ndarray:
        return _smooth_max(a.distance(points), b.distance(points), blend_mm)

    return Solid(np.maximum(a.low, b.low), np.minimum(a.high, b.high), distance)


def without(a: Solid, b: Solid, blend_mm: float = 0.0) -> Solid:
    """What lies in ``a`` and not in ``b``."""
    outside = Solid(a.low, a.high, lambda points: -b.distance(points))
    return intersection(a, outside, blend_mm)


def grown(solid: Solid, by_mm: float) -> Solid:
    """The solid with its surface moved outwards by ``by_mm``, or inwards where that is negative."""
    return Solid(solid.low - by_mm, solid.high + by_mm, lambda points: solid.distance(points) - np.float32(by_mm))


def bumpy(solid: Solid, rng: np.random.Generator, height_mm: float, wavelength_mm: float) -> Solid:
    """The solid with smooth random bumps and dents; they seldom exceed twice ``height_mm``."""
    waves = rng.normal(size=(6, 3))
    waves *= 2 * np.pi / wavelength_mm / np.linalg.norm(waves, axis=1, keepdims=True)
    phases = rng.uniform(0, 2 * np.pi, 6)

    def distance(points: np.ndarray) -> np.ndarray:
        ripple = sum(np.sin(_dot(wave, points) + np.float32(phase)) for wave, phase in zip(waves, phases, strict=True))
        return np.asarray(solid.distance(points) + np.float32(height_mm / np.sqrt(3)) * ripple)

    return Solid(solid.low - 2 * height_mm, solid.high + 2 * height_mm, distance)


def blob(rng: np.random.Generator, centre: Triple | np.ndarray, radius: float, height: float = 0.12) -> Solid:
    """A roundish lump of about ``radius`` mm, each with its own proportions; ``height`` of the bumps as a share of it."""
    x, y, z = (radius * rng.uniform(0.9, 1.15, 3)).tolist()
    return bumpy(ellipsoid(centre, (x, y, z), tuple(rng.uniform(-40, 40, 3))), rng, height * radius, 1.6 * radius)


def _into_frame(points: np.ndarray, middle: np.ndarray, turn: np.ndarray) -> np.ndarray:
    moved = points - middle.astype(np.float32)[:, None, None, None]
    if np.array_equal(turn, np.eye(3)):
        return np.asarray(moved)
    return np.asarray(np.tensordot(turn.T.astype(np.float32), moved, axes=1))


def _ellipse_distance(local: np.ndarray, radii: Sequence[float]) -> np.ndarray:
    # After Quilez: the level of the scaled point over the length of its gradient; good near the surface.
    scaled = local / np.asarray(radii, np.float32)[:, None, None, None]
    level = _length(scaled)
    slope = _length(scaled / np.asarray(radii, np.float32)[:, None, None, None])
    return np.asarray(level * (level - 1) / np.maximum(slope, 1e-6) - np.float32(min(radii)) * (level < 1e-6))


def _dot(vector: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y, z = np.asarray(vector, np.float32)
    return np.asarray(x * points[0] + y * points[1] + z * points[2])


def _length(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("i...,i...->...", points, points)))


def _smooth_max(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    if blend_mm == 0:
        return np.asarray(np.maximum(a, b))
    overlap = np.maximum(np.float32(blend_mm) - np.abs(a - b), 0)
    return np.asarray(np.maximum(a, b) + overlap * overlap / np.float32(4 * blend_mm))
