"""Corrected answers become cases that the training takes, and nothing about them is forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from packs_made import NEW, made_pack
from tiny import ct_volume, tiny_checkpoint

from uniseg_model.doctor.examine import examine
from uniseg_model.errors import FileFormatError, GeometryError, ModalityError, OptionError, OutputError
from uniseg_model.io import read_labels
from uniseg_model.predictor import Predictor
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import builtin_tasks, read_tasks
from uniseg_model.training.cases import find_cases, split_cases
from uniseg_model.training.corrected import add_case, read_provenance
from uniseg_model.volume import Volume


@pytest.fixture(scope="module")
def predicted() -> Segmentation:
    base = tiny_checkpoint()
    volume = ct_volume(np.random.default_rng(0))
    [answer] = Predictor(base.with_packs([made_pack(base)]), device="cpu").open(volume).segment(["gland"])
    return answer


def test_a_corrected_answer_is_a_case_with_its_provenance(predicted: Segmentation, tmp_path: Path) -> None:
    corrected = predicted.labels.copy()
    corrected[corrected == 2] = 0
    n_taken = int((predicted.labels == 2).sum())
    corrected[3, 3, 3:6] = 1
    n_given = int((predicted.labels[3, 3, 3:6] != 1).sum())
    n_taken -= int((predicted.labels[3, 3, 3:6] == 2).sum())
    name, found = add_case(tmp_path, predicted.volume, corrected, NEW, predicted)
    assert (name, dict(found.changed)) == ("gland_0000", {"background": n_taken, "gland": n_given, "duct": 0})
    assert found.n_changed == int((corrected != predicted.labels).sum())
    assert found.weights["packs"][0]["task"] == "gland"
    assert np.array_equal(read_labels(tmp_path / "labelsTr" / "gland_0000.nii.gz")[0], corrected)
    assert read_provenance(tmp_path) == {"gland_0000": found}
    assert read_tasks(tmp_path / "task.toml") == [NEW]
    [case] = find_cases(tmp_path, NEW)
    assert case.name == "gland_0000"
    other = Volume(predicted.volume.array + 1, predicted.volume.affine)
    assert add_case(tmp_path, other, corrected, NEW)[0] == "gland_0001"
    assert list(read_provenance(tmp_path)) == ["gland_0000", "gland_0001"]
    assert {f.rule for f in examine(tmp_path).findings if f.severity == "error"} <= {"not HU"}


def test_dice_of_the_prediction_with_its_correction(predicted: Segmentation, tmp_path: Path) -> None:
    same, nothing = predicted.labels, np.zeros_like(predicted.labels)
    _, found = add_case(tmp_path / "a", predicted.volume, same, NEW, predicted)
    assert (found.n_changed, set(found.dice.values()) <= {1.0, None}) == (0, True)
    _, found = add_case(tmp_path / "b", predicted.volume, nothing, NEW, predicted)
    assert set(found.dice.values()) <= {0.0, None}


def test_a_corrected_case_is_learned_from_although_a_split_is_stored(predicted: Segmentation, tmp_path: Path) -> None:
    """What validates stays as it is, so that Dice can be compared with that of before."""
    for shift in (1, 2):
        add_case(tmp_path, Volume(predicted.volume.array + shift, predicted.volume.affine), predicted.labels, NEW)
    before = split_cases(tmp_path, find_cases(tmp_path, NEW), most=20)
    name, _ = add_case(tmp_path, predicted.volume, predicted.labels, NEW, predicted)
    after = split_cases(tmp_path, find_cases(tmp_path, NEW), most=20)
    assert {case.name for case in after.train} == {case.name for case in before.train} | {name}
    assert (after.validation, after.unused) == (before.validation, ())
    add_case(tmp_path, predicted.volume, predicted.labels, NEW, predicted, case=name)  # the same once more
    assert split_cases(tmp_path, find_cases(tmp_path, NEW), most=20) == after
    (tmp_path / "splits_final.json").write_text("[")
    with pytest.raises(FileFormatError, match=r"splits_final\.json is not a split"):
        add_case(tmp_path, predicted.volume, predicted.labels, NEW, predicted)
    assert len(find_cases(tmp_path, NEW)) == 3  # nothing was added


def test_what_does_not_fit_is_refused(predicted: Segmentation, tmp_path: Path) -> None:
    volume, labels = predicted.volume, predicted.labels
    with pytest.raises(GeometryError, match=r"labels have \(20, 24, 27\) voxels"):
        add_case(tmp_path, volume, labels[..., 1:], NEW)
    with pytest.raises(OptionError, match=r"the value 9, 'Gland' has the values 0 to 2"):
        add_case(tmp_path, volume, labels * 0 + 9, NEW)
    with pytest.raises(ModalityError, match=r"needs 4 channels"):
        add_case(tmp_path, volume, labels, builtin_tasks()["brain"])
    with pytest.raises(OptionError, match=r"the prediction is of 'Gland', the labels are for 'Spleen'"):
        add_case(tmp_path, volume, labels * 0, builtin_tasks()["spleen"], predicted)
    assert list(tmp_path.iterdir()) == []
    add_case(tmp_path, volume, labels, NEW, case="mine")
    with pytest.raises(OutputError, match=r"exists and holds other labels"):
        add_case(tmp_path, volume, np.zeros_like(labels), NEW, case="mine")
    with pytest.raises(OutputError, match=r"describes 'Gland', not 'Spleen'"):
        add_case(tmp_path, volume, labels * 0, builtin_tasks()["spleen"])
    (tmp_path / "provenance.json").write_text("nonsense")
    with pytest.raises(FileFormatError, match=r"provenance.json is damaged"):
        read_provenance(tmp_path)
