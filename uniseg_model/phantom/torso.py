"""A CT of the trunk for two tasks that no weights of this program were taught: the gall bladder and the ribs.

The body is the trunk's. The gall bladder is its own: any size a full or an empty one has, dark with bile or bright with
contrast agent, so that density alone does not tell it from vessels, cysts or bowel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uniseg_model.phantom import trunk
from uniseg_model.phantom.canvas import Stroke
from uniseg_model.phantom.scene import Scene
from uniseg_model.phantom.shapes import bumpy, ellipsoid, grown, shifted

GRID = trunk.GRID
GALL_BLADDER = "gall bladder"
_PLACE = (48.0, 46.0, -62.0)  # below the right lobe
_WALL_MM, _WALL_HU = 1.6, 60.0
PARTS = {**trunk.PARTS, "rib": ("rib", "rib marrow")}


def draw_scene(rng: np.random.Generator) -> Scene:
    """The patient whom the trunk has for the same seed, with another gall bladder."""
    scene = trunk.draw_scene(rng)
    strokes: list[Stroke] = []
    for stroke in scene.strokes:
        strokes += _draw_gall_bladder(rng) if stroke.name == GALL_BLADDER else [stroke]
    return Scene(tuple(strokes), scene.pose, scene.background, PARTS, scene.develop)


def _draw_gall_bladder(rng: np.random.Generator) -> Iterator[Stroke]:
    x, y, z = rng.uniform((11, 13, 20), (17, 20, 32)).tolist()
    lean = (float(rng.uniform(-35, -5)), float(rng.uniform(-15, 15)), float(rng.uniform(-20, 20)))
    sac = bumpy(ellipsoid(shifted(np.array(_PLACE), *rng.uniform(-6, 6, 3).tolist()), (x, y, z), lean), rng, 0.8, 25)
    bile = float(rng.uniform(220, 320) if rng.random() < 1 / 3 else rng.uniform(0, 20))
    yield Stroke(GALL_BLADDER, (sac,), (_WALL_HU,))
    yield Stroke(GALL_BLADDER, (grown(sac, -_WALL_MM),), (bile,))
