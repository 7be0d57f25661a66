"""The organs of chest and belly, each as the strokes that paint it, in the frame's places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uniseg_model.phantom.canvas import Stroke
from uniseg_model.phantom.frame import Patient, spine_at, torso
from uniseg_model.phantom.shapes import (
    Segment,
    Solid,
    bumpy,
    capsules,
    ellipsoid,
    grown,
    half_space,
    intersection,
    shifted,
    tree,
    tube,
    union,
    without,
)

Knots = list[tuple[float, float, float, float]]


def draw_lungs(rng: np.random.Generator) -> Iterator[Stroke]:
    """Both lungs with their vessels and airways; heart and diaphragm are painted over them."""
    level = float(rng.uniform(-875, -825))
    for side in (1, -1):
        lobe = ellipsoid((side * 68, -5, 70), (63, 88, 128), (0, side * 4, 0))
        lung = intersection(torso(-17), bumpy(lobe, rng, 1.5, 70), 10)
        back = intersection(grown(lung, -3), ellipsoid((side * 68, -110, 60), (90, 60, 120)), 20)
        yield Stroke("lung", (lung,), (level,))
        yield Stroke("lung", (back,), (level + 35,))
        hilum = np.array([side * 26.0, -12, 92])
        branches: list[Segment] = []
        for x, y, z in ((34, 10, 52), (48, 24, 18), (52, -24, 8), (44, 34, -16), (42, -34, -34), (20, -24, 46)):
            branches += tree(rng, Segment(hilum, shifted(hilum, side * x * 0.7, 0.7 * y, 0.7 * z), 5.5, 4.2), 4, 0.55)
        yield Stroke("lung vessel", capsules(branches), (45.0,), only=("lung",))
        bronchus = tube([(0, -20, 112, 8), (side * 22, -18, 96, 6.5), (side * 44, -18, 82, 4.5)])
        yield Stroke("lung vessel", capsules(bronchus, 2), (20.0,))
        yield Stroke("air", capsules(bronchus), (-980.0,))
    windpipe = tube([(0, -20, 112, 9), (0, -8, 150, 9), (0, 12, 205, 9), (0, 24, 262, 8)])
    yield Stroke("muscle", capsules(windpipe, 2), (40.0,))
    yield Stroke("air", capsules(windpipe), (-990.0,))


def draw_heart(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Heart with chambers, the great arteries and veins."""
    muscle = bumpy(ellipsoid((-24, 30, 60), (56, 46, 46), (20, 25, -30)), rng, 1.5, 60)
    blood = patient.blood
    yield Stroke("fat", (grown(muscle, 4),), (patient.fat,))
    yield Stroke("heart", (muscle,), (blood - 60,))
    for centre, radii in (
        ((-42, 36, 52), (30, 22, 22)),
        ((-4, 46, 58), (28, 20, 26)),
        ((-18, 6, 78), (30, 16, 20)),
        ((20, 22, 66), (17, 20, 25)),
    ):
        yield Stroke("blood", (ellipsoid(centre, radii, (20, 25, -30)),), (blood - 5,), only=("heart",))
    artery = tube([(-14, 30, 84, 13), (-30, 12, 104, 12), (-44, -6, 108, 9)])
    upper = tube([(24, 14, 84, 9), (26, 10, 130, 9), (30, 4, 190, 7)])
    yield Stroke("blood", (*capsules(artery), *capsules(upper)), (blood - 15,))
    for side in (1, -1):
        neck = tube([(side * 22, -8, 170, 4.5), (side * 28, 6, 220, 4.5), (side * 34, 6, 270, 4)])
        yield Stroke("blood", capsules(neck), (blood,))


