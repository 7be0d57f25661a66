"""A brain MR in four channels (T1, T1 with contrast, T2, FLAIR) with a tumour in three parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uniseg_model.phantom import scanner
from uniseg_model.phantom.canvas import Grid, Stroke, draw_pose
from uniseg_model.phantom.scene import Scene
from uniseg_model.phantom.shapes import (
    Solid,
    blob,
    bumpy,
    capsules,
    column,
    ellipsoid,
    grown,
    half_space,
    intersection,
    tube,
    union,
    without,
)

GRID = Grid((80, 96, 80), (2.0, 2.0, 2.0))
_SIGNAL = {  # T1, T1ce, T2, FLAIR
    "scalp": (880, 900, 560, 480), "muscle": (430, 470, 260, 300), "skull": (90, 95, 70, 60), "csf": (160, 165, 1080, 130),
    "grey": (520, 535, 590, 590), "white": (760, 775, 430, 480), "nuclei": (590, 605, 520, 540),
    "oedema": (520, 535, 820, 930), "non-enhancing tumour": (360, 375, 880, 700), "enhancing tumour": (470, 1150, 690, 780),
    "vessel": (420, 1180, 120, 160),
}  # fmt: skip
_WHITE = ("white", "nuclei")


def draw_scene(rng: np.random.Generator) -> Scene:
    """A head with one tumour, somewhere in one hemisphere."""
    contrast = {name: tuple((np.array(value) * rng.uniform(0.94, 1.06, 4)).tolist()) for name, value in _SIGNAL.items()}
    pieces = [*_draw_head(rng), *_draw_brain(rng), *_draw_inside(rng), *_draw_tumour(rng)]
    strokes = tuple(Stroke(name, parts, contrast[name], only) for name, parts, only in pieces)
    pose = draw_pose(rng, degrees=7, shift_mm=(2, 2, 2), scale=0.04, warp_mm=1.2)
    return Scene(strokes, pose, (0.0,) * 4, {}, _develop)


Piece = tuple[str, tuple[Solid, ...], tuple[str, ...]]  # name, parts, only


def _draw_head(rng: np.random.Generator) -> Iterator[Piece]:
    head = bumpy(union(ellipsoid((0, 0, 6), (70, 86, 67)), ellipsoid((0, 34, -52), (48, 46, 46)), 40), rng, 1.0, 90)
    neck = column((0, -20, -70), (50, 52), 50)
    yield "scalp", (union(head, neck, 30),), ()
    yield "muscle", (grown(neck, -7), ellipsoid((0, 36, -56), (40, 36, 34)), ellipsoid((0, 4, -30), (56, 60, 30))), ()
    yield "skull", (_cavity(4.2),), ()
    yield "csf", (_cavity(),), ()
    for side in (1, -1):
        yield "csf", (ellipsoid((side * 30, 70, -40), (12, 12, 12)),), ("scalp",)


def _cavity(by_mm: float = 0.0) -> Solid:
    """The inside of the skull with its floor: high in front, deep behind for the cerebellum."""
    floor = half_space((0, 0, -33), (0, -0.18, -1))
    fossa = ellipsoid((0, -40, -32), (50, 36, 30))
    vault = ellipsoid((0, -1, 5), (61.5, 76.5, 58))
    return grown(union(intersection(vault, floor, 14), intersection(fossa, vault, 6), 8), by_mm)


def _hemisphere(side: int) -> Solid:
    inner = half_space((side * 0.7, 0, 0), (-side, 0, 0))
    above_cerebellum = without(_cavity(-1.6), ellipsoid((0, -48, -40), (54, 40, 33)), 5)
    return intersection(above_cerebellum, inner, 4)


def _draw_brain(rng: np.random.Generator) -> Iterator[Piece]:
    """Hemispheres with their folds, cerebellum and stem; white matter is what lies deep enough below all surfaces."""
    yield "white", (union(ellipsoid((0, -16, -30), (15, 15, 22)), ellipsoid((0, -24, -60), (11, 11, 40)), 12),), ()
    cerebellum = intersection(ellipsoid((0, -46, -36), (46, 30, 24)), _cavity(-2), 6)
    leaves = _folds(rng, cerebellum, wavelength=(60, 22, 10), depth_mm=9, width_mm=0.5)
    yield "grey", (without(cerebellum, leaves, 1),), ()
    yield "white", (without(grown(cerebellum, -5), grown(leaves, 2.4), 2),), ("grey",)
    for side in (1, -1):
        whole = bumpy(_hemisphere(side), rng, 1.2, 40)
        furrows = _folds(rng, whole, wavelength=(27, 27, 27), depth_mm=13, width_mm=0.45)
        yield "grey", (without(whole, furrows, 1.5),), ()
        yield "white", (without(grown(whole, -4.5), grown(furrows, 2.9), 2),), ("grey",)


def _folds(
    rng: np.random.Generator, solid: Solid, wavelength: tuple[float, float, float], depth_mm: float, width_mm: float
) -> Solid:
    """Furrows winding over a surface: the zero level of a wavy gyroid, down to ``depth_mm``."""
    rates = (2 * np.pi / np.asarray(wavelength)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 6).astype(np.float32)

    def distance(points: np.ndarray) -> np.ndarray:
        x, y, z = (rate * p for rate, p in zip(rates, points, strict=True))
        x, y, z = x + np.sin(0.7 * y + phases[0]), y + np.sin(0.6 * z + phases[1]), z + np.sin(0.8 * x + phases[2])
        wave = np.sin(x + phases[3]) * np.cos(y) + np.sin(y + phases[4]) * np.cos(z) + np.sin(z + phases[5]) * np.cos(x)
        from_furrow = np.abs(wave) / (1.5 * rates.max()) - np.float32(width_mm)
        return np.asarray(np.maximum(from_furrow, -(solid.distance(points) + np.float32(depth_mm))))

    return Solid(solid.low, solid.high, distance)


def _draw_inside(rng: np.random.Generator) -> Iterator[Piece]:
    """Bar between the hemispheres, ventricles, deep nuclei, the venous sinus behind."""
    bar = tube([(0, 34, 2, 4), (0, 38, 14, 5), (0, 20, 25, 4), (0, -10, 27, 4), (0, -34, 20, 5), (0, -38, 10, 5)])
    yield "white", tuple(ellipsoid((s.start + s.end) / 2, (14, 9, 4.5)) for s in bar), ()
    wide = float(rng.uniform(0.8, 1.25))
    for side in (1, -1):
        yield (
            "nuclei",
            (ellipsoid((side * 11, -8, 2), (9, 15, 9)), ellipsoid((side * 25, 6, 2), (7, 17, 10), (0, 0, -side * 12))),
            _WHITE,
        )
        yield "nuclei", capsules(tube([(side * 14, 26, 8, 6), (side * 17, 8, 17, 4.5), (side * 19, -14, 18, 3)])), _WHITE
        front = [(side * 11, 38, 6, 3.5 * wide), (side * 8, 22, 13, 5 * wide), (side * 9, 0, 18, 5 * wide)]
        horn = tube([*front, (side * 15, -24, 15, 5.5 * wide), (side * 22, -38, 4, 5 * wide), (side * 25, -52, 6, 2.5)])
        lower = tube([(side * 22, -36, 4, 4 * wide), (side * 29, -18, -12, 3 * wide), (side * 30, 2, -20, 2)])
        yield "csf", capsules([*horn, *lower]), ()
    yield "csf", (ellipsoid((0, -6, 2), (2.2 * wide, 14, 10)), ellipsoid((0, -32, -30), (7, 5, 9))), ()
    yield (
        "vessel",
        capsules(tube([(0, 60, 42, 2), (0, 20, 60, 2.5), (0, -40, 55, 3), (0, -70, 20, 3.5), (0, -74, -6, 4)])),
        ("csf",),
    )


def _draw_tumour(rng: np.random.Generator) -> Iterator[Piece]:
    """Oedema that spares the cortex, in it the solid tumour, in that an enhancing shell around a dead core."""
    side = int(rng.choice([1, -1]))
    centre = np.array([side * 33.0, -4, 14]) + rng.uniform(-1, 1, 3) * (7, 34, 12)
    radius = float(rng.uniform(11, 17))
    spread = bumpy(ellipsoid(centre + rng.uniform(-4, 4, 3), (radius + 9, radius + 14, radius + 9)), rng, 3.5, 34)
    solid = blob(rng, centre, radius, 0.14)
    shell = intersection(blob(rng, centre, 0.78 * radius, 0.16), grown(solid, -1.5))
    tissue = (*_WHITE, "grey", "csf")
    yield "oedema", (intersection(spread, ellipsoid((0, -4, 8), (54, 69, 50)), 6),), (*_WHITE, "oedema")
    yield "oedema", (grown(solid, 3.5),), (*_WHITE, "grey", "oedema")
    yield "non-enhancing tumour", (solid,), (*tissue, "oedema")
    yield "enhancing tumour", (shell,), ("non-enhancing tumour",)
    yield "non-enhancing tumour", (bumpy(grown(shell, -float(rng.uniform(3.2, 4.5))), rng, 0.8, 15),), ("enhancing tumour",)


def _develop(values: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Four scans of the head, nothing outside it, as after the registration and masking of BraTS."""
    noise, bias = rng.uniform(0.008, 0.02), rng.uniform(0.05, 0.2)
    head = values[0] > 0.5 * _SIGNAL["skull"][0]
    scans = [scanner.mr(channel, grid, rng, bias=bias, noise=noise, blur_mm=0.8) for channel in values]
    gains = rng.uniform(0.7, 1.4, 4)
    return np.stack([scan * head * np.float32(gain) for scan, gain in zip(scans, gains, strict=True)])
