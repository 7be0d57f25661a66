"""The Train panel in a real viewer: from a folder to a task in the list, and answers that become cases. Trainings are real ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from window import LONG_MS, click, rest, tick, words

from uniseg_app import run_watch
from uniseg_app.own_data import corrections_in, my_data_folder
from uniseg_app.pack_store import installed_packs
from uniseg_app.training_runs import TrainingRuns, is_alive
from uniseg_model.checkpoint import untrained
from uniseg_model.dataset import write_case
from uniseg_model.io import read_labels
from uniseg_model.network.config import NetworkConfig
from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import read_tasks
from uniseg_model.volume import Volume

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
QUICK = 'epoch = 5\nsave_every = 5\nvalidation_windows = 1\naugmentation = "none"\nrate = 0.02'
Layers = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    untrained(NARROW).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three patients; one of them without labels."""
    folder = tmp_path / "glands"
    for seed in range(3):
        phantom = make_phantom("prostate", seed, spacing_mm=(6.0, 4.0, 4.0))
        write_case(folder, f"gland_{seed}", phantom.volume, phantom.labels["prostate"])
    (folder / "labelsTr" / "gland_2.nii.gz").unlink()
    return folder


@pytest.fixture
def train(viewer: Any, qtbot: Any) -> Iterator[Any]:
    """The Train panel, docked, its weights loaded; what still trains when the test ends is ended."""
    from uniseg_app.napari_plugin.train import TrainPanel

    made = TrainPanel(viewer)
    viewer.window.add_dock_widget(made, name="Train")
    rest(qtbot, made)
    yield made
    runs = TrainingRuns()
    for info in runs.history():
        if info.pid and is_alive(runs.root / info.id):
            os.kill(info.pid, signal.SIGKILL)


def offered(train: Any) -> set[str]:
    """What may be done with the run that is watched."""
    return {verb for verb, one in train.runs.buttons.items() if not one.isHidden()}


def press(qtbot: Any, train: Any, verb: str, until: Callable[[], bool]) -> None:
    click(qtbot, train.runs.buttons[verb])
    qtbot.waitUntil(until, timeout=LONG_MS)
    rest(qtbot, train)


def test_from_a_folder_with_a_fault_to_a_task_that_segments_and_is_gone_again(
    train: Any, panel: Any, add: Layers, data: Path, base: Path, qtbot: Any
) -> None:
    train._weights.chosen.emit(base)
    rest(qtbot, train)
    train.data.choose(data)
    rest(qtbot, train)
    assert "There is no label" in words(train.data)
    assert not train.how.start.isEnabled()
    assert "gland_2: left out" in words(train.data)
    click(qtbot, train.data.mend_button)
    rest(qtbot, train)
    assert train.data.folder == my_data_folder() / "glands_mended"
    assert sorted(path.name for path in (data / "labelsTr").iterdir()) == ["gland_0.nii.gz", "gland_1.nii.gz"]  # not touched

    train.task.title.setText("Gland")
    train.task.rows[0].name.setText("gland")
    train.task.spacing.setText("6, 4")
    click(qtbot, train.how.start)
    assert "the voxel size '6, 4' is not three numbers" in words(train.how)
    train.task.spacing.setText("6, 4, 4")
    train.how.settings.setPlainText(QUICK)
    train.how.minutes.setValue(30)
    rest(qtbot, train)
    assert "Time: about" in words(train.how)
    click(qtbot, train.how.start)
    rest(qtbot, train)
    qtbot.waitUntil(lambda: len(train.runs.curves.curve.dice) > 3, timeout=LONG_MS)
    assert len(train.runs.preview.findChildren(type(train.runs.preview._said))) > 3
    press(qtbot, train, run_watch.PAUSE, lambda: run_watch.RESUME in offered(train))
    reached = train.runs.curves.curve.dice[-1][0]
    press(qtbot, train, run_watch.RESUME, lambda: train.runs.curves.curve.dice[-1][0] > reached + 20)
    train.runs.note.setText("a first try")
    train.runs.note.editingFinished.emit()
    press(qtbot, train, run_watch.STOP, lambda: run_watch.INSTALL in offered(train))
    [info] = TrainingRuns().history()
    assert (info.title, info.state, info.note) == ("Gland", "stopped", "a first try")

    press(qtbot, train, run_watch.INSTALL, lambda: run_watch.RETIRE in offered(train))
    assert [pack.facts.task.key for pack in installed_packs()] == ["gland"]
    [layer] = add(make_phantom("prostate", 5, spacing_mm=(6.0, 4.0, 4.0)).volume, "new patient")
    panel.image.choose([layer])
    rest(qtbot, panel)
    tick(panel, "gland")
    rest(qtbot, panel)
    click(qtbot, panel.run.start)
    rest(qtbot, panel)
    [answer] = [layer for layer in panel.results.layers() if layer.name.startswith("Gland")]
    assert list(answer.features["structure"]) == ["", "gland"]
    rest(qtbot, train)
    assert train.how.pack == installed_packs()[0].path  # a next training may go on from it

    press(qtbot, train, run_watch.RETIRE, lambda: run_watch.INSTALL in offered(train))
    assert installed_packs() == []
    rest(qtbot, panel)
    assert "gland" not in [choice.task.key for choice in panel._opened.choices]
    press(qtbot, train, run_watch.REMOVE, lambda: "No training yet" in words(train.runs))


