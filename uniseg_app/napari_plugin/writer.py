"""Labels layers as files on their image's own grid: NIfTI with names beside it, or DICOM-SEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from uniseg_app.napari_plugin.answers import ANSWER, structures_of
from uniseg_app.napari_plugin.layers import PLACED
from uniseg_app.napari_plugin.world import Placed, affine_of
from uniseg_model import DISCLAIMER
from uniseg_model.axes import Axes
from uniseg_model.errors import GeometryError, OutputError
from uniseg_model.io.dicom_seg import DICOM_SUFFIX
from uniseg_model.segmentation import save_labels
from uniseg_model.volume import Volume


def write(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Labels layer; what napari shows of it (``meta``) says where it belongs.

    Raises:
        OutputError: it cannot be written so. GeometryError: nobody knows how large its voxels are.
    """
    answer = meta["metadata"].get(ANSWER)
    if answer is not None:
        answer.segmentation(np.asarray(data)).save(path)
        return [path]
    if path.endswith(DICOM_SUFFIX):
        raise OutputError("a DICOM-SEG is made of an answer to a task on a DICOM series, these labels are none",
                          hint="Save them as .nii.gz.")  # fmt: skip
    placed = meta["metadata"].get(PLACED) or _placed(data, meta)
    structures = structures_of(meta.get("features", ()), meta.get("colormap"))
    legend = {str(value): {"name": label.name, "color": label.color} for value, label in structures.items()}
    save_labels(
        Path(path), placed.to_volume(_unsigned(np.asarray(data))), placed.volume, {"labels": legend, "note": DISCLAIMER}
    )
    return [path]


def _placed(data: Any, meta: dict[str, Any]) -> Placed:
    """Labels that somebody painted anew: as they are shown, if the voxel size is known."""
    if np.ndim(data) != 3 or np.allclose(meta["scale"], 1.0):
        raise GeometryError(f"{meta['name']} has {np.ndim(data)} axes and a voxel size of {tuple(meta['scale'])}: its place in mm is unknown",
                            hint="Paint in a Labels layer of an image that was opened with its voxel size.")  # fmt: skip
    world = np.diag([*meta["scale"], 1.0])
    world[:3, 3] = meta["translate"]
    nowhere = np.broadcast_to(np.float32(1), (1, *np.shape(data)))
    return Placed(Volume(nowhere, affine_of(world)), Axes((0, 1, 2)))


def _unsigned(labels: np.ndarray) -> np.ndarray:
    if labels.min() < 0:
        raise OutputError(f"labels are whole numbers from 0, these go down to {labels.min()}")
    return labels.astype(np.min_scalar_type(int(labels.max())))
