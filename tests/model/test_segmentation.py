"""The answer: volumes, borders, confidence, merging and saving, with numbers one can count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uniseg_model.errors import GeometryError, OptionError, OutputError
from uniseg_model.files import write_json
from uniseg_model.io import read_labels
from uniseg_model.record import RunRecord
from uniseg_model.segmentation import Segmentation, is_unedited, merge, save_labels, sidecar
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Volume

TASKS = builtin_tasks()
RECORD = RunRecord({"name": "w"}, {}, (), {}, {}, {}, {})


def volume(shape: tuple[int, int, int] = (4, 5, 6)) -> Volume:
    return Volume(np.ones((1, *shape), np.float32), np.diag([1.0, 2.0, 5.0, 1.0])[:, [2, 1, 0, 3]])  # 10 mm3 a voxel


def segmentation(key: str, labels: np.ndarray, sure: tuple[np.ndarray, ...] = ()) -> Segmentation:
    return Segmentation(TASKS[key], labels.astype(np.uint8), volume(labels.shape), RECORD, *sure)  # type: ignore[arg-type]


def block(value: int, *sides: slice) -> np.ndarray:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[sides] = value
    return labels


def test_volumes_are_voxels_times_their_size() -> None:
    labels = block(1, slice(1, 3), slice(1, 3), slice(1, 3))
    labels[1, 1, 1] = 2
    assert segmentation("liver", labels).volumes_ml() == pytest.approx({"liver": 0.07, "liver tumour": 0.01})


def test_structure_not_found_has_no_volume() -> None:
    assert segmentation("liver", np.zeros((4, 5, 6))).volumes_ml() == {"liver": 0.0, "liver tumour": 0.0}


def test_volume_under_a_sheared_affine_is_its_determinant() -> None:
    affine = np.array([[0, 0.5, 1, 0], [0, 2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    sheared = Volume(np.ones((1, 4, 5, 6), np.float32), affine)
    assert sheared.voxel_ml == pytest.approx(0.01)


@pytest.mark.parametrize("face", [(0, 2, 2), (3, 2, 2), (2, 0, 2), (2, 4, 2), (2, 2, 0), (2, 2, 5)])
def test_structure_on_any_face_is_cut_by_the_field_of_view(face: tuple[int, int, int]) -> None:
    labels = block(1, slice(1, 3), slice(1, 3), slice(1, 3))
    assert segmentation("liver", labels).cut_by_field_of_view() == {"liver": False, "liver tumour": False}
    labels[face] = 2
    assert segmentation("liver", labels).cut_by_field_of_view() == {"liver": False, "liver tumour": True}


def test_confidence_is_the_mean_probability_of_each_structure_found() -> None:
    labels = block(1, slice(1, 2), slice(0, 1), slice(0, 2))
    probability, margin = np.full((2, 4, 5, 6), 255, np.uint8)
    probability[1, 0, 0], probability[1, 0, 1] = 153, 102  # 0.6 and 0.4
    margin[1, 0, 0], margin[1, 0, 1] = 51, 50  # leads of 0.2 and a little less
    found = segmentation("liver", labels, (probability, margin)).confidence()
    assert found == {"liver": {"mean_probability": pytest.approx(0.5), "uncertain_share": 0.5}}


def test_confidence_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(OptionError, match="has no confidence"):
        segmentation("spleen", np.zeros((4, 5, 6))).confidence()


def test_mask_of_one_structure() -> None:
    labels = block(2, slice(0, 1), slice(0, 1), slice(0, 3))
    assert segmentation("kidney", labels).mask("kidney tumour").sum() == 3
    with pytest.raises(OptionError, match="no structure 'tumour', only kidney, kidney tumour"):
        segmentation("kidney", labels).mask("tumour")


def test_merge_keeps_the_earlier_and_counts_overlaps() -> None:
    liver = segmentation("liver", block(1, slice(0, 2), slice(0, 1), slice(0, 1)))
    spleen = segmentation("spleen", block(1, slice(1, 3), slice(0, 1), slice(0, 1)))
    merged = merge([liver, spleen], TASKS.label_values)
    assert merged.labels[:, 0, 0].tolist() == [1, 1, 11, 0]
    assert merged.overlaps == ({"kept": "liver", "lost": "spleen", "voxels": 1, "ml": pytest.approx(0.01)},)
    assert list(merged.structures) == [1, 2, 11]


def test_merge_lets_the_later_win_only_when_told() -> None:
    liver = segmentation("liver", block(2, slice(0, 2), slice(0, 1), slice(0, 1)))
    spleen = segmentation("spleen", block(1, slice(1, 3), slice(0, 1), slice(0, 1)))
    merged = merge([liver, spleen], TASKS.label_values, later_wins=True)
    assert merged.labels[:, 0, 0].tolist() == [2, 11, 11, 0]
    assert merged.overlaps[0]["kept"] == "spleen"


def test_map_of_more_than_255_structures_is_uint16() -> None:
    liver = segmentation("liver", block(1, slice(0, 1), slice(0, 1), slice(0, 1)))
    merged = merge([liver], {("liver", "liver"): 300, ("liver", "liver tumour"): 301})
    assert merged.labels.dtype == np.uint16
    assert merged.labels[0, 0, 0] == 300


def test_merge_of_nothing_or_of_different_grids_is_refused() -> None:
    with pytest.raises(GeometryError, match="on one grid"):
        merge([], TASKS.label_values)
    with pytest.raises(GeometryError, match="on one grid"):
        merge([segmentation("liver", np.zeros((4, 5, 6))), segmentation("spleen", np.zeros((4, 5, 7)))], TASKS.label_values)


def test_legend_of_a_map_is_valid_json() -> None:
    merged = merge([segmentation("brain", block(3, slice(0, 1), slice(0, 1), slice(0, 2)))], TASKS.label_values)
    facts = json.loads(json.dumps(merged.to_dict()))
    assert facts["labels"]["16"] == {"name": "enhancing tumour", "color": TASKS["brain"].labels[2].color, "task": "brain"}
    assert facts["volumes_ml"]["enhancing tumour"] == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["liver.nii.gz", "liver.nii"])
def test_saved_labels_have_their_names_beside_them(tmp_path: Path, name: str) -> None:
    labels = block(2, slice(0, 1), slice(1, 3), slice(0, 3))
    segmentation("liver", labels).save(tmp_path / name)
    read, affine = read_labels(tmp_path / name)
    assert np.array_equal(read, labels)
    assert np.array_equal(affine, volume().affine)
    facts = json.loads((tmp_path / "liver.json").read_text())
    assert facts["labels"]["2"]["name"] == "liver tumour"
    assert facts["volumes_ml"]["liver tumour"] == pytest.approx(0.06)


def test_edited_labels_are_told_from_untouched_ones(tmp_path: Path) -> None:
    path = tmp_path / "liver.nii.gz"
    segmentation("liver", np.zeros((4, 5, 6))).save(path)
    assert is_unedited(path)
    path.write_bytes(path.read_bytes() + b"x")
    assert not is_unedited(path)
    sidecar(path).unlink()
    assert not is_unedited(path)


def test_labels_under_another_name_than_nifti_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"written as \.nii or \.nii\.gz, not as liver\.png"):
        save_labels(tmp_path / "liver.png", np.zeros((4, 5, 6), np.uint8), volume(), {})


def test_json_that_cannot_be_moved_into_place_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OutputError, match="No space left"):
        write_json(tmp_path / "run.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []
