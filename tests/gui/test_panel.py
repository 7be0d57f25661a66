"""The Segment panel in a real viewer, its buttons pressed: what it shows, what it finds, and what goes wrong on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTreeWidget
from window import LONG_MS, click, tick, words

from uniseg_app.napari_plugin.answers import ANSWER, PROVENANCE, answer_of
from uniseg_app.run_options import WORKS
from uniseg_model import load_model
from uniseg_model.errors import OutOfMemoryError
from uniseg_model.volume import Volume

Layers = Callable[..., list[Any]]


def answers(viewer: Any) -> dict[str, Labels]:
    return {answer.task.key: layer for layer in viewer.layers if (answer := answer_of(layer))}


def test_the_screen_says_what_is_at_work(panel: Any) -> None:
    said = words(panel)
    assert "Research use only. Not a medical device." in said
    assert "synthetic phantoms only: of no use on patients" in said
    assert "Device: CPU" in said
    assert "Open a scan" in said


def test_two_tasks_give_the_command_lines_voxels_with_names_colours_and_place(
    viewer: Any, panel: Any, add: Layers, segment: Callable[..., None], ct: Volume
) -> None:
    [image] = add(ct)
    segment(panel, "liver", "spleen")
    found = answers(viewer)
    expected = load_model(device="cpu").open(ct).segment(["liver", "spleen"])
    for answer in expected:
        layer = found[answer.task.key]
        kept = layer.metadata[ANSWER]
        np.testing.assert_array_equal(kept.placed.to_volume(np.asarray(layer.data)), answer.labels)
        for name in ("scale", "translate", "units", "axis_labels"):
            assert np.all(np.asarray(getattr(layer, name)) == np.asarray(getattr(image, name)))
        assert list(layer.features["structure"]) == ["", *(label.name for label in answer.task.labels)]
        np.testing.assert_allclose(
            layer.colormap.color_dict[1][:3], np.array(tuple(bytes.fromhex(answer.task.labels[0].color[1:]))) / 255
        )
        assert layer.metadata[PROVENANCE]["weights"]["kind"] == "demo"
        assert layer.metadata[PROVENANCE]["task"] == answer.task.key
    assert "Done in" in words(panel.run)
    rows = {row.structure: row for row in panel.found.rows()}
    assert rows["liver"].volume_ml == pytest.approx(expected[0].volumes_ml()["liver"])
    assert rows["liver"].mean_probability is not None


def test_a_structure_is_named_in_the_status_bar(
    viewer: Any, panel: Any, add: Layers, segment: Callable[..., None], ct: Volume
) -> None:
    add(ct)
    segment(panel, "liver")
    layer = answers(viewer)["liver"]
    place = np.argwhere(np.asarray(layer.data) == 1)[0]
    viewer.dims.point = layer.data_to_world(place)
    assert "structure: liver" in layer.get_status(layer.data_to_world(place), world=True)["value"]


def test_tasks_that_do_not_suit_say_why_and_cannot_be_ticked(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], ct: Volume
) -> None:
    add(ct)
    settled(panel)
    said = {item.text(0): item for item in panel.tasks.items()}
    assert not said["Brain tumour"].flags() & Qt.ItemFlag.ItemIsEnabled
    [why] = [said["Brain tumour"].parent().child(0).text(0)]
    assert why == "'Brain tumour' needs 4 channels (T1, T1ce, T2, FLAIR), the image has 1"
    assert "trained on T2" in said["Prostate"].parent().child(0).text(0)
    tick(panel, "brain", "liver")
    assert panel.tasks.keys == ["liver"]


def test_the_search_finds_structures(panel: Any, add: Layers, settled: Callable[[Any], None], ct: Volume, qtbot: Any) -> None:
    add(ct)
    settled(panel)
    qtbot.keyClicks(panel.tasks._search, "vessel")
    assert [item.text(0) for item in panel.tasks.items() if not item.isHidden()] == ["Hepatic vessels and tumour"]


def test_what_a_run_will_take_is_told_before_it_begins(
    panel: Any, add: Layers, settled: Callable[[Any], None], tall_ct: Volume
) -> None:
    add(tall_ct)
    settled(panel)
    tick(panel, "liver")
    settled(panel)
    assert "3 windows, about" in words(panel.run)
    assert " GB" in words(panel.run)


def test_how_much_work_is_told_before_and_after_the_run_and_stands_with_the_answer(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], segment: Callable[..., None], tall_ct: Volume
) -> None:
    add(tall_ct)
    settled(panel)
    tick(panel, "liver")
    told = {}
    for title, preset in WORKS.items():
        panel.options.work.setCurrentText(title)
        settled(panel)
        assert preset.sentence in words(panel.options)
        told[title] = int(words(panel.run).split(" windows")[0])
    assert told == {"As the device allows": 3, "Exact": 3, "Balanced": 3, "Fast": 2}
    segment(panel, "liver")
    assert ", without mirroring, step 0.75." in words(panel.run)
    options = answers(viewer)["liver"].metadata[PROVENANCE]["options"]
    assert (options["step"], options["mirror"], options["body_share"]) == (0.75, False, 0.05)
    panel.options.step.setCurrentText("0.5")
    settled(panel)
    assert "3 windows" in words(panel.run)


def test_nothing_ticked_is_told_beside_the_button(
    panel: Any, add: Layers, settled: Callable[[Any], None], ct: Volume, qtbot: Any
) -> None:
    add(ct)
    settled(panel)
    click(qtbot, panel.run.start)
    assert "no task is ticked" in words(panel.run)
    assert "Tick at least one" in words(panel.run)


def test_a_wrong_option_is_told_in_words(
    panel: Any, add: Layers, settled: Callable[[Any], None], ct: Volume, qtbot: Any
) -> None:
    add(ct)
    settled(panel)
    tick(panel, "liver")
    panel.options.spacing.setText("3, x")
    settled(panel)
    click(qtbot, panel.run.start)
    assert "the spacing must be three numbers in mm such as 3, 1.5, 1.5 (z, y, x), not '3, x'" in words(panel.run)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Image(np.ones((8, 9, 3)), rgb=True, name="photo"), "photo is a colour image"),
        (Image(np.ones((8, 9)), name="slice"), "slice has 2 axes, a volume has 3"),
        (Image(np.ones((2, 8, 9, 7)), name="film"), "film has 4 axes, a volume has 3"),
        (Image(np.zeros((8, 9, 7)), scale=(2, 2, 2), units="mm", name="air"), "every voxel is 0"),
        (Image(np.full((8, 9, 7), np.nan), scale=(2, 2, 2), units="mm", contrast_limits=(0, 1), name="none"), "every voxel is NaN"),
    ],
    ids=["colour", "2-D", "4-D", "zeros", "NaN"],
)  # fmt: skip
def test_what_cannot_be_segmented_is_told_at_once(
    viewer: Any, panel: Any, settled: Callable[[Any], None], layer: Image, said: str
) -> None:
    viewer.add_layer(layer)
    settled(panel)
    assert said in words(panel.image)
    assert not panel.run.start.isEnabled()


def test_labels_alone_are_no_image(viewer: Any, panel: Any) -> None:
    viewer.add_layer(Labels(np.ones((8, 9, 7), int)))
    assert "There are Labels layers only: they hold answers, not an image." in words(panel.image)
    assert not panel.run.start.isEnabled()


def test_an_unknown_voxel_size_is_asked_for_and_the_layer_stays_as_it_was(
    viewer: Any, panel: Any, settled: Callable[[Any], None], segment: Callable[..., None], ct: Volume
) -> None:
    layer = viewer.add_image(np.asarray(ct.array[0])[::-1, ::-1, ::-1], name="plain")
    settled(panel)
    assert "How large is a voxel, in mm?" in words(panel.image)
    assert "plain does not say how large its voxels are" in words(panel.image)
    assert not panel.run.start.isEnabled()
    for box in panel.image._spacing:
        box.setValue(5.0)
    settled(panel)
    segment(panel, "liver")
    found = answers(viewer)["liver"]
    assert tuple(found.scale) == tuple(layer.scale) == (1.0, 1.0, 1.0)
    assert panel.found.rows()[0].volume_ml == pytest.approx(np.count_nonzero(np.asarray(found.data) == 1) * 0.125)
    assert panel.found.rows()[0].volume_ml > 500


def test_four_channels_are_taken_together_and_in_order(viewer: Any, panel: Any, settled: Callable[[Any], None]) -> None:
    viewer.open_sample("uniseg-app", "brain")
    settled(panel)
    assert ["T1" in panel.image.layers[0].name, "FLAIR" in panel.image.layers[3].name] == [True, True]
    [brain] = [item for item in panel.tasks.items() if item.text(0) == "Brain tumour"]
    assert brain.flags() & Qt.ItemFlag.ItemIsEnabled
    assert "4 channels" in words(panel.image)


def test_labels_grow_while_they_are_computed(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], tall_ct: Volume, qtbot: Any
) -> None:
    panel._desk.backend.look_every_s = 0.0
    add(tall_ct)
    settled(panel)
    tick(panel, "liver")
    settled(panel)
    click(qtbot, panel.run.start)
    qtbot.waitUntil(lambda: any("in progress" in layer.name for layer in viewer.layers), timeout=LONG_MS)
    assert panel.run.cancel.isEnabled()
    assert not panel.run.start.isEnabled()
    settled(panel)
    assert [layer.name for layer in viewer.layers] == ["ct", "Liver and tumour: ct"]


def test_cancel_leaves_what_was_there(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], tall_ct: Volume, qtbot: Any
) -> None:
    add(tall_ct)
    settled(panel)
    tick(panel, "liver", "kidney", "spleen")
    panel.options.agreement.setChecked(True)
    settled(panel)
    click(qtbot, panel.run.start)
    qtbot.waitUntil(lambda: "window 1 of 3" in words(panel.run), timeout=LONG_MS)
    click(qtbot, panel.run.cancel)
    settled(panel)
    assert "Cancelled" in words(panel.run)
    assert [layer.name for layer in viewer.layers] == ["ct"]
    assert panel.run.start.isEnabled()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("cuDNN is unwell"), "Something went wrong inside: RuntimeError"),
        (
            OutOfMemoryError("memory ran out with one window at a time", hint="Use --device cpu."),
            "memory ran out with one window",
        ),
    ],
    ids=["RuntimeError", "out of memory"],
)
def test_an_error_is_told_and_the_button_can_be_pressed_again(
    viewer: Any,
    panel: Any,
    add: Layers,
    segment: Callable[..., None],
    ct: Volume,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    add(ct)

    def fail(*args: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("uniseg_model.run.sweep_windows", fail)
        segment(panel, "liver")
    assert said in words(panel.run)
    assert panel.run.start.isEnabled()
    segment(panel, "liver")
    assert said not in words(panel.run)
    assert "liver" in answers(viewer)


def test_an_image_that_is_removed_or_renamed_mid_run_harms_nothing(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], tall_ct: Volume, qtbot: Any
) -> None:
    panel._desk.backend.look_every_s = 0.0
    [image] = add(tall_ct)
    settled(panel)
    tick(panel, "liver")
    settled(panel)
    click(qtbot, panel.run.start)
    image.name = "another"
    qtbot.waitUntil(lambda: len(viewer.layers) > 1, timeout=LONG_MS)
    viewer.layers.remove(viewer.layers[1])  # what grows
    viewer.layers.remove(image)
    settled(panel)
    assert [layer.name for layer in viewer.layers] == ["Liver and tumour: ct"]
    assert not panel.run.start.isEnabled()
    assert "Open a scan" in words(panel.image)


def test_a_viewer_closed_mid_run_ends_the_run(
    viewer: Any, panel: Any, add: Layers, settled: Callable[[Any], None], tall_ct: Volume, qtbot: Any
) -> None:
    add(tall_ct)
    settled(panel)
    tick(panel, "liver", "kidney", "spleen")
    panel.options.agreement.setChecked(True)
    settled(panel)
    click(qtbot, panel.run.start)
    job = panel._run
    qtbot.waitUntil(lambda: job.progress.stage == "predict", timeout=LONG_MS)
    viewer.close()
    qtbot.waitUntil(job.done, timeout=LONG_MS)
    assert job.state == "cancelled"
    qtbot.waitUntil(lambda: not [t for t in threading.enumerate() if t.name.startswith("lane")], timeout=LONG_MS)


def test_weights_that_are_not_there_are_told_and_others_can_be_chosen(
    panel: Any, add: Layers, settled: Callable[[Any], None], ct: Volume, tmp_path: Any
) -> None:
    add(ct)
    settled(panel)
    panel._weights.chosen.emit(tmp_path / "none.safetensors")
    settled(panel)
    assert "none.safetensors" in words(panel._weights)
    assert not panel.run.start.isEnabled()
    panel._weights.chosen.emit(None)
    settled(panel)
    assert "demo weights" in words(panel._weights)
    assert panel.run.start.isEnabled()


def test_the_canvas_is_not_blank(plugin: None, make_napari_viewer_proxy: Callable[..., Any], ct: Volume, qtbot: Any) -> None:
    from napari.layers import Layer

    from uniseg_app.napari_plugin.reader import image_layers

    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_layer(Layer.create(*image_layers(ct, "ct")[0]))
    assert viewer.screenshot(flash=False).std() > 5


def test_the_panel_is_narrow_and_scrolls_downwards_only(panel: Any) -> None:
    assert panel.minimumWidth() <= 340
    for tree in panel.findChildren(QTreeWidget):
        assert tree.minimumSizeHint().width() < 300
