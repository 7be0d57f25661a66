"""Phantoms: the same seed the same patient, everything labelled, and organs where a reader of images expects them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from uniseg_model.errors import GeometryError, OptionError, TaskError
from uniseg_model.phantom import FAMILIES, Phantom, held_out_tasks, make_phantom
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Triple

TASKS = builtin_tasks()
CT_TASKS = [key for key, task in TASKS.items() if task.modalities == ("CT",)]
COARSE_MM = {"trunk": (8.0, 4.0, 4.0), "brain": (3.0, 3.0, 3.0), "prostate": (3.0, 2.5, 2.5), "petct": (10.0, 6.0, 6.0)}
ONE_TASK_EACH = {name: key for key, name in FAMILIES.items()}  # by family


@cache
def made(family: str, seed: int, spacing_mm: Triple) -> Phantom:
    return make_phantom(ONE_TASK_EACH[family], seed, spacing_mm=spacing_mm)


def coarse(key: str, seed: int = 0) -> Phantom:
    return made(FAMILIES[key], seed, COARSE_MM[FAMILIES[key]])


def centre_mm(phantom: Phantom, key: str, value: int = 1) -> np.ndarray:
    """(right, anterior, superior) of a label's middle."""
    z, y, x = np.argwhere(phantom.labels[key] == value).mean(axis=0)
    return np.asarray(phantom.volume.affine @ (z, y, x, 1.0))[:3]


def typical_hu(phantom: Phantom, key: str, value: int = 1) -> float:
    """The median, which partial volume at the edges of a coarse grid does not move much."""
    return float(np.median(phantom.volume.array[0][phantom.labels[key] == value]))


def volume_ml(phantom: Phantom, key: str) -> float:
    return float((phantom.labels[key] > 0).sum() * phantom.volume.voxel_ml)


def test_every_task_has_a_family() -> None:
    assert list(FAMILIES) == list(TASKS)
    assert sorted(set(FAMILIES.values())) == ["brain", "petct", "prostate", "trunk"]


@pytest.mark.parametrize("key", TASKS)
def test_the_volume_suits_the_task(key: str) -> None:
    phantom = coarse(key)
    volume, labels = phantom.volume, phantom.labels[key]
    assert volume.n_channels == len(TASKS[key].modalities)
    assert volume.array.dtype == np.float32
    assert np.isfinite(volume.array).all()
    assert labels.dtype == np.uint8
    assert labels.shape == volume.shape
    assert volume.source.format == "phantom"
    assert volume.orientation == "RAS"
    middle = volume.affine @ (*((np.array(volume.shape) - 1) / 2), 1.0)
    np.testing.assert_allclose(middle, (0, 0, 0, 1), atol=1e-9)


@pytest.mark.parametrize("key", TASKS)
@pytest.mark.parametrize("seed", range(4))
def test_every_label_is_there_and_no_other(key: str, seed: int) -> None:
    values = np.unique(coarse(key, seed).labels[key])
    assert values.tolist() == list(range(TASKS[key].n_classes))


@pytest.mark.parametrize("key", ONE_TASK_EACH.values())
def test_on_its_own_grid_each_label_has_thirty_voxels(key: str) -> None:
    for task_key, labels in make_phantom(key, 20230401).labels.items():
        counts = np.bincount(labels.ravel(), minlength=TASKS[task_key].n_classes)
        assert counts.min() >= 30, f"{task_key} has {counts}"


@pytest.mark.parametrize("key", ONE_TASK_EACH.values())
def test_one_seed_is_one_patient_and_another_seed_another(key: str) -> None:
    spacing_mm = COARSE_MM[FAMILIES[key]]
    first, again, other = coarse(key, 1), make_phantom(key, 1, spacing_mm=spacing_mm), coarse(key, 2)
    assert np.array_equal(first.volume.array, again.volume.array)
    assert all(np.array_equal(first.labels[k], again.labels[k]) for k in first.labels)
    assert not np.array_equal(first.volume.array, other.volume.array)
    assert not np.array_equal(first.labels[key], other.labels[key])


def test_one_trunk_answers_all_ct_tasks() -> None:
    liver, spleen = (make_phantom(key, 3, shape=(20, 36, 44)) for key in ("liver", "spleen"))
    assert np.array_equal(liver.volume.array, spleen.volume.array)
    assert list(liver.labels) == list(spleen.labels) == CT_TASKS
    assert len(CT_TASKS) == 8


@pytest.mark.parametrize("seed", range(4))
def test_organs_lie_where_they_belong(seed: int) -> None:
    trunk = coarse("liver", seed)
    liver, spleen, spine, kidneys = (centre_mm(trunk, key) for key in ("liver", "spleen", "vertebrae", "kidney"))
    assert liver[0] > 30 > -30 > spleen[0]  # the liver on the patient's right
    assert abs(spine[0]) < 25
    assert spine[1] < min(liver[1], centre_mm(trunk, "pancreas")[1])  # the spine behind
    assert kidneys[2] < liver[2] < centre_mm(trunk, "lung")[2]


@pytest.mark.parametrize("seed", range(4))
def test_organs_have_plausible_densities(seed: int) -> None:
    trunk = coarse("liver", seed)
    assert 60 < typical_hu(trunk, "liver") < 125
    assert 85 < typical_hu(trunk, "spleen") < 125
    assert 90 < typical_hu(trunk, "kidney") < 185
    assert 150 < typical_hu(trunk, "vertebrae") < 500
    assert typical_hu(trunk, "hepatic_vessel") > typical_hu(trunk, "liver") > typical_hu(trunk, "liver", 2)
    assert np.percentile(trunk.volume.array, 1) == pytest.approx(-1000, abs=25)
    assert trunk.volume.array[0][0, -1, 0] < -950  # air around the patient


