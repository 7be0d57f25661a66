"""The frame of the trunk: skin, fat, muscles and bones, from the thighs to the head.

Places are mm of a standard body whose origin lies at the height of the upper lumbar spine; a pose fits it to a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uniseg_model.phantom.canvas import Stroke
from uniseg_model.phantom.shapes import (
    Segment,
    Solid,
    bumpy,
    capsules,
    column,
    ellipsoid,
    grown,
    half_space,
    intersection,
    shifted,
    tube,
    union,
    without,
)
from uniseg_model.volume import Triple

_OUTLINE = np.array([  # z, half width, half depth, y of the middle: the surface of the muscles, below the fat
    (-265, 142, 90, -6), (-200, 150, 96, -6), (-140, 140, 91, -4), (-80, 131, 89, -3), (0, 137, 95, -2),
    (80, 143, 99, -2), (150, 138, 93, -4), (185, 124, 82, -8), (212, 92, 66, -12), (240, 60, 57, -12), (300, 52, 54, -8),
])  # fmt: skip
_SPINE = np.array([(-180, -52), (-120, -37), (-20, -44), (100, -58), (200, -46), (262, -26)])  # z, y of the vertebral bodies


@dataclass(frozen=True)
class Patient:
    """What the organs of one person have in common; densities in HU."""

    fat_mm: float
    bend_mm: float
    table: bool
    fat: float
    muscle: float
    blood: float
    liver: float
    vessel: float
    spleen: float
    kidney: float
    pancreas: float
    marrow: float


def draw_patient(rng: np.random.Generator) -> Patient:
    """Contrast phases and builds; liver, spleen and pancreas share a range, so that density alone does not tell them apart."""
    liver = rng.uniform(75, 110)
    return Patient(
        fat_mm=rng.uniform(9, 26), bend_mm=rng.uniform(-6, 6), table=bool(rng.random() < 0.7),
        fat=rng.uniform(-112, -95), muscle=rng.uniform(48, 62), blood=rng.uniform(150, 210),
        liver=liver, vessel=liver + rng.uniform(55, 85), spleen=rng.uniform(100, 120), kidney=rng.uniform(130, 180),
        pancreas=rng.uniform(85, 110), marrow=rng.uniform(170, 250),
    )  # fmt: skip


def torso(by_mm: float = 0.0) -> Solid:
    """The trunk with the neck, ``by_mm`` outside the surface of its muscles (inside where negative)."""

    def distance(points: np.ndarray) -> np.ndarray:
        # Widths depend on z alone, so they are looked up in a fine table: np.interp on every voxel takes three times as long.
        levels = np.linspace(-300, 320, 621)
        table = np.stack([np.interp(levels, _OUTLINE[:, 0], _OUTLINE[:, i]) for i in (1, 2, 3)]).astype(np.float32)
        width, depth, middle = table[:, np.clip(np.round(points[2]) + 300, 0, 620).astype(np.int16)]
        y = points[1] - middle
        u, v = np.abs(points[0]) / width, np.abs(y) / depth
        level = np.maximum(u * u * np.sqrt(u) + v * v * np.sqrt(v), 1e-4) ** np.float32(0.4)
        radial = np.sqrt(points[0] ** 2 + y * y) * (1 - 1 / level)  # exact along the axes
        return np.asarray(np.maximum(radial, -265 - points[2]) - np.float32(by_mm))

    return Solid(np.array([-152.0, -104, -266]) - by_mm, np.array([152.0, 99, 320]) + by_mm, distance)


def spine_at(patient: Patient, z: float) -> np.ndarray:
    """Middle of the vertebral body at height ``z``."""
    return np.array([patient.bend_mm * np.sin(z / 70), np.interp(z, _SPINE[:, 0], _SPINE[:, 1]), z])


def draw_wall(patient: Patient) -> Iterator[Stroke]:
    """Table, skin, fat, muscle, and the cavity with its fat."""
    if patient.table:
        bed = without(
            ellipsoid((0, 20, 0), (290, 165 + patient.fat_mm, 4000)), ellipsoid((0, 20, 0), (275, 150 + patient.fat_mm, 4000))
        )
        below = intersection(bed, half_space((0, -60 - patient.fat_mm, 0), (0, 1, 0)), 4)
        foam = grown(below, -3.5)
        yield Stroke("table", (below,), (-120.0,))
        yield Stroke("table", (foam,), (-900.0,))
    thighs = capsules([Segment(np.array([s * 74.0, -8, -240]), np.array([s * 70.0, -2, -460]), 76, 62) for s in (1, -1)])
    skin, skinned = (tuple(grown(t, patient.fat_mm - m) for t in thighs) for m in (0, 2.5))
    yield Stroke("skin", (torso(patient.fat_mm), *skin), (10.0,))
    yield Stroke("fat", (torso(patient.fat_mm - 2.5), *skinned), (patient.fat,))
    yield Stroke("muscle", (torso(), *thighs), (patient.muscle,))
    cavity = intersection(torso(-13), half_space((0, 0, 205), (0, 0, 1)), 20)
    yield Stroke("fat", (cavity,), (patient.fat + 8,))


def draw_muscles(patient: Patient) -> Iterator[Stroke]:
    """The muscles beside the spine: the erectors behind it and the psoas before it."""
    for side in (1, -1):
        back = [(*shifted(spine_at(patient, z), side * 30, -34, 0), 22 if z < 0 else 17) for z in range(-200, 241, 40)]
        psoas = [(side * 20, -38, -5, 6), (side * 36, -38, -70, 17), (side * 50, -28, -140, 23), (side * 70, 5, -215, 22)]
        yield Stroke("muscle", capsules(tube(back, rounds=1)), (patient.muscle,))
        yield Stroke("muscle", capsules(tube(psoas)), (patient.muscle + 3,))


def draw_spine(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Vertebrae with their arches, the discs between them, the canal with the cord."""
    height, z = 37.0, -166.0
    cortex, arches, marrow, discs = [], [], [], []
    while z < 258:
        size = _size_at(z)
        here, above = spine_at(patient, z), spine_at(patient, z + height / 2)
        tilt = float(np.rad2deg(np.arctan2(*(spine_at(patient, z + 9) - spine_at(patient, z - 9))[1:])))
        lean = (-tilt, float(rng.uniform(-2, 2)), float(rng.uniform(-2, 2)))
        body = column(here, (22 * size, 16.5 * size), 0.40 * height, lean)
        waist = ellipsoid(shifted(here, 0, 27 * size, 0), (30 * size, 12.5 * size, 0.24 * height), lean)
        cortex.append(without(body, waist, 4))
        marrow.append(grown(without(body, waist, 4), -2.6))
        arches += _arch(here, size, height, -np.tan(np.deg2rad(tilt)))
        discs.append(column(above, (20.5 * size, 15 * size), 0.12 * height + 0.8, lean))
        z, height = z + height, float(np.interp(z, (-166, 0, 200), (35, 25.5, 16)))
    yield Stroke("disc", tuple(discs), (85.0,))
    yield Stroke("vertebrae", tuple(cortex), (patient.marrow + 270,))
    yield Stroke("vertebrae", tuple(arches), (patient.marrow + 210,))
    yield Stroke("vertebrae", tuple(marrow), (patient.marrow,))
    canal = [(*shifted(spine_at(patient, z), 0, -_canal_behind(z), 0), 8.5) for z in np.arange(-180.0, 281, 20)]
    yield Stroke("canal", capsules(tube(canal, rounds=1)), (15.0,))
    yield Stroke("cord", capsules(tube([k for k in canal if k[2] > -40], rounds=1), -3.5), (42.0,))


