"""What a person fills in to add a task: suggested from data, typed, checked, and told what it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uniseg_app.training_form import TrainingForm, form_of, price_of, request_of, suggest, task_of, try_two_steps
from uniseg_app.typed import (
    COLORS,
    changes_in,
    colored,
    key_of,
    modalities_in,
    spacing_in,
    spacing_text,
    structures_in,
    structures_text,
)
from uniseg_model.checkpoint import untrained
from uniseg_model.dataset import write_case
from uniseg_model.doctor.examine import examine
from uniseg_model.errors import OptionError, TaskError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import Label, Task, builtin_tasks, read_tasks, write_task
from uniseg_model.volume import Volume

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
GLAND = Task(
    "gland", "Gland", ("T2",), (Label("gland", "#0072B2"),), (6.0, 4.0, 4.0), ("zscore",), window_hu=None, citation="Us"
)
FORM = TrainingForm(Path("data"), "Gall bladder", (Label("gall bladder", "#009E73"),))


def scan(
    zyx_mm: tuple[float, float, float], *, is_ct: bool = True, n_channels: int = 1, sagittal: bool = False, seed: int = 1
) -> Volume:
    """12 x 12 x 12 voxels of these sizes along head-foot, front-back, left-right."""
    z, y, x = zyx_mm
    array = np.random.default_rng(seed).normal(50, 20, (n_channels, 12, 12, 12)).astype(np.float32)
    array[:, :4], array[:, 8:] = (-1000, 300) if is_ct else (0, 90)
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(array, affine[:, [2, 1, 0, 3]] if sagittal else affine)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A data set of these scans, with label values 1 and 3."""

    def made(*scans: Volume, description: dict[str, object] | None = None) -> Path:
        labels = np.zeros((12, 12, 12), np.uint8)
        labels[2:5, 2:5, 2:5], labels[6:8, 6:8, 6:8] = 1, 3
        data = tmp_path / "liver_vessels-2"
        for number, volume in enumerate(scans):
            write_case(data, f"case_{number}", volume, labels)
        if description:
            (data / "dataset.json").write_text(json.dumps(description))
        return data

    return made


def test_a_form_is_suggested_from_bare_files(folder: Callable[..., Path]) -> None:
    """The median of 1, 2 and 3 mm is 2; values 1 and 3 mean three structures; the folder's name is the title."""
    form = suggest(examine(folder(*(scan((mm, 0.8, 0.9)) for mm in (1.0, 3.0, 2.0)))))
    assert (form.title, form.modalities, form.axes) == ("Liver vessels 2", ("CT",), "axial")
    assert form.spacing_mm == (2.0, 0.8, 0.9)
    assert [label.name for label in form.structures] == ["structure 1", "structure 2", "structure 3"]
    assert [label.color for label in form.structures] == list(COLORS[:3])
    assert len(set(COLORS)) == 12
    assert task_of(form).intensity == ("hu",)


def test_a_suggested_spacing_stays_where_the_weights_were_trained(folder: Callable[..., Path]) -> None:
    """The eleven CT tasks stand at 3 or 4 mm along z and at 1.5 or 2 mm in the plane."""
    data = folder(scan((1.0, 0.8, 5.0)))
    assert suggest(examine(data), builtin_tasks().values()).spacing_mm == (3.0, 1.5, 2.0)
    demo = [replace(task, spacing_mm=(5.0, 4.0, 4.0), axes="RAS") for task in builtin_tasks().values()]
    form = suggest(examine(data), demo)
    assert (form.spacing_mm, form.axes) == ((5.0, 4.0, 4.0), "RAS")


def test_a_suggested_spacing_is_along_the_tasks_axes(folder: Callable[..., Path]) -> None:
    """Slices stored from left to right: 4 mm apart in the file's first axis, head-foot is its last one."""
    data = folder(scan((1.0, 2.0, 4.0), sagittal=True))
    assert suggest(examine(data)).spacing_mm == (1.0, 2.0, 4.0)


