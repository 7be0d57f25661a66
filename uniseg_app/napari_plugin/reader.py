"""NIfTI files and DICOM folders as layers, placed as :mod:`.world` says.

A file of up to four channels becomes as many layers, of which the first is shown; a longer series stays one layer with an axis of
its own. A folder of several DICOM series becomes a layer for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_warning

from uniseg_app.grey import grey_windows
from uniseg_app.napari_plugin.answers import named
from uniseg_app.napari_plugin.layers import CHANNEL, PLACED, name_of_file
from uniseg_app.napari_plugin.world import Placed, display_of
from uniseg_model.errors import UniSegError
from uniseg_model.io import NIFTI_SUFFIXES, is_marked_as_labels, read_labels, read_volume
from uniseg_model.segmentation import sidecar
from uniseg_model.tasks import Label
from uniseg_model.volume import Volume

LayerData = tuple[Any, dict[str, Any], str]
_MOST_CHANNELS = 4
_LOOKED_AT = 50  # files of a folder, until one of them is DICOM


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader, where it can read this; None otherwise."""
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return read if paths and all(map(_is_ours, paths)) else None


def read(path: str | list[str]) -> list[LayerData]:
    """The layers of files and folders.

    Raises:
        UniSegError: one cannot be read.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return [layer for one in paths for layer in _read(one)]


def image_layers(volume: Volume, name: str, channel_names: tuple[str, ...] = ()) -> list[LayerData]:
    """The layers of a volume, one a channel."""
    placed = Placed.of(volume)
    if volume.n_channels > _MOST_CHANNELS:
        return [_series(placed, name)]
    several = [f"{name} [{number}]" for number in range(1, volume.n_channels + 1)] if volume.n_channels > 1 else [name]
    return [_channel(placed, number, label) for number, label in enumerate(channel_names or several)]


def _is_ours(path: Path) -> bool:
    if path.is_dir():
        return any(map(_is_dicom, list(_files(path, _LOOKED_AT))))
    return path.name.lower().endswith((*NIFTI_SUFFIXES, ".dcm"))


def _files(folder: Path, most: int) -> Iterator[Path]:
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number >= most:
            return
        if path.is_file():
            yield path


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read(path: Path) -> list[LayerData]:
    if path.is_dir():
        return _read_series(path)
    if path.name.lower().endswith(NIFTI_SUFFIXES) and (sidecar(path).exists() or is_marked_as_labels(path)):
        return [_labels(path)]
    return image_layers(volume := read_volume(path), name_of_file(volume))


def _read_series(folder: Path) -> list[LayerData]:
    """All series of a folder that are volumes; what is none, such as a localiser, is told and left out."""
    from uniseg_model.io.dicom import list_series

    series = list_series(folder)
    if len(series) == 1:
        return image_layers(read_volume(folder), folder.name)
    layers: list[LayerData] = []
    for one in series:
        try:
            layers += image_layers(read_volume(folder, series=one.uid), one.description or f"{folder.name} {one.number}")
        except UniSegError as exc:
            show_warning(f"Left out: {exc}")
    return layers


def _channel(placed: Placed, number: int, name: str) -> LayerData:
    volume = placed.volume
    own = Volume(volume.array[number : number + 1], volume.affine, volume.source, volume.spacing_mm)
    window = next(iter(grey_windows(own).values()))
    facts = {**display_of(placed), "name": name, "contrast_limits": window, "visible": number == 0}
    return placed.to_layer(volume.array[number]), {**facts, "metadata": {PLACED: placed, CHANNEL: number}}, "image"


def _series(placed: Placed, name: str) -> LayerData:
    """More channels than any task takes: one layer with a slider for them."""
    facts = display_of(placed)
    facts["scale"], facts["translate"] = (1.0, *facts["scale"]), (0.0, *facts["translate"])
    facts["units"], facts["axis_labels"] = ("pixel", *facts["units"]), ("channel", *facts["axis_labels"])
    return placed.to_layer(placed.volume.array), {**facts, "name": name}, "image"


def _labels(path: Path) -> LayerData:
    values, affine = read_labels(path)
    nowhere = np.broadcast_to(np.float32(1), (1, *values.shape))  # the grid counts, not the values
    placed = Placed.of(replace(Volume(nowhere, affine)))
    array = placed.to_layer(values.astype(np.min_scalar_type(int(values.max()))) if values.min() >= 0 else values)
    structures = _legend(path)
    look = named(structures) if structures else {}
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return np.ascontiguousarray(array), {**display_of(placed), **look, "name": name, "metadata": {PLACED: placed}}, "labels"


def _legend(path: Path) -> dict[int, Label]:
    """Names and colours that stand beside a label file; none where there is no such list."""
    try:
        entries = json.loads(sidecar(path).read_text(encoding="utf-8"))["labels"]
        return {int(value): Label(entry["name"], entry["color"]) for value, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
