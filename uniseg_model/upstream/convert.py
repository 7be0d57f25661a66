"""One case of a download into our layout: images as they are, labels with our values as uint8 on the image's grid."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np

from uniseg_model.axes import axes_for
from uniseg_model.errors import FileFormatError, ModalityError
from uniseg_model.files import whole_file
from uniseg_model.grids import Grid, check_same_grid
from uniseg_model.io import read_labels, read_volume, write_image, write_labels
from uniseg_model.upstream.find import Case
from uniseg_model.upstream.layouts import DataSet
from uniseg_model.volume import Volume

_SAME_PLACE = 0.5  # of the smallest voxel edge: how far labels may lie from their image


def import_case(case: Case, data_set: DataSet, n_channels: int, folder: Path) -> bool:
    """Write one case below ``folder``; False, and nothing written, if it has no label and the set leaves such cases out.

    Image files are copied byte for byte (``.nii`` is packed), unless the set turns them to other axes. Every voxel is
    read before, so that a damaged download is noticed here. Labels are written last: where they are, the case is whole.

    Raises:
        ImageError: a file is missing or damaged, label values are unknown, or labels and image do not fit.
        OutputError: a file cannot be written.
    """
    if not case.label.is_file():
        raise FileFormatError(f"{case.images[0].name} has no labels: there is no file {case.label}")
    labels, affine = read_labels(case.label)
    labels = mapped(labels, data_set, case.label.name)
    if data_set.lesions_only and not labels.any():
        return False
    volume = read_volume(case.images)
    if volume.n_channels != n_channels:
        raise ModalityError(f"{case.name} has {volume.n_channels} channels, {data_set.key} has {n_channels}")
    turned = volume
    if data_set.axes:
        turned = turn_volume(volume, data_set.axes)
        labels, affine = turn(labels, affine, data_set.axes)
    own = turned.affine if data_set.labels_on_image else affine
    check_same_grid(case.label.name, Grid(labels.shape, own), "its image", Grid(turned.shape, turned.affine), share=_SAME_PLACE)
    for number, image in enumerate(case.images):
        path = folder / "imagesTr" / f"{case.name}_{number:04d}.nii.gz"
        if turned is volume:
            copy_packed(image, path)
        else:
            write_image(path, turned.array[number], turned)
    write_labels(folder / "labelsTr" / f"{case.name}.nii.gz", labels, turned)
    return True


def mapped(labels: np.ndarray, data_set: DataSet, name: str) -> np.ndarray:
    """Our values, uint8, of stored label values.

    Raises:
        FileFormatError: a value has no meaning in the set.
    """
    stored, places = np.unique(labels, return_inverse=True)
    if unknown := [int(value) for value in stored if int(value) not in data_set.values]:
        known = sorted(data_set.values)
        span = ", ".join(map(str, known)) if len(known) < 8 else f"{known[0]} to {known[-1]}"
        raise FileFormatError(f"{name} holds the label {unknown[0]}, {data_set.key} knows {span}")
    return np.array([data_set.values[int(value)] for value in stored], np.uint8)[places].reshape(labels.shape)


def turn(array: np.ndarray, affine: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """An array (..., Z, Y, X) and its affine with permuted and flipped axes: each value stays where it is in the patient."""
    axes = axes_for(affine, rule)
    back = np.zeros((4, 4))  # from new indices to old ones
    back[3, 3] = 1
    for new, old in enumerate(axes.order):
        flipped = new in axes.flips
        back[old, new] = -1 if flipped else 1
        back[old, 3] = array.shape[array.ndim - 3 + old] - 1 if flipped else 0
    return np.ascontiguousarray(axes.apply(array)), affine @ back


def turn_volume(volume: Volume, rule: str) -> Volume:
    """The volume on turned axes; the very same one if its axes are so already."""
    array, affine = turn(volume.array, volume.affine, rule)
    return volume if np.array_equal(affine, volume.affine) else Volume(array, affine)


def copy_packed(image: Path, path: Path) -> None:
    """Copy a ``.nii.gz`` file as it is, a ``.nii`` file packed.

    Raises:
        FileFormatError: the image cannot be read. OutputError: the copy cannot be written.
    """
    try:
        image.open("rb").close()
    except OSError as exc:
        raise FileFormatError(f"{image} cannot be read: {exc}") from exc
    with whole_file(path) as temporary:
        if image.name.endswith(".gz"):
            shutil.copyfile(image, temporary)
        else:
            with image.open("rb") as plain, gzip.open(temporary, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