def draw_great_vessels(patient: Patient) -> Iterator[Stroke]:
    """Aorta from its root over the arch to its fork, the lower hollow vein, the gullet."""
    front = {z: spine_at(patient, z) for z in (90, 40, -10, -60, -110, -132)}
    aorta: Knots = [(-8, 28, 76, 14), (8, 34, 112, 14), (0, 18, 138, 13), (-18, -16, 140, 12.5)]
    aorta += [(*shifted(place, -16 - 0.06 * z, 27 + 0.02 * (90 - z), 0), 11.5 - 0.01 * (90 - z)) for z, place in front.items()]
    fork = shifted(front[-132], -8, 31, 0)
    legs = []
    for side in (1, -1):
        legs += tube([(*fork, 8), (side * 32, 2, -172, 6.5), (side * 62, 34, -235, 6), (side * 74, 48, -300, 5.5)])
    upper = [(24, 18, 62, 12), (23, -8, 26, 12), (21, -10, -30, 11), (19, -6, -90, 10.5)]
    vein = tube([*upper, (14, -6, -132, 10.5), (40, -8, -175, 8), (66, 26, -235, 8)])
    yield Stroke("muscle", capsules(tube([(-6, -22, 190, 6), (-4, -26, 100, 7), (-14, -16, 34, 7), (-34, 0, 8, 8)])), (42.0,))
    yield Stroke("blood", capsules(vein), (patient.blood - 45,))
    yield Stroke("blood", (*capsules(tube(aorta)), *capsules(legs)), (patient.blood + 8,))


def draw_liver(rng: np.random.Generator, patient: Patient) -> tuple[list[Stroke], list[Segment]]:
    """Diaphragm, liver, gall bladder and vessels; also the portal branches, so that a tumour can be put beside one."""
    right = ellipsoid((66, 0, -16), (71, 78, 68), (0, 8, 0))
    left = ellipsoid((-2, 42, -12), (64 * rng.uniform(0.85, 1.1), 30, 34 * rng.uniform(0.85, 1.1)), (0, -10, 0))
    both = without(union(right, left, 30), ellipsoid((0, -14, -98), (74, 66, 64)), 22)
    liver = intersection(torso(-16), bumpy(both, rng, 2.2, 75), 12)
    strokes = list(_diaphragm(patient, liver))
    strokes.append(Stroke("liver", (liver,), (patient.liver,)))
    portal = _portal_tree(rng)
    outlets: list[Knots] = [
        [(24, -12, 40, 7), (70, -2, 30, 6), (108, -6, 0, 4)],
        [(24, -10, 42, 7), (50, 24, 28, 5.5), (70, 52, 2, 4)],
        [(22, -8, 38, 6.5), (4, 26, 10, 5), (-22, 46, -6, 4)],
    ]
    twigs = tree(rng, Segment(np.array([100.0, -4, 10]), np.array([112.0, -20, -22]), 5, 4), 2)
    veins = [*(s for knots in outlets for s in tube(knots)), *twigs]
    strokes.append(Stroke("hepatic vessel", (*capsules(portal), *capsules(veins)), (patient.vessel,), only=("liver",)))
    gall = tube([(40, 30, -38, 5), (44, 42, -50, 11), (50, 52, -68, 14), (50, 54, -74, 11)])
    return [*strokes, Stroke("gall bladder", capsules(gall), (12.0,))], portal


def _diaphragm(patient: Patient, liver: Solid) -> Iterator[Stroke]:
    """The two domes that lift the belly's fat into the lungs, with their thin muscle."""
    hidden = ("lung", "lung vessel", "air")
    for side, height in ((1, 92), (-1, 94)):
        dome = intersection(torso(-13), ellipsoid((side * 62, -2, -62), (74, 86, height)))
        rim = (grown(dome, 3), grown(liver, 4)) if side > 0 else (grown(dome, 3),)
        yield Stroke("muscle", rim, (patient.muscle,), only=hidden)
        yield Stroke("fat", (dome,), (patient.fat + 6,), only=(*hidden, "muscle", "heart", "blood"))


def _portal_tree(rng: np.random.Generator) -> list[Segment]:
    hilum = np.array([36.0, 8, -26])
    fork = hilum + rng.uniform(-3, 3, 3)
    trunk = Segment(np.array([14.0, 8, -44]), fork, 7.5, 7)
    right = Segment(fork, shifted(fork, 26, -4, 12), 6.8, 6.0)
    left = Segment(fork, np.array([6.0, 34, -8]), 6.2, 5.2)
    return [trunk, *tree(rng, right, 4, 0.75), *tree(rng, left, 3, 0.8)]


