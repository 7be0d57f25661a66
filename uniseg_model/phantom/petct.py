"""CT and PET from the thighs to the head: lesions take up sugar, and so do brain, heart, kidneys and bladder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from uniseg_model.phantom import frame, scanner
from uniseg_model.phantom.canvas import Grid, Stroke, draw_pose
from uniseg_model.phantom.scene import Scene
from uniseg_model.phantom.shapes import blob, shifted
from uniseg_model.phantom.trunk import draw_body

GRID = Grid((100, 100, 100), (8.0, 4.0, 4.0))
PARTS = {"tumour lesion": ("lesion",)}
_UPTAKE = {  # SUV; everything else takes up little
    "": 0.0, "table": 0.0, "air": 0.1, "fat": 0.25, "skin": 0.4, "muscle": 0.6, "lung": 0.4, "lung vessel": 1.2,
    "blood": 1.6, "heart": 5.0, "liver": 2.3, "hepatic vessel": 1.9, "spleen": 1.9, "stomach": 1.6, "kidney": 3.6,
    "urine": 16.0, "pancreas": 1.5, "colon": 1.8, "bowel": 1.7, "vertebrae": 1.5, "marrow": 1.2, "bone": 0.7,
    "brain": 9.5, "white matter": 4.0, "cord": 1.8,
}  # fmt: skip
_SITES = {  # place, reach to each side, HU
    "liver": ((74, -4, -2), (30, 34, 26), 55.0),
    "lung": ((78, -8, 100), (14, 34, 38), 35.0),
    "left lung": ((-78, -8, 100), (14, 34, 38), 35.0),
    "mediastinum": ((0, 2, 122), (16, 12, 24), 45.0),
    "neck": ((38, -8, 226), (6, 8, 12), 45.0),
    "left armpit": ((-112, 0, 172), (6, 12, 8), 45.0),
    "beside the aorta": ((-26, -2, -110), (8, 5, 26), 45.0),
    "spine": ((0, -46, -20), (8, 6, 90), 240.0),
    "hip": ((-100, -20, -210), (4, 24, 22), 240.0),
    "groin": ((80, 54, -264), (8, 8, 12), 45.0),
}


def draw_scene(rng: np.random.Generator) -> Scene:
    """A patient with three to seven lesions."""
    patient = frame.draw_patient(rng)
    body, _, _ = draw_body(rng, patient)
    uptake = {name: suv * float(rng.uniform(0.75, 1.3)) for name, suv in _UPTAKE.items()}
    seen = [replace(s, value=(s.value[0], uptake.get(s.name, 0.8))) for s in [*body, *frame.draw_head(rng)]]
    pose = draw_pose(rng, degrees=3, shift_mm=(8, 8, 6), scale=0.04)
    higher = replace(pose, shift=shifted(pose.shift, 0, 0, -20))  # the head is further from the origin than the thighs need be
    return Scene((*seen, *_draw_lesions(rng)), higher, (-1000.0, 0.0), PARTS, _develop)


def _draw_lesions(rng: np.random.Generator) -> Iterator[Stroke]:
    """Lesions at as many sites; the first is large enough for any grid that shows organs."""
    for number, site in enumerate(rng.choice(list(_SITES), int(rng.integers(3, 8)), replace=False).tolist()):
        place, reach, density = _SITES[site]
        centre = np.asarray(place, float) + rng.uniform(-1, 1, 3) * reach
        radius = float(rng.uniform(14, 20) if number == 0 else rng.uniform(8, 15))
        yield Stroke("lesion", (blob(rng, centre, radius),), (density, float(rng.uniform(5, 15))))


def _develop(values: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    return np.stack([scanner.ct(values[0], grid, rng), scanner.pet(values[1], grid, rng)])
