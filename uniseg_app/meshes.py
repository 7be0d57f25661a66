"""Surfaces of structures, for 3D programs and printers: in mm, RAS+."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg_model.errors import OptionError
from uniseg_model.files import whole_file
from uniseg_model.segmentation import Segmentation

if TYPE_CHECKING:
    import trimesh

FORMATS = ("glb", "stl")
_PULL, _PUSH, _PASSES = 0.5, 0.53, 15  # of Taubin's filter: towards the neighbours' mean, back again, and how often
_MOST_VOXELS = 256  # along each axis; beyond it one of two, three, ... voxels is taken


def surface(mask: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) in world mm and triangles (m, 3) of a mask (Z, Y, X); seen from outside they run anticlockwise.

    Closed where the mask touches the image's faces. A mask without voxels has none.
    """
    from skimage.measure import marching_cubes

    if not mask.any():
        return np.empty((0, 3)), np.empty((0, 3), int)
    skip = tuple(-(-side // _MOST_VOXELS) for side in mask.shape)
    first = tuple((step - 1) // 2 for step in skip)
    padded = np.pad(mask[tuple(map(slice, first, mask.shape, skip))], 1).astype(np.float32)
    vertices, triangles, *_ = marching_cubes(padded, 0.5)
    places = np.c_[(vertices - 1) * skip + first, np.ones(len(vertices))]
    looks_inwards = np.linalg.det(affine[:3, :3]) > 0
    return (places @ affine.T)[:, :3], triangles[:, ::-1] if looks_inwards else triangles


def smooth_surface(mask: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same without the steps of its voxels, for the eye: Taubin's filter, which hardly shrinks it. Not for measuring."""
    from trimesh import smoothing

    corner, box = _box(mask)
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*corner, 1.0])[:3]
    mesh = _mesh(*surface(box, moved), "#000000")
    if len(mesh.faces):
        smoothing.filter_taubin(mesh, lamb=_PULL, nu=_PUSH, iterations=_PASSES)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def save_meshes(segmentations: Sequence[Segmentation], *paths: Path) -> None:
    """All structures in each of the files: ``.glb`` with names and colours, ``.stl``, which knows neither.

    Raises:
        OptionError: another ending, or nothing was found. OutputError: it cannot be written.
    """
    for path in paths:
        if path.suffix.lstrip(".").lower() not in FORMATS:
            raise OptionError(f"surfaces are written as .{' or .'.join(FORMATS)}, not as {path.name}")
    scene = _scene(segmentations)
    if not scene.geometry:
        raise OptionError("there is no surface: no structure was found", hint="Segment another task or image.")
    for path in paths:
        content: bytes = scene.export(file_type=path.suffix.lstrip(".").lower())
        with whole_file(path) as temporary:
            temporary.write_bytes(content)


def _box(mask: np.ndarray) -> tuple[tuple[int, int, int], np.ndarray]:
    """The first voxel of the smallest box that holds a mask (Z, Y, X), and the mask in it."""
    sides = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    z, y, x = (slice(int(side[0]), int(side[-1]) + 1) if len(side) else slice(0, 0) for side in sides)
    return (z.start, y.start, x.start), mask[z, y, x]


def _scene(segmentations: Sequence[Segmentation]) -> trimesh.Scene:
    import trimesh

    scene = trimesh.Scene()
    for answer in segmentations:
        for label in answer.task.labels:
            if answer.mask(label.name).any():
                mesh = _mesh(*surface(answer.mask(label.name), answer.volume.affine), label.color)
                scene.add_geometry(mesh, geom_name=f"{answer.task.key}: {label.name}")
    return scene


def _mesh(vertices: np.ndarray, triangles: np.ndarray, color: str) -> trimesh.Trimesh:
    import trimesh

    rgba = np.array([*bytes.fromhex(color.removeprefix("#")), 255], np.uint8)
    return trimesh.Trimesh(vertices, triangles, face_colors=np.tile(rgba, (len(triangles), 1)), process=False)