@pytest.mark.parametrize("seed", range(4))
def test_a_liver_tumour_lies_in_the_liver_beside_a_vessel(seed: int) -> None:
    labels = coarse("liver", seed).labels
    tumour, vessel = labels["liver"] == 2, labels["hepatic_vessel"] == 1
    assert np.array_equal(tumour, labels["hepatic_vessel"] == 2)
    assert (labels["liver"][vessel] == 1).all()
    rim = ndimage.binary_dilation(tumour, iterations=2) & ~tumour
    assert (rim & vessel).any()
    assert (labels["liver"][rim] > 0).mean() > 0.6  # some lie near the surface


@pytest.mark.parametrize(
    ("key", "finer_mm"),
    [("liver", (6.0, 3.5, 3.5)), ("kidney", (6.0, 3.5, 3.5)), ("spleen", (6.0, 3.5, 3.5)), ("vertebrae", (6.0, 3.5, 3.5)),
     ("prostate", (2.0, 1.5, 1.5)), ("brain", (2.5, 2.0, 2.0)), ("whole_body", (8.0, 4.0, 4.0))],
)  # fmt: skip
def test_another_grid_shows_the_same_anatomy(key: str, finer_mm: Triple) -> None:
    finer = made(FAMILIES[key], 0, finer_mm)
    assert volume_ml(finer, key) == pytest.approx(volume_ml(coarse(key), key), rel=0.12)
    np.testing.assert_allclose(centre_mm(finer, key), centre_mm(coarse(key), key), atol=6.0)  # discs beat with 8 mm slices


@pytest.mark.parametrize("seed", range(4))
def test_brain_tumour_is_nested_and_nothing_is_outside_the_head(seed: int) -> None:
    brain = coarse("brain", seed)
    labels, image = brain.labels["brain"], brain.volume.array
    around = ndimage.binary_dilation(labels == 3) & (labels != 3)
    assert (labels[around] == 2).mean() > 0.6
    assert (labels[around] > 0).mean() > 0.95
    assert (image >= 0).all()
    assert (image[:, -1] == 0).all()  # above the head
    assert (image[:, labels > 0] > 0).all()
    core, oedema = image[:, labels == 3].mean(axis=1), image[:, labels == 1].mean(axis=1)
    assert core[1] / core[0] > 1.2 * oedema[1] / oedema[0]  # contrast agent


@pytest.mark.parametrize("seed", range(4))
def test_pet_is_hot_outside_the_lesions_too(seed: int) -> None:
    scan = coarse("whole_body", seed)
    suv, lesion = scan.volume.array[1], scan.labels["whole_body"] > 0
    assert suv.min() >= 0
    assert (suv[~ndimage.binary_dilation(lesion, iterations=2)] > 3).sum() > 500
    assert suv[lesion].mean() > 3
    quarter = suv.shape[0] // 5
    assert suv[-quarter:].max() > 4  # the brain, at the upper end


def test_the_prostate_is_as_large_as_prostates_are() -> None:
    assert all(15 < volume_ml(coarse("prostate", seed), "prostate") < 120 for seed in range(4))


def test_a_shape_keeps_the_field_of_view_and_both_are_taken_as_given() -> None:
    own = make_phantom("prostate").volume
    small = make_phantom("prostate", shape=(12, 48, 48)).volume
    assert small.shape == (12, 48, 48)
    np.testing.assert_allclose(np.multiply(small.shape, small.spacing_mm), np.multiply(own.shape, own.spacing_mm))
    both = make_phantom("prostate", shape=(8, 40, 44), spacing_mm=(4.0, 2.0, 2.5)).volume
    assert (both.shape, both.spacing_mm) == ((8, 40, 44), (4.0, 2.0, 2.5))


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(TaskError, match=r"no task 'livr'.*Did you mean 'liver'"):
        make_phantom("livr")
    with pytest.raises(OptionError, match=r"zero or more, it is -1"):
        make_phantom("liver", -1)
    with pytest.raises(GeometryError, match=r"two voxels or more"):
        make_phantom("liver", shape=(1, 40, 40))
    with pytest.raises(GeometryError, match=r"positive spacings"):
        make_phantom("liver", spacing_mm=(0.0, 2.0, 2.0))


@pytest.mark.parametrize("seed", range(2))
def test_the_torso_answers_two_tasks_that_are_not_among_the_eleven(seed: int) -> None:
    torso, trunk = make_phantom("gallbladder", seed), make_phantom("liver", seed)
    assert list(torso.labels) == ["gallbladder", "ribs"] == [task.key for task in held_out_tasks()]
    assert not set(torso.labels) & set(TASKS)
    assert torso.family == "torso"
    sac, rib, liver = torso.labels["gallbladder"] == 1, torso.labels["ribs"] == 1, trunk.labels["liver"] > 0
    assert 5 < volume_ml(torso, "gallbladder") < 60
    assert 150 < volume_ml(torso, "ribs") < 900
    assert ndimage.label(sac, np.ones((3, 3, 3)))[1] <= 2  # bowel may cross it
    assert (ndimage.binary_dilation(sac, iterations=3) & liver).any()
    assert not (rib & (trunk.labels["vertebrae"] > 0)).any()
    assert ndimage.label(rib, np.ones((3, 3, 3)))[1] >= 10
    same = torso.volume.array == trunk.volume.array
    assert same.mean() > 0.98  # the body is the trunk's, but for the gall bladder


def test_gall_bladders_are_dark_or_bright() -> None:
    levels = [typical_hu(make_phantom("gallbladder", seed, spacing_mm=(5.0, 4.0, 4.0)), "gallbladder") for seed in range(12)]
    assert min(levels) < 40
    assert max(levels) > 120