def test_what_a_data_set_says_of_itself_is_taken(folder: Callable[..., Path]) -> None:
    description = {"name": "Two things", "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "a", "3": "c"}}
    form = suggest(examine(folder(scan((3, 1, 1), is_ct=False, n_channels=2), description=description)))
    assert (form.title, form.modalities) == ("Two things", ("T2", "ADC"))
    assert [label.name for label in form.structures] == ["a", "value 2", "c"]
    assert task_of(form).intensity == ("zscore", "zscore")


def test_a_described_task_comes_through_as_it_is(folder: Callable[..., Path], tmp_path: Path) -> None:
    data = folder(scan((3, 1, 1), is_ct=False))
    write_task(data / "task.toml", GLAND)
    form = suggest(examine(data))
    assert (task_of(form), form) == (GLAND, form_of(data, GLAND))
    assert request_of(form, tmp_path / "tasks").task_file is None
    assert not (tmp_path / "tasks").exists()
    renamed = request_of(replace(form, title="Prostate gland"), tmp_path / "tasks")
    assert renamed.task_file is not None
    [task] = read_tasks(renamed.task_file)
    assert (task.title, task.key, task.citation) == ("Prostate gland", "gland", "Us")


def test_a_request_describes_its_task_for_good(tmp_path: Path) -> None:
    """Another task of the same key gets another file; the same one the same."""
    request = request_of(replace(FORM, depth="full", minutes=2.5, replay=tmp_path), tmp_path)
    assert (request.depth, request.minutes, request.replay, request.task) == ("full", 2.5, tmp_path, "gall_bladder")
    other = request_of(replace(FORM, spacing_mm=(1.0, 1.0, 1.0)), tmp_path)
    assert request.task_file != other.task_file
    assert other.task_file == request_of(replace(FORM, spacing_mm=(1.0, 1.0, 1.0)), tmp_path).task_file
    assert len(list(tmp_path.glob("gall_bladder-*.toml"))) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"title": "  "}, "the task has no name"),
        ({"structures": ()}, "'Gall bladder' has no structure"),
        ({"structures": (Label("a", "#000000"), Label("a", "#FFFFFF"))}, "2 structures have the name 'a'"),
        ({"structures": (Label("a", "#000000"), Label("", "#FFFFFF"))}, "structure 2 has no name"),
        ({"structures": (Label("a", "#12"),)}, "the colour '#12' of 'a' .* must look like #E69F00"),
        ({"modalities": ()}, "'Gall bladder' has no channel"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "must be three numbers between 0 and 100 mm"),
        ({"key": "Gall bladder"}, "the task key 'Gall bladder' must be lower-case"),
    ],
)
def test_what_is_missing_in_a_task_is_told(changes: dict[str, object], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        task_of(replace(FORM, **changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depth": "deep"}, "a depth of pack, full, backbone, not 'deep'"),
        ({"minutes": 0.0}, "the minutes must be between 0.1 and 100000, they are 0"),
        ({"minutes": float("nan")}, "they are nan"),
        ({"replay": Path("old")}, "with the depth full, not with pack"),
        ({"pack": Path("p"), "depth": "full"}, "with the depth pack, not with full"),
    ],
)
def test_what_is_wrong_with_how_is_told(changes: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=told):
        request_of(replace(FORM, **changes), tmp_path)


def test_keys_are_made_of_titles() -> None:
    assert [key_of(title) for title in ("Gall bladder", "2nd rib!", "Ø", "L1/L2")] == [
        "gall_bladder",
        "task_2nd_rib",
        "task",
        "l1_l2",
    ]


def test_what_is_typed_is_read_and_written_back() -> None:
    text = "gall bladder #009e73\n\n stone, wall: #E69F00\ncyst"
    labels = structures_in(text)
    assert labels == (Label("gall bladder", "#009E73"), Label("stone, wall", "#E69F00"), Label("cyst", COLORS[2]))
    assert structures_in(structures_text(labels)) == labels
    assert structures_in(" \n") == ()
    with pytest.raises(TaskError, match="the line '#009E73' has a colour and no name"):
        structures_in("#009E73")
    assert (modalities_in("ct"), modalities_in("T2, ADC ,")) == (("CT",), ("T2", "ADC"))
    assert (
        spacing_in("3, 1.5, 1.5") == spacing_in("3 x 1.5 x 1.5") == spacing_in(spacing_text((3.0, 1.5, 1.5))) == (3.0, 1.5, 1.5)
    )
    assert changes_in('rate = 0.002\n\noptimiser="sgd"') == {"rate": 0.002, "optimiser": "sgd"}
    with pytest.raises(OptionError, match="'fast' is no setting of a plan"):
        changes_in("fast")
    for wrong in ("", "3, 1.5", "3 1 1 1", "3, a, 1"):
        with pytest.raises(TaskError, match=f"the voxel size '{wrong}' is not three numbers"):
            spacing_in(wrong)
    assert colored(["a"] * 13)[12].color == COLORS[0]


def test_two_real_steps_tell_the_price(folder: Callable[..., Path], tmp_path: Path) -> None:
    """Both ways name the same network, data and depth, so only the steps' speed may differ."""
    untrained(NARROW).save(weights := tmp_path / "base.safetensors")
    data = folder(scan((3, 3, 3)), scan((3, 3, 3), seed=2))
    form = replace(suggest(examine(data)), weights=weights, minutes=0.5)
    quick, tried = price_of(form), try_two_steps(form)
    assert (quick.memory_gb, quick.risk) == (tried.memory_gb, tried.risk)
    assert quick.steps >= 10
    assert "none for the old tasks" in quick.risk
    (data / "labelsTr" / "case_1.nii.gz").unlink()
    with pytest.raises(OptionError, match=r"cannot be trained on as it is: 1 cases can be used, at least 2"):
        try_two_steps(form)


def test_forms_and_words_come_without_torch() -> None:
    code = "import sys, uniseg_app.training_form, uniseg_app.training_words\n"
    code += "heavy = {'torch', 'gradio', 'qtpy'} & set(sys.modules)\nassert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