def draw_spleen(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Spleen, hollow towards stomach and kidney."""
    size = rng.uniform(0.88, 1.12)
    whole = ellipsoid((-88, -36, -14), (32 * size, 49 * size, 49 * size), (12, 12, -24))
    hollow = without(whole, ellipsoid((-48, -12, -18), (33, 34, 60)), 10)
    yield Stroke("spleen", (intersection(torso(-16), bumpy(hollow, rng, 1.5, 50), 8),), (patient.spleen,))


def draw_stomach(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Stomach with a level of gas over fluid, as in a patient who lies on the back."""
    full = rng.uniform(0.8, 1.05)
    knots = [(-50, 2, 2, 28 * full), (-58, 24, -26, 29 * full), (-40, 48, -56, 22 * full), (-2, 54, -68, 16), (30, 42, -62, 11)]
    bag = tube(knots)
    level = half_space((0, float(rng.uniform(28, 44)), 0), (0, -1, 0))
    gas = tuple(intersection(part, level) for part in capsules(bag, -4))
    yield Stroke("fat", capsules(bag, 3), (patient.fat,), only=("liver", "hepatic vessel", "spleen"))
    yield Stroke("stomach", capsules(bag), (75.0,))
    yield Stroke("stomach", capsules(bag, -4), (float(rng.uniform(8, 30)),))
    yield Stroke("air", gas, (-960.0,))


def kidney(side: int) -> Solid:
    """The right (1) or left (-1) kidney without its hilum cut out; the right one lies lower, below the liver."""
    return ellipsoid((side * 63, -45, -66 if side > 0 else -52), (27, 25, 52), (-8, -side * 12, -side * 30))


def draw_kidneys(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Kidneys in their beds of fat: bright cortex, darker pyramids, fat and pelvis in the hilum."""
    for side in (1, -1):
        whole = bumpy(kidney(side), rng, 1.2, 35)
        middle = (whole.low + whole.high) / 2
        hilum = ellipsoid(shifted(middle, -side * 24, 12, 0), (22, 14, 19))
        bed = grown(whole, float(rng.uniform(6, 12)))
        yield Stroke("fat", (bed,), (patient.fat,), only=("fat", "liver", "hepatic vessel", "spleen", "muscle"))
        yield Stroke("kidney", (without(whole, hilum, 6),), (patient.kidney,))
        arc = [(9 - abs(z) / 8, z) for z in (-34, -17, 0, 17, 34)]
        pyramids = [ellipsoid(shifted(middle, side * x, -0.3 * x, z), (8, 7, 8)) for x, z in arc]
        yield Stroke("kidney", tuple(pyramids), (patient.kidney - 35,), only=("kidney",))
        pelvis = tube([
            (*shifted(middle, -side * 2, 4, 0), 5),
            (*shifted(middle, -side * 24, 12, -10), 6),
            (side * 34, -14, -120, 3.5),
        ])
        yield Stroke("fat", (ellipsoid(shifted(middle, -side * 10, 4, 0), (10, 8, 22)),), (patient.fat + 15,))
        yield Stroke("urine", capsules(pelvis), (25.0,))
        stalk = shifted(middle, -side * 18, 10, 8)
        yield Stroke("blood", capsules([Segment(stalk, np.array([side * 10.0, -2, stalk[2]]), 4, 5)]), (patient.blood - 10,))


PANCREAS: Knots = [
    (28, 16, -82, 12),
    (22, 24, -64, 14),
    (4, 30, -56, 10),
    (-22, 14, -48, 9.5),
    (-46, -4, -38, 9),
    (-64, -14, -30, 7.5),
]


def draw_pancreas(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """The duodenum's bend, the vein behind the pancreas, and the pancreas with its lobules."""
    bend = tube([(30, 42, -62, 11), (50, 26, -66, 12), (50, 10, -92, 12), (24, 6, -106, 11), (-18, 8, -102, 10)])
    gland = tube(PANCREAS)
    vein = tube([(8, 14, -120, 6), (10, 14, -66, 6.5), (16, 10, -46, 7.5)])
    splenic = tube([(10, 12, -58, 5), (-24, 2, -44, 5), (-64, -24, -26, 4.5)])
    yield Stroke("fat", (*capsules(gland, 4), *capsules(bend, 2)), (patient.fat,))
    yield Stroke("bowel", capsules(bend), (70.0,))
    yield Stroke("bowel", capsules(bend, -3.5), (25.0,))
    yield Stroke("blood", (*capsules(vein), *capsules(splenic)), (patient.blood - 20,))
    lobules = tuple(bumpy(part, rng, 0.9, 11) for part in capsules(gland))
    yield Stroke("pancreas", lobules, (patient.pancreas,))


COLON: Knots = [
    (74, 14, -178, 24), (84, 6, -140, 23), (88, -10, -112, 21), (80, 22, -94, 20), (48, 56, -106, 19), (6, 62, -112, 18),
    (-40, 60, -104, 18), (-78, 24, -76, 18), (-88, -8, -64, 18), (-92, -22, -104, 17), (-88, -14, -150, 16),
    (-66, 14, -180, 16), (-28, 32, -196, 16), (4, -4, -206, 17), (0, -34, -236, 18), (0, -40, -262, 15),
]  # fmt: skip


def draw_colon(rng: np.random.Generator, patient: Patient) -> tuple[list[Stroke], list[Segment]]:
    """The colon with its pouches, here full of gas, there of stool; also its pieces, so that a tumour can be put on one."""
    moved = [(*shifted((x, y, z), *rng.uniform(-4, 4, 3).tolist()), radius) for x, y, z, radius in COLON]
    pouches = [_narrowed(s, end=i % 2 == 1) for i, s in enumerate(tube(moved, rounds=3))]
    runs = rng.random(len(pouches) // 8 + 1) < 0.5  # of eight pieces with the same filling
    gas = [s for i, s in enumerate(pouches) if runs[i // 8]]
    stool = [s for i, s in enumerate(pouches) if not runs[i // 8]]
    strokes = [
        Stroke("fat", capsules(pouches, 3), (patient.fat,)),
        Stroke("colon", capsules(pouches), (70.0,)),
        Stroke("colon", tuple(bumpy(c, rng, 1, 12) for c in capsules(stool, -4)), (float(rng.uniform(15, 45)),)),
        Stroke("air", capsules(gas, -3.5), (-950.0,)),
    ]
    return strokes, pouches


def _narrowed(piece: Segment, *, end: bool) -> Segment:
    """Half a pouch of the colon: narrow at its end or at its start, wide at the other."""
    start_share, end_share = (1.06, 0.86) if end else (0.86, 1.06)
    return piece._replace(radius=piece.radius * start_share, end_radius=piece.end_radius * end_share)


def draw_small_bowel(rng: np.random.Generator, patient: Patient) -> Iterator[Stroke]:
    """Loops in the middle of the lower belly, some with a little gas."""
    loops = []
    for row, z in enumerate(np.arange(-126, -196, -21)):
        for layer, y in enumerate((12, 40)):
            sign = 1 if (row + layer) % 2 else -1
            knots = [
                (sign * x + rng.uniform(-6, 6), y + rng.uniform(-9, 9), z + 9 * (-1) ** i, rng.uniform(10.5, 13))
                for i, x in enumerate(range(-52, 53, 21))
            ]
            loops.append(tube(knots))
    for loop in loops:
        yield Stroke("bowel", capsules(loop), (float(rng.uniform(75, 105)),), only=("fat", "bowel"))
        yield Stroke("bowel", capsules(loop, -3), (float(rng.uniform(20, 45)),), only=("bowel",))
        if rng.random() < 0.4:
            piece = loop[int(rng.integers(2, len(loop) - 4)) :][:2]
            yield Stroke("air", capsules(piece, -5), (-850.0,), only=("bowel",))
    yield Stroke("urine", (ellipsoid((0, 26, -244), (44, 34, 30)),), (8.0,))