def _size_at(z: float) -> float:
    """Size of the vertebra at height ``z``, 1 for one at the border of chest and belly."""
    return float(np.interp(z, (-166, 0, 200, 258), (1.12, 0.95, 0.72, 0.6)))


def _canal_behind(z: float) -> float:
    return 16.5 * _size_at(z) + 8.5


def _arch(here: np.ndarray, size: float, height: float, slope: float) -> list[Solid]:
    """Pedicles, laminae, transverse processes and the spinous process of one vertebra."""

    def at(x: float, behind: float, up: float) -> np.ndarray:
        return shifted(here, x, -behind, up - slope * behind)

    back, canal = 16.5 * size, 17.0
    reach = back + canal + 24 * size
    pieces = [Segment(at(0, back + canal + 2, -2), at(0, reach, -0.28 * height), 4.2 * size, 4.8 * size)]
    for side in (1, -1):
        hinge = at(side * 13.5, back + 8, 0.08 * height)
        pieces += [
            Segment(at(side * 13, back - 3, 0.1 * height), hinge, 5.2 * size, 5 * size),
            Segment(hinge, at(0, back + canal + 2, -2), 4.8 * size, 4.4 * size),
            Segment(hinge, at(side * 36 * size, back + 13, 0.12 * height), 5.2 * size, 3.6 * size),
            Segment(at(side * 15, back + 10, 0.34 * height), at(side * 15, back + 12, -0.4 * height), 4.5 * size, 4.2 * size),
        ]
    return list(capsules(pieces))


