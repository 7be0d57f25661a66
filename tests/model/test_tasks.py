"""Tasks: the table equals the original's facts, describes itself, and refuses what is wrong by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.color import rgb2lab

from uniseg_model.errors import OptionError, TaskError, UniSegError
from uniseg_model.tasks import Label, Task, TaskRegistry, builtin_tasks, check_axes, read_tasks, write_task

TASKS = builtin_tasks()
LIVER = TASKS["liver"]

ORIGINAL = {  # key: classes with background, spacing z, y, x mm, channels, intensity rules
    "liver": (3, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "kidney": (3, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "hepatic_vessel": (3, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "pancreas": (3, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "colon": (2, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "lung": (2, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "spleen": (2, (3, 1.5, 1.5), ("CT",), ("hu",)),
    "vertebrae": (2, (4, 2, 2), ("CT",), ("hu",)),
    "prostate": (2, (3, 1.5, 1.5), ("T2",), ("zscore",)),
    "brain": (4, (1, 1, 1), ("T1", "T1ce", "T2", "FLAIR"), ("zscore",) * 4),
    "whole_body": (2, (8, 4, 4), ("CT", "PET"), ("hu", "zscore")),
}

A_TASK = """
[pelvis]
title = "Hip bones"
modalities = ["CT"]
labels = [{ name = "left hip", color = "#0072B2" }, { name = "right hip", color = "#E69F00" }]
spacing_mm = [2.0, 1.0, 1.0]
intensity = ["hu"]
axes = "RAS"
"""


def test_the_eleven_tasks_stand_in_prompt_order() -> None:
    assert list(TASKS) == list(ORIGINAL)
    assert len(TASKS) == 11


def test_class_counts_are_the_original_s() -> None:
    assert [task.n_classes for task in TASKS.values()] == [3, 3, 3, 3, 2, 2, 2, 2, 2, 4, 2]


@pytest.mark.parametrize("key", TASKS)
def test_a_task_equals_the_original_s_facts(key: str) -> None:
    task = TASKS[key]
    assert (task.n_classes, task.spacing_mm, task.modalities, task.intensity) == ORIGINAL[key]
    assert task.key == key
    assert task.axes == ("RAS" if key == "vertebrae" else "axial")
    assert all((task.title, task.dataset, task.citation))


@pytest.mark.parametrize("key", TASKS)
def test_a_grey_window_belongs_to_ct(key: str) -> None:
    window = TASKS[key].window_hu
    if "CT" in TASKS[key].modalities:
        assert window is not None
        assert window[0] < window[1]
    else:
        assert window is None


def test_label_values_of_all_tasks_are_the_original_s_1_to_17() -> None:
    assert TASKS.label_values == {
        ("liver", "liver"): 1,
        ("liver", "liver tumour"): 2,
        ("kidney", "kidney"): 3,
        ("kidney", "kidney tumour"): 4,
        ("hepatic_vessel", "hepatic vessel"): 5,
        ("hepatic_vessel", "hepatic vessel tumour"): 6,
        ("pancreas", "pancreas"): 7,
        ("pancreas", "pancreas tumour"): 8,
        ("colon", "colon tumour"): 9,
        ("lung", "lung tumour"): 10,
        ("spleen", "spleen"): 11,
        ("vertebrae", "vertebrae"): 12,
        ("prostate", "prostate"): 13,
        ("brain", "oedema"): 14,
        ("brain", "non-enhancing tumour"): 15,
        ("brain", "enhancing tumour"): 16,
        ("whole_body", "tumour lesion"): 17,
    }


# Colours ---------------------------------------------------------------------------------------------------------------

EYES = {  # on linear RGB; Machado, Oliveira and Fernandes, 2009, severity 1
    "usual": np.eye(3),
    "protanope": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranope": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
}
BACKGROUNDS = {"mid-grey": "#808080", "black": "#000000"}
APART_OF_LABELS, APART_OF_BACKGROUND = 20.0, 15.0  # CIELAB; about 2.3 is just noticeable side by side


def seen(color: str, eyes: str) -> np.ndarray:
    """The colour in CIELAB as these eyes see it."""
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(EYES[eyes] @ linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(srgb))


def apart(a: str, b: str, eyes: str) -> float:
    return float(np.linalg.norm(seen(a, eyes) - seen(b, eyes)))


def test_the_simulated_eyes_confuse_what_they_should() -> None:
    assert apart("#FF0000", "#00FF00", "usual") > 150
    assert apart("#B04030", "#607020", "deuteranope") < 0.5 * apart("#B04030", "#607020", "usual")
    for eyes in EYES:
        assert apart("#808080", "#000000", eyes) == pytest.approx(53.6, abs=0.1)  # greys stay grey


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("key", [key for key, task in TASKS.items() if len(task.labels) > 1])
def test_labels_of_one_task_are_told_apart(key: str, eyes: str) -> None:
    for a, b in combinations(TASKS[key].labels, 2):
        assert apart(a.color, b.color, eyes) >= APART_OF_LABELS, f"{a.name} and {b.name}"


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("key", TASKS)
def test_labels_stand_out_from_the_image(key: str, eyes: str, background: str) -> None:
    for label in TASKS[key].labels:
        assert apart(label.color, BACKGROUNDS[background], eyes) >= APART_OF_BACKGROUND, f"{label.name} {label.color}"


# Registry --------------------------------------------------------------------------------------------------------------


def test_unknown_task_names_its_nearest_neighbour_and_all_others() -> None:
    with pytest.raises(TaskError, match=r"no task 'livr'\. Did you mean 'liver'\? Known tasks: liver, kidney, .*whole_body\."):
        TASKS["livr"]


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(TaskError, match=r"no task 'xyz'\. Known tasks: liver") as caught:
        TASKS["xyz"]
    assert "Did you mean" not in str(caught.value)


def test_a_registry_is_a_mapping() -> None:
    assert isinstance(TASKS, Mapping)
    assert "liver" in TASKS
    assert "livr" not in TASKS
    assert 3 not in TASKS
    assert [task.key for task in TASKS.values()] == list(TASKS)


def test_two_tasks_with_one_key_are_refused() -> None:
    with pytest.raises(TaskError, match="two tasks have the key 'liver': 'Liver and tumour' and 'Another'"):
        TaskRegistry([LIVER, replace(LIVER, title="Another")])


def test_each_caller_gets_a_registry_of_its_own() -> None:
    assert builtin_tasks() is not TASKS
    assert dict(builtin_tasks()) == dict(TASKS)


# Descriptions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", TASKS)
def test_a_task_goes_through_json_and_back(key: str) -> None:
    facts = json.loads(json.dumps(TASKS[key].to_dict()))
    assert Task.from_dict(facts) == TASKS[key]


def test_a_description_leaves_out_what_is_empty() -> None:
    assert "caution" not in LIVER.to_dict()
    assert "window_hu" not in TASKS["prostate"].to_dict()
    assert LIVER.to_dict()["labels"][0] == {"name": "liver", "color": "#0072B2"}


def test_a_task_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        LIVER.title = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"key": "Liver"}, "task key 'Liver' must be lower-case letters, digits and underscores"),
        ({"key": "2nd"}, "task key '2nd' must be .* a letter first"),
        ({"key": ""}, "task key '' must be"),
        ({"labels": ()}, "labels of task 'liver' must be at least one, each with its own name"),
        ({"labels": (Label("a", "#000000"), Label("a", "#FFFFFF"))}, "each with its own name"),
        ({"labels": (Label("a", "red"),)}, "the colour 'red' of 'a' in task 'liver' must look like #E69F00"),
        ({"labels": (Label("a", "#12345"),)}, "the colour '#12345'"),
        ({"spacing_mm": (1.0, 1.0)}, r"three numbers between 0 and 100 mm, it is \(1\.0, 1\.0\)"),
        ({"spacing_mm": (1.0, 1.0, 0.0)}, "spacing_mm of task 'liver' must be three numbers"),
        ({"spacing_mm": (1.0, 1.0, 100.0)}, "between 0 and 100 mm"),
        ({"spacing_mm": (1.0, 1.0, float("nan"))}, "between 0 and 100 mm"),
        ({"intensity": ("hu", "hu")}, r"has 1 channels and needs as many .* hu, zscore; it has \['hu', 'hu'\]"),
        ({"intensity": ("ct",)}, r"out of hu, zscore; it has \['ct'\]"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, Any], match: str) -> None:
    with pytest.raises(TaskError, match=match):
        replace(LIVER, **change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": "red"}, "a task has no field 'colour'; its fields are axes, caution, citation"),
        ({"labels": [{"name": "liver"}]}, "task 'liver' is described wrongly: .*color"),
        ({"labels": [{"name": "liver", "color": "#000000", "value": 3}]}, "task 'liver' is described wrongly: .*value"),
        ({"labels": "liver"}, "task 'liver' is described wrongly"),
        ({"labels": 7}, "task 'liver' is described wrongly"),
        ({"spacing_mm": 3.0}, "task 'liver' is described wrongly"),
        ({"spacing_mm": ["3", "1", "1"]}, "task 'liver' is described wrongly"),
        ({"key": 7}, "task 7 is described wrongly"),
        ({"intensity": "hu"}, "needs as many intensity rules"),
    ],
)
def test_a_wrong_description_is_refused_by_name(change: dict[str, Any], match: str) -> None:
    with pytest.raises(TaskError, match=match):
        Task.from_dict({**LIVER.to_dict(), **change})


@pytest.mark.parametrize("field", ["key", "title", "modalities", "labels", "spacing_mm", "intensity"])
def test_a_missing_field_is_named(field: str) -> None:
    facts = LIVER.to_dict()
    del facts[field]
    with pytest.raises(TaskError, match=f"described wrongly: .*{field}"):
        Task.from_dict(facts)


# Axes ------------------------------------------------------------------------------------------------------------------


def test_all_48_orientations_are_axes_rules() -> None:
    codes = {"".join(letters) for names in permutations(("RL", "AP", "SI")) for letters in product(*names)}
    assert len(codes) == 48
    assert {check_axes(code) for code in codes} == codes
    assert [check_axes(rule) for rule in ("axial", "stored")] == ["axial", "stored"]


@pytest.mark.parametrize("rule", ["", "RA", "RRS", "RLS", "RASA", "ras", "Axial", "XYZ", "RAS "])
def test_other_axes_rules_are_refused(rule: str) -> None:
    with pytest.raises(OptionError, match=f"'axial', 'stored' or three letters such as 'RAS', not '{rule}'"):
        check_axes(rule)


# Files -----------------------------------------------------------------------------------------------------------------


def test_a_person_s_own_file_adds_a_task(tmp_path: Path) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text(A_TASK, encoding="utf-8")
    (pelvis,) = read_tasks(path)
    assert pelvis == Task(
        key="pelvis",
        title="Hip bones",
        modalities=("CT",),
        labels=(Label("left hip", "#0072B2"), Label("right hip", "#E69F00")),
        spacing_mm=(2.0, 1.0, 1.0),
        intensity=("hu",),
        axes="RAS",
    )
    tasks = TaskRegistry([*TASKS.values(), pelvis])
    assert list(tasks)[-1] == "pelvis"
    assert tasks.label_values["pelvis", "right hip"] == 19


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"version = 1", "one table per task, 'version' is not a table"),
        (b"[pelvis", r"the task file .*mine\.toml cannot be read: "),
        (b"\xff\xfe[pelvis]", "cannot be read: 'utf-8'"),
        (A_TASK.replace("#0072B2", "blue").encode(), "the colour 'blue' of 'left hip' in task 'pelvis'"),
        (A_TASK.replace("title", "titel").encode(), "a task has no field 'titel'"),
        (A_TASK.replace("pelvis", "Pelvis").encode(), "task key 'Pelvis'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=match):
        read_tasks(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"none\.toml cannot be read: .*No such file"):
        read_tasks(tmp_path / "none.toml")


def test_wrong_axes_in_a_file_are_a_wrong_task(tmp_path: Path) -> None:
    """``read_tasks`` and ``Task`` promise a TaskError for any field that breaks its rule."""
    path = tmp_path / "mine.toml"
    path.write_text(A_TASK.replace("RAS", "RAX"), encoding="utf-8")
    with pytest.raises(TaskError, match="not 'RAX'"):
        read_tasks(path)


def test_an_error_without_a_hint_is_one_sentence() -> None:
    assert str(UniSegError("too few voxels")) == "too few voxels"
    assert str(UniSegError("too few voxels", hint="Give more.")) == "too few voxels. Give more."


def test_a_written_task_is_read_back(tmp_path: Path) -> None:
    odd = replace(builtin_tasks()["brain"], key="odd", title='A "title", a \\ and an \u00fc, \x7f', window_hu=(-10.0, 20.5))
    for task in (odd, *builtin_tasks().values()):
        write_task(tmp_path / "task.toml", task)
        assert read_tasks(tmp_path / "task.toml") == [task]
