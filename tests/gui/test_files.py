"""Files to layers and layers to files: every order of axes, names and colours, DICOM, and the manifest behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("napari")

from dicom_series import write_series
from napari.layers import Labels, Layer
from npe2 import PluginManifest
from orientations import ORIENTATIONS, oriented_affine

from uniseg_app.napari_plugin import samples
from uniseg_app.napari_plugin.answers import named, structures_of
from uniseg_app.napari_plugin.layers import PLACED, look_at
from uniseg_app.napari_plugin.reader import get_reader, image_layers
from uniseg_app.napari_plugin.writer import write
from uniseg_model.errors import GeometryError, OutputError
from uniseg_model.tasks import Label, builtin_tasks
from uniseg_model.volume import Volume

LEGEND = {1: Label("liver", "#0072B2"), 2: Label("tumour", "#F0E442")}


def nifti(path: Path, code: str = "RAS", shape: tuple[int, ...] = (6, 5, 4)) -> Path:
    """A file with another whole number in every voxel."""
    affine = oriented_affine(code, (3.0, 2.0, 1.5))[:, [2, 1, 0, 3]]
    data = np.arange(1, np.prod(shape) + 1, dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def opened(path: Path) -> list[Layer]:
    reader = get_reader(str(path))
    assert reader is not None
    return [Layer.create(*data) for data in reader(str(path))]


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_labels_of_a_layer_lie_on_the_grid_of_its_file_whatever_its_orientation(code: str, tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii.gz", code)
    [image] = opened(path)
    values = np.asarray(image.data).astype(np.uint8)  # each voxel's own number, as labels
    write(str(tmp_path / "labels.nii.gz"), values, Labels(values, metadata=image.metadata).as_layer_data_tuple()[1])
    source, written = nib.load(path), nib.load(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(source.dataobj))
    np.testing.assert_array_equal(written.affine, source.affine)
    assert nib.aff2axcodes(written.affine) == tuple(code)


def test_channels_become_layers_and_a_long_series_stays_one(tmp_path: Path) -> None:
    two = opened(nifti(tmp_path / "two.nii.gz", shape=(6, 5, 4, 2)))
    assert [(layer.name, layer.visible) for layer in two] == [("two [1]", True), ("two [2]", False)]
    [film] = opened(nifti(tmp_path / "film.nii.gz", shape=(6, 5, 4, 7)))
    assert film.data.shape == (7, 4, 5, 6)
    assert film.axis_labels == ("channel", "z", "y", "x")


def test_labels_come_back_with_names_colours_and_place(tmp_path: Path) -> None:
    [image] = opened(nifti(tmp_path / "scan.nii.gz", "PSL"))
    values = np.zeros(image.data.shape, np.uint8)
    values[1, 2, 3], values[0, 0, 0] = 1, 2
    layer = Labels(values, metadata=image.metadata, scale=image.scale, translate=image.translate, **named(LEGEND))
    write(str(tmp_path / "labels.nii.gz"), layer.data, layer.as_layer_data_tuple()[1])
    [again] = opened(tmp_path / "labels.nii.gz")
    assert isinstance(again, Labels)
    np.testing.assert_array_equal(again.data, values)
    np.testing.assert_allclose(again.scale, image.scale)
    np.testing.assert_allclose(again.translate, image.translate)
    assert structures_of(again.features, again.colormap) == LEGEND


def test_an_empty_label_file_is_read_too(tmp_path: Path) -> None:
    [image] = opened(nifti(tmp_path / "scan.nii.gz"))
    empty = np.zeros(image.data.shape, np.uint8)
    write(str(tmp_path / "none.nii.gz"), empty, Labels(empty, metadata=image.metadata).as_layer_data_tuple()[1])
    [again] = opened(tmp_path / "none.nii.gz")
    assert isinstance(again, Labels)
    assert not again.data.any()


def test_labels_that_somebody_painted_anew_go_where_they_are_shown(tmp_path: Path) -> None:
    [image] = opened(nifti(tmp_path / "scan.nii.gz"))
    values = np.asarray(image.data).astype(np.uint8)
    layer = Labels(values, scale=image.scale, translate=image.translate)
    write(str(tmp_path / "mine.nii.gz"), layer.data, layer.as_layer_data_tuple()[1])
    source, written = nib.load(tmp_path / "scan.nii.gz"), nib.as_closest_canonical(nib.load(tmp_path / "mine.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(source.dataobj))
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-5)


def test_labels_without_a_place_are_refused(tmp_path: Path) -> None:
    layer = Labels(np.ones((3, 4, 5), int), name="mine")
    with pytest.raises(GeometryError, match=r"mine has 3 axes and a voxel size of \(.*\): its place in mm is unknown"):
        write(str(tmp_path / "mine.nii.gz"), layer.data, layer.as_layer_data_tuple()[1])
    assert not list(tmp_path.iterdir())


def test_a_dicom_seg_of_what_is_no_answer_on_a_series_is_refused(tmp_path: Path) -> None:
    layer = Labels(np.ones((3, 4, 5), int), scale=(2, 2, 2))
    with pytest.raises(OutputError, match="a DICOM-SEG is made of an answer to a task on a DICOM series"):
        write(str(tmp_path / "mine.dcm"), layer.data, layer.as_layer_data_tuple()[1])


def test_a_negative_label_is_refused(tmp_path: Path) -> None:
    layer = Labels(np.full((3, 4, 5), -2), scale=(2, 2, 2))
    with pytest.raises(OutputError, match="labels are whole numbers from 0, these go down to -2"):
        write(str(tmp_path / "mine.nii.gz"), layer.data, layer.as_layer_data_tuple()[1])


def test_a_ct_is_shown_in_soft_tissue_grey(ct: Volume) -> None:
    [(_, facts, _)] = image_layers(ct, "ct")
    assert facts["contrast_limits"] == (-160.0, 240.0)


@pytest.mark.parametrize("path", ["picture.png", "scan.nii.gz.txt"])
def test_other_files_are_left_to_others(path: str, tmp_path: Path) -> None:
    (tmp_path / path).write_bytes(b"x")
    assert get_reader(str(tmp_path / path)) is None
    assert get_reader(str(tmp_path)) is None


@pytest.mark.parametrize(("make", "task"), [(samples.trunk_ct, "liver"), (samples.prostate_mr, "prostate"),
                                            (samples.brain_mr, "brain"), (samples.pet_ct, "whole_body")])  # fmt: skip
def test_samples_have_the_channels_of_their_task(make: Callable[[], Any], task: str) -> None:
    layers = [Layer.create(*data) for data in make()]
    modalities = builtin_tasks()[task].modalities
    assert len(layers) == len(modalities)
    assert all("synthetic" in layer.name for layer in layers)
    assert look_at(layers[0]).placed is layers[-1].metadata[PLACED]
    if len(layers) > 1:
        assert all(modality in layer.name for modality, layer in zip(modalities, layers, strict=True))


def test_a_manifest_that_napari_takes() -> None:
    manifest = PluginManifest.from_distribution("uniseg-app")
    manifest.validate_imports()
    assert manifest.contributions is not None
    assert [widget.display_name for widget in manifest.contributions.widgets or ()][:1] == ["Segment"]
    assert "napari/layers/segment" in (manifest.contributions.menus or {})


def test_the_legend_beside_a_file_may_be_damaged(tmp_path: Path) -> None:
    path = nifti(tmp_path / "labels.nii.gz")
    for text in ("{", json.dumps([1]), json.dumps({"labels": {"1": {"name": "liver"}}})):
        (tmp_path / "labels.json").write_text(text)
        [layer] = opened(path)
        assert isinstance(layer, Labels)


def test_a_dicom_folder_is_a_layer_and_several_series_are_several(tmp_path: Path) -> None:
    write_series(tmp_path / "one")
    [layer] = opened(tmp_path / "one")
    assert layer.name == "one"
    assert layer.metadata[PLACED].volume.source.format == "dicom"


def test_of_several_series_each_volume_is_a_layer_and_a_localiser_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("uniseg_app.napari_plugin.reader.show_warning", told.append)
    folder = tmp_path / "study"
    for number, words in ((1, "arterial"), (2, "venous")):
        write_series(folder / words, SeriesInstanceUID=f"1.2.{number}", SeriesNumber=number, SeriesDescription=words)
    first = write_series(folder / "scout", SeriesInstanceUID="1.2.3", SeriesNumber=3, SeriesDescription="scout")
    for path in first[1:]:
        path.unlink()
    assert [layer.name for layer in opened(folder)] == ["arterial", "venous"]
    assert len(told) == 1
    assert told[0].startswith("Left out: ")
    assert "2 slices" in told[0] or "1 slice" in told[0]