def draw_ribs(patient: Patient) -> Iterator[Stroke]:
    """Ribs from the spine around the chest, the breastbone with its cartilages, the shoulder blades."""
    ribs, cartilage = [], []
    for number, z in enumerate(np.arange(-12.0, 186, 22)):
        for side in (1, -1):
            start = spine_at(patient, float(z))
            knots = [(*shifted(start, side * 24, -18, 2), 4.0)]
            last = 1.9 if number < 2 else 2.45
            knots += [_on_cage(side * angle, z - 34 * (angle / 2.4) ** 1.4) for angle in np.linspace(0.55, last, 9)]
            ribs += tube(knots, rounds=1)
            if number >= 4:
                cartilage += tube([knots[-1], (side * 50, 84, z - 38, 4.5), (side * 18, 90, max(z - 22, 62), 4)], rounds=1)
    sternum = ellipsoid((0, 90, 108), (17, 6, 62), (4, 0, 0))
    yield Stroke("cartilage", capsules(cartilage), (95.0,))
    yield Stroke("rib", capsules(ribs), (420.0,))
    yield Stroke("rib marrow", capsules(ribs, -2.6), (patient.marrow,))
    yield Stroke("bone", (sternum,), (360.0,))
    yield Stroke("marrow", (grown(sternum, -2),), (patient.marrow - 40,))
    for side in (1, -1):
        blade = ellipsoid((side * 92, -81, 140), (40, 4.5, 56), (4, 0, side * 34))
        yield Stroke("muscle", (grown(blade, 11),), (patient.muscle,), only=("fat", "muscle"))
        yield Stroke("bone", (blade,), (430.0,))


def _on_cage(angle: float, z: float) -> tuple[float, float, float, float]:
    """A knot on the rib cage, ``angle`` radians from the back, to the right where positive."""
    width, depth, middle = (float(np.interp(z, _OUTLINE[:, 0], _OUTLINE[:, i])) - 7 * (i < 3) for i in (1, 2, 3))
    return width * float(np.sin(angle)), middle - depth * float(np.cos(angle)), float(z), 4.6


def draw_pelvis(patient: Patient) -> Iterator[Stroke]:
    """Iliac wings with their muscles, sacrum, hip joints and thigh bones."""
    sacrum = ellipsoid((0, -66, -222), (44, 15, 44), (-18, 0, 0))
    yield from _bone(sacrum, patient, 2.5)
    for side in (1, -1):
        wing = ellipsoid((side * 94, -14, -212), (13, 62, 66), (-10, 0, side * 28))
        hollow = ellipsoid((side * 82, -6, -206), (13, 60, 62), (-10, 0, side * 28))
        yield Stroke("muscle", (grown(wing, 14),), (patient.muscle,))
        yield from _bone(without(wing, hollow, 3), patient, 2.2)
        shaft = tube(
            [(side * 88, 2, -258, 24), (side * 108, 0, -282, 15), (side * 100, 4, -330, 14), (side * 88, 6, -470, 14)], 1
        )
        yield Stroke("bone", capsules(shaft), (600.0,))
        yield Stroke("marrow", capsules(shaft, -4.5), (60.0,))
        socket = without(ellipsoid((side * 88, 2, -258), (33, 33, 33)), ellipsoid((side * 88, 2, -262), (26, 26, 26)))
        yield Stroke("bone", (socket,), (480.0,), only=("muscle", "fat"))


def _bone(solid: Solid, patient: Patient, cortex_mm: float) -> Iterator[Stroke]:
    yield Stroke("bone", (solid,), (480.0,))
    yield Stroke("marrow", (grown(solid, -cortex_mm),), (patient.marrow,))


def draw_head(rng: np.random.Generator, centre: Triple = (0, 4, 330)) -> Iterator[Stroke]:
    """Scalp, skull, face and brain, roughly; the neck comes with the torso."""
    x, y, z = centre
    scalp = union(ellipsoid(centre, (76, 94, 84)), ellipsoid((x, y + 42, z - 52), (52, 46, 52)), 30)
    skull = ellipsoid((x, y - 2, z + 4), (70, 87, 75))
    brain = bumpy(ellipsoid((x, y - 2, z + 6), (63, 80, 66)), rng, 1.0, 30)
    yield Stroke("skin", (scalp,), (20.0,))
    yield Stroke("bone", (skull,), (800.0,))
    yield Stroke("brain", (brain,), (36.0,))
    yield Stroke("white matter", (bumpy(grown(brain, -13), rng, 2.5, 24),), (30.0,))
    yield Stroke("air", (ellipsoid((x, y + 62, z - 48), (13, 26, 24)),), (-700.0,))