def test_a_corrected_answer_becomes_a_case(train: Any, show_found: Callable[..., list[Any]], ct: Volume, qtbot: Any) -> None:
    [layer] = show_found("spleen")
    painted = np.argwhere(np.asarray(layer.data) == 0)[:7]
    for place in painted:
        layer.data[tuple(place)] = 1
    rest(qtbot, train)
    train.layers.labels.setCurrentIndex(train.layers.labels.findText(layer.name))
    click(qtbot, train.layers.add)
    rest(qtbot, train)
    folder = my_data_folder() / "corrected_spleen"
    assert "Added as spleen_0000 to corrected_spleen, 7 voxels changed by hand." in words(train.layers)
    [case] = corrections_in(folder)
    assert (case.case, case.n_changed) == ("spleen_0000", 7)
    labels, affine = read_labels(folder / "labelsTr" / "spleen_0000.nii.gz")[:2]
    from uniseg_app.napari_plugin.answers import answer_of

    np.testing.assert_array_equal(labels, answer_of(layer).placed.to_volume(np.asarray(layer.data)))  # type: ignore[union-attr]
    np.testing.assert_allclose(affine, ct.affine, atol=1e-4)
    assert train.data.folder == folder
    assert "1 cases (nnU-Net)" in words(train.data)
    assert train.task.title.text() == read_tasks(folder / "task.toml")[0].title
    assert train.how.depth.currentData() == "full"  # a task of the weights themselves is no pack


def test_what_somebody_painted_anew_becomes_a_task(train: Any, viewer: Any, add: Layers, ct: Volume, qtbot: Any) -> None:
    [image] = add(ct)
    drawn = viewer.add_labels(np.zeros(image.data.shape, np.uint8), name="drawn", scale=image.scale, translate=image.translate)
    rest(qtbot, train)
    click(qtbot, train.layers.add)
    rest(qtbot, train)
    assert "the labels are empty: nothing is painted in them" in words(train.layers)
    drawn.data[3:6, 4:9, 5:7] = 1
    click(qtbot, train.layers.add)
    rest(qtbot, train)
    assert "the data set has no name. Name it after what is painted" in words(train.layers)
    train.layers.name.setText("Gall bladder")
    click(qtbot, train.layers.add)
    rest(qtbot, train)
    [task] = read_tasks(my_data_folder() / "gall_bladder" / "task.toml")
    assert (task.title, task.modalities, [label.name for label in task.labels]) == ("Gall bladder", ("CT",), ["structure 1"])
    stored, _ = read_labels(my_data_folder() / "gall_bladder" / "labelsTr" / "gall_bladder_0000.nii.gz")[:2]
    assert stored.sum() == 3 * 5 * 2
    wrong = viewer.add_labels(np.ones((2, 3, 4), np.uint8), name="wrong")
    train.layers.labels.setCurrentIndex(train.layers.labels.findText(wrong.name))
    click(qtbot, train.layers.add)
    rest(qtbot, train)
    assert "the labels have (2, 3, 4) voxels, the image (32, 48, 56)" in words(train.layers)


def test_a_folder_that_is_no_data_set_is_refused(train: Any, tmp_path: Path, qtbot: Any) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"sand")
    train.data.choose(tmp_path / "holiday")
    rest(qtbot, train)
    assert "holiday" in words(train.data)
    assert train.how.isHidden()
    assert not train.data._trouble.isHidden()
