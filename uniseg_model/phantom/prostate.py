"""A T2 MR of the male pelvis: prostate between bladder and rectum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uniseg_model.phantom import scanner
from uniseg_model.phantom.canvas import Grid, Stroke, draw_pose
from uniseg_model.phantom.scene import Scene
from uniseg_model.phantom.shapes import (
    Segment,
    Solid,
    bumpy,
    capsules,
    ellipsoid,
    grown,
    half_space,
    intersection,
    tube,
    without,
)

GRID = Grid((24, 128, 128), (3.0, 1.5, 1.5))
PARTS = {"prostate": ("capsule", "peripheral zone", "transition zone", "urethra")}
_SIGNAL = {
    "skin": 300, "fat": 560, "cartilage": 330, "muscle": 190, "levator": 210, "bone": 70, "marrow": 560, "vessel": 120,
    "urine": 1150, "wall": 260, "bowel": 330, "gas": 25, "vesicle": 930, "plexus": 880,
    "capsule": 230, "peripheral zone": 820, "transition zone": 430, "urethra": 620,
}  # fmt: skip


def draw_scene(rng: np.random.Generator) -> Scene:
    """A pelvis whose prostate, bladder and rectum are small or large."""
    signal = {name: value * float(rng.uniform(0.92, 1.08)) for name, value in _SIGNAL.items()}
    size = float(rng.uniform(0.85, 1.2))
    pieces = [*_draw_pelvis(rng), *_draw_neighbours(rng, size), *_draw_prostate(rng, size)]
    strokes = tuple(Stroke(name, parts, (signal[name] * gain,), only) for name, parts, only, gain in pieces)
    pose = draw_pose(rng, degrees=5, shift_mm=(6, 6, 3), scale=0.05, warp_mm=1.2)
    return Scene(strokes, pose, (0.0,), PARTS, _develop)


Piece = tuple[str, tuple[Solid, ...], tuple[str, ...], float]  # name, parts, only, gain


def _draw_pelvis(rng: np.random.Generator) -> Iterator[Piece]:
    """Skin, fat, bones and the muscles on the walls of the pelvis."""
    outline = ellipsoid((0, 4, 0), (182, 112, 1500))
    yield "skin", (outline,), (), 1.0
    yield "fat", (grown(outline, -3),), (), 1.0
    for side in (1, -1):
        buttock = ellipsoid((side * 62, -72, 0), (62, 30, 160), (0, 0, -side * 24))
        thigh = ellipsoid((side * 104, 44, -10), (44, 42, 130))
        yield "muscle", (bumpy(buttock, rng, 2.5, 40), bumpy(thigh, rng, 2.5, 40)), (), 1.0
        socket = _hip_bone(side)
        yield "bone", socket, (), 1.0
        yield "marrow", tuple(grown(part, -2.2) for part in socket), ("bone",), 1.0
        yield (
            "cartilage",
            (without(ellipsoid((side * 86, 4, 2), (26.5, 26.5, 26.5)), ellipsoid((side * 86, 4, 2), (24, 24, 24))),),
            (),
            1.0,
        )
        head = [Segment(np.array([side * 86.0, 4, 2]), np.array([side * 86.0, 4, 2.1]), 23, 23),
                Segment(np.array([side * 90.0, 3, 0]), np.array([side * 132.0, -12, -22]), 16, 18)]  # fmt: skip
        yield "bone", capsules(head), (), 1.0
        yield "marrow", capsules(head, -2.0), (), 1.08
        inner = ellipsoid((side * 53, -2, 2), (12, 40, 50), (0, 0, -side * 10))
        yield "muscle", (bumpy(inner, rng, 1, 30),), (), 0.95
        yield "vessel", capsules(tube([(side * 74, 66, -50, 4.5), (side * 70, 60, 0, 4.5), (side * 58, 40, 50, 5)])), (), 1.0
    yield "bone", (ellipsoid((0, -82, 22), (24, 7, 40), (22, 0, 0)),), (), 1.0
    yield "marrow", (ellipsoid((0, -82, 22), (21, 5, 37), (22, 0, 0)),), (), 0.95


def _hip_bone(side: int) -> tuple[Solid, ...]:
    """The hip bone near the joint: roof, pubic branch to the front, ischium to the back."""
    bars = [(side * 9, 62, -8, 11), (side * 34, 58, -2, 10), (side * 62, 30, 6, 14), (side * 66, 2, 10, 16)]
    seat = [(side * 66, -4, 8, 16), (side * 60, -30, -6, 14), (side * 56, -44, -24, 14)]
    roof = [(side * 72, 4, 20, 26), (side * 76, -2, 52, 24)]
    return capsules([*tube(bars), *tube(seat), *tube(roof)])


def _draw_neighbours(rng: np.random.Generator, size: float) -> Iterator[Piece]:
    """Bladder above, rectum behind, seminal vesicles between, the levator beside."""
    bowl = bumpy(ellipsoid((0, -6, 34), (31 * size + 12, 58, 66)), rng, 1.0, 45)
    sheet = without(grown(bowl, 1.7), grown(bowl, -1.7))
    yield "levator", (intersection(sheet, half_space((0, 0, 14), (0, 0, 1))),), ("fat",), 1.0
    for side in (1, -1):
        plexus = [
            Segment(np.array([side * x, y, -20.0]), np.array([side * (x + 3.0), y - 2, 22]), 2.6, 2.2)
            for x, y in ((27 * size, -10), (25 * size, -17), (18, 32))
        ]
        yield "plexus", capsules(plexus), ("fat", "plexus"), 1.0
    full = float(rng.uniform(0.75, 1.2))
    bladder = bumpy(ellipsoid((0, 22, 20 * size + 26 * full), (38 * full, 30 * full, 28 * full)), rng, 1.5, 60)
    yield "wall", (grown(bladder, 3.5),), (), 1.0
    yield "urine", (bladder,), (), 1.0
    for side in (1, -1):
        horn = tube([(side * 5, -16, 20 * size, 4), (side * 18, -22, 24 * size + 2, 6), (side * 34, -22, 24 * size + 8, 5)])
        yield "vesicle", tuple(bumpy(c, rng, 1.2, 7) for c in capsules(horn)), ("fat", "plexus"), 1.0
    wide = float(rng.uniform(0.8, 1.35))
    gut = tube([
        (0, -36, -60, 9),
        (0, -36, -34, 12),
        (0, -35 - 4 * wide, -8, 16 * wide),
        (4, -42, 24, 18 * wide),
        (-6, -46, 56, 18 * wide),
    ])
    yield "wall", capsules(gut), ("fat", "levator", "plexus", "vesicle", "muscle", "bone", "marrow"), 1.1
    yield "bowel", tuple(bumpy(c, rng, 0.8, 12) for c in capsules(gut, -3.5)), ("wall",), float(rng.uniform(0.8, 1.5))
    air = tuple(intersection(c, half_space((0, -34 - 4 * wide, 0), (0, -1, 0))) for c in capsules(gut, -4.5))
    yield "gas", air, ("bowel",), 1.0


def _draw_prostate(rng: np.random.Generator, size: float) -> Iterator[Piece]:
    """The gland in its dark capsule: bright peripheral zone behind, nodules in the transition zone, urethra."""
    whole = ellipsoid((0, 6, 0), (26 * size, 20 * size, 22 * size), (-12, 0, 0))
    notch = ellipsoid((0, -24 * size, 0), (12 * size, 12 * size, 60))
    gland = bumpy(without(whole, notch, 10), rng, 1.1, 28)
    inner = bumpy(ellipsoid((0, 11, 2), (18 * size, 13.5 * size, 17 * size), (-12, 0, 0)), rng, 1.2, 18)
    yield "capsule", (gland,), (), 1.0
    yield "peripheral zone", (grown(gland, -1.4),), (), float(rng.uniform(0.8, 1.1))
    yield "capsule", (intersection(grown(inner, 1.0), grown(gland, -1)),), ("peripheral zone",), 1.3
    yield "transition zone", (intersection(inner, grown(gland, -2.5)),), (), 1.0
    for _ in range(int(rng.integers(6, 11))):
        centre = np.array([0, 11, 2]) + rng.uniform(-1, 1, 3) * np.array([13, 8, 12]) * size
        radius = float(rng.uniform(2.5, 6)) * size
        nodule = ellipsoid(centre, (radius, radius * 0.9, radius))
        yield "transition zone", (nodule,), ("transition zone",), 0.6
        yield "transition zone", (grown(nodule, -1.2),), ("transition zone",), float(rng.uniform(0.65, 1.7))
    stroma = ellipsoid((0, 6 + 17 * size, 2), (12 * size, 5 * size, 16 * size))
    yield "transition zone", (stroma,), ("transition zone", "peripheral zone", "capsule"), 0.5
    yield "urethra", capsules(tube([(0, 12, 22 * size, 2), (0, 6, 0, 2.6), (0, 8, -20 * size, 2.2)])), PARTS["prostate"], 1.0


def _develop(values: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    gain = np.float32(rng.uniform(0.5, 2.0))
    return (
        gain
        * scanner.mr(
            values[0], grid, rng, bias=float(rng.uniform(0.1, 0.45)), noise=float(rng.uniform(0.012, 0.03)), blur_mm=0.8
        )[None]
    )
