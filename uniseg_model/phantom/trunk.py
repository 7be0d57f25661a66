"""A CT of the trunk: one image that holds the answers to all CT tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from uniseg_model.phantom import frame, organs, scanner
from uniseg_model.phantom.canvas import Grid, Stroke, draw_pose
from uniseg_model.phantom.scene import Scene
from uniseg_model.phantom.shapes import Segment, blob, bumpy, capsules, ellipsoid, grown

GRID = Grid((80, 144, 176), (5.0, 2.5, 2.5))
PARTS = {  # of labels that are more than the strokes of their own name
    "liver": ("liver", "hepatic vessel"),
    "hepatic vessel tumour": ("liver tumour",),  # beside a vessel by construction
}


def draw_scene(rng: np.random.Generator) -> Scene:
    """A patient with tumours in liver, kidney, pancreas, colon and lung."""
    patient = frame.draw_patient(rng)
    body, portal, colon = draw_body(rng, patient)
    tumours = draw_tumours(rng, patient, portal, colon)
    pose = draw_pose(rng, degrees=4, shift_mm=(8, 8, 8), scale=0.05)
    return Scene((*body, *tumours), pose, (-1000.0,), PARTS, _develop)


def draw_body(rng: np.random.Generator, patient: frame.Patient) -> tuple[list[Stroke], list[Segment], list[Segment]]:
    """Everything healthy from thighs to head, in the order of painting; the portal branches; the colon's pieces."""
    liver, portal = organs.draw_liver(rng, patient)
    colon, pieces = organs.draw_colon(rng, patient)
    strokes = [
        *frame.draw_wall(patient), *organs.draw_lungs(rng), *organs.draw_heart(rng, patient), *liver,
        *frame.draw_muscles(patient), *organs.draw_spleen(rng, patient), *organs.draw_stomach(rng, patient),
        *organs.draw_kidneys(rng, patient), *frame.draw_pelvis(patient), *organs.draw_small_bowel(rng, patient),
        *colon, *organs.draw_pancreas(rng, patient), *organs.draw_great_vessels(patient),
        *frame.draw_ribs(patient), *frame.draw_spine(rng, patient),
    ]  # fmt: skip
    return strokes, portal, pieces


def draw_tumours(
    rng: np.random.Generator, patient: frame.Patient, portal: Sequence[Segment], colon: Sequence[Segment]
) -> Iterator[Stroke]:
    """One tumour or more for each organ that has a task for it, painted last, so that nothing hides it."""
    yield from _liver_tumours(rng, patient, portal)
    yield from _kidney_tumour(rng, patient)
    yield from _pancreas_tumour(rng, patient)
    yield from _colon_tumour(rng, colon)
    yield from _lung_tumours(rng)


def _liver_tumours(rng: np.random.Generator, patient: frame.Patient, portal: Sequence[Segment]) -> Iterator[Stroke]:
    level = patient.liver - float(rng.uniform(30, 50))
    vessel = portal[int(rng.integers(1, 4))]  # a thick branch well inside the right lobe
    radius = float(rng.uniform(11, 19))
    beside = vessel.end + np.array([0.9, *rng.uniform(-0.35, 0.35, 2)]) * (radius + vessel.end_radius)
    lumps = [(beside, radius)]
    for _ in range(int(rng.integers(0, 3))):
        away = rng.normal(size=3)
        lumps.append((np.array([72.0, -4, -2]) + away / np.linalg.norm(away) * (34, 38, 26), float(rng.uniform(9, 14))))
    for centre, size in lumps:
        lump = blob(rng, centre, size)
        yield Stroke("liver tumour", (lump,), (level + 12,), only=("liver", "hepatic vessel"))
        yield Stroke("liver tumour", (grown(lump, -0.35 * size),), (level - 8,), only=("liver tumour",))


def _kidney_tumour(rng: np.random.Generator, patient: frame.Patient) -> Iterator[Stroke]:
    side, radius = int(rng.choice([1, -1])), float(rng.uniform(11, 20))
    home = organs.kidney(side)
    outward = np.array([side * rng.uniform(0.7, 1), -rng.uniform(0.0, 0.6), rng.uniform(-0.7, 0.7)])
    centre = (home.low + home.high) / 2 + outward * np.array([24, 20, 38])
    lump = blob(rng, centre, radius, 0.06)
    level = patient.kidney - float(rng.uniform(50, 80))
    yield Stroke("kidney tumour", (lump,), (level + 10,), only=("kidney", "fat", "urine"))
    yield Stroke("kidney tumour", (grown(lump, -0.4 * radius),), (level - 10,), only=("kidney tumour",))


def _pancreas_tumour(rng: np.random.Generator, patient: frame.Patient) -> Iterator[Stroke]:
    x, y, z, thickness = organs.PANCREAS[int(rng.integers(1, 5))]
    radius = thickness * float(rng.uniform(0.9, 1.15))
    yield Stroke("pancreas tumour", (blob(rng, (x, y + 2, z), radius),), (patient.pancreas - float(rng.uniform(30, 45)),))


def _colon_tumour(rng: np.random.Generator, colon: Sequence[Segment]) -> Iterator[Stroke]:
    piece = colon[int(rng.integers(len(colon) // 8, len(colon) * 3 // 4))]  # in the field of view of the trunk
    outward = np.cross(piece.end - piece.start, rng.normal(size=3))
    centre = piece.start + outward / np.linalg.norm(outward) * 0.7 * piece.radius
    lump = bumpy(blob(rng, centre, float(rng.uniform(11, 16))), rng, 1.0, 9)
    yield Stroke("colon tumour", (lump,), (float(rng.uniform(80, 110)),), only=("colon", "air", "fat"))


def _lung_tumours(rng: np.random.Generator) -> Iterator[Stroke]:
    for radius in [float(rng.uniform(9, 17)), *rng.uniform(7, 9, int(rng.integers(0, 2))).tolist()]:
        side = int(rng.choice([1, -1]))
        centre = np.array([side * 78.0, -8, 100]) + rng.uniform(-1, 1, 3) * (14, 34, 38)
        spikes = [Segment(centre, centre + radius * 1.5 * _unit(rng), 2.2, 0.8) for _ in range(9)]
        parts = (bumpy(ellipsoid(centre, (radius, radius, radius)), rng, 0.1 * radius, 1.2 * radius), *capsules(spikes))
        yield Stroke("lung tumour", parts, (float(rng.uniform(25, 50)),), only=("lung", "lung vessel", "air"))


def _unit(rng: np.random.Generator) -> np.ndarray:
    way = rng.normal(size=3)
    return np.asarray(way / np.linalg.norm(way))


def _develop(values: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    return scanner.ct(values[0], grid, rng)[None]
