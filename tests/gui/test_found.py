"""What was found: edits are kept, runs undone, structures hidden, recoloured, gone to, saved and read again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTreeWidgetItem
from window import LONG_MS, click, words

from uniseg_app.napari_plugin.answers import answer_of
from uniseg_app.napari_plugin.reader import read
from uniseg_model import load_model
from uniseg_model.volume import Volume

Layers = Callable[..., list[Any]]
Segment = Callable[..., None]
Settled = Callable[[Any], None]


def answers(viewer: Any) -> list[Labels]:
    return [layer for layer in viewer.layers if answer_of(layer)]


def line(panel: Any, words: str) -> QTreeWidgetItem:
    """The line of the table that begins so."""
    [found] = panel.found.table.findItems(words, Qt.MatchFlag.MatchStartsWith | Qt.MatchFlag.MatchRecursive)
    return found


@pytest.fixture
def found(show_found: Callable[..., list[Labels]]) -> Labels:
    """The layer of the liver, found in the small patient."""
    [layer] = show_found("liver")
    return layer


def paint(layer: Labels, value: int = 2) -> None:
    """One stroke of the brush, in the corner."""
    layer.brush_size = 3
    layer.paint((0, 2, 2), value)


def test_a_second_run_fills_a_layer_that_nobody_has_edited(viewer: Any, panel: Any, found: Labels, segment: Segment) -> None:
    found.opacity = 0.33
    before = np.array(found.data)
    segment(panel, "liver")
    assert answers(viewer) == [found]
    assert found.opacity == 0.33
    np.testing.assert_array_equal(found.data, before)


def test_an_edited_layer_is_never_overwritten(
    viewer: Any, panel: Any, found: Labels, segment: Segment, settled: Settled
) -> None:
    paint(found)
    edited = np.array(found.data)
    settled(panel)
    segment(panel, "liver")
    assert [layer.name for layer in answers(viewer)] == ["Liver and tumour: ct", "Liver and tumour: ct (2)"]
    np.testing.assert_array_equal(found.data, edited)
    assert (np.asarray(answers(viewer)[1].data) != edited).any()


def test_undo_takes_a_run_back(viewer: Any, panel: Any, found: Labels, segment: Segment, settled: Settled, qtbot: Any) -> None:
    segment(panel, "spleen")
    assert len(answers(viewer)) == 2
    click(qtbot, panel.found.undo)
    settled(panel)
    assert answers(viewer) == [found]
    click(qtbot, panel.found.undo)
    settled(panel)
    assert answers(viewer) == []
    assert not panel.found.undo.isEnabled()


def test_undo_brings_back_what_a_layer_showed_before(
    viewer: Any, panel: Any, found: Labels, segment: Segment, settled: Settled, qtbot: Any
) -> None:
    before = np.array(found.data)
    panel.options.spacing.setText("10, 8, 8")
    settled(panel)
    segment(panel, "liver")
    assert (np.asarray(found.data) != before).any()
    assert "is run at (10.0, 8.0, 8.0) mm, as asked for" in words(panel.run)
    click(qtbot, panel.found.undo)
    settled(panel)
    np.testing.assert_array_equal(found.data, before)
    assert answer_of(found).record.options["spacing_mm"] is None


def test_undo_leaves_what_was_edited_since(viewer: Any, panel: Any, found: Labels, settled: Settled, qtbot: Any) -> None:
    paint(found)
    settled(panel)
    click(qtbot, panel.found.undo)
    settled(panel)
    assert answers(viewer) == [found]
    assert "Left as it is, because it was edited: Liver and tumour: ct" in panel.found._said.text()


def test_the_table_follows_the_brush(panel: Any, found: Labels, settled: Settled, ct: Volume) -> None:
    [_, before] = panel.found.rows()
    n_before = np.count_nonzero(np.asarray(found.data) == 2)
    paint(found)
    settled(panel)
    [_, after] = panel.found.rows()
    n_after = np.count_nonzero(np.asarray(found.data) == 2)
    assert n_after > n_before
    assert after.volume_ml - before.volume_ml == pytest.approx((n_after - n_before) * ct.voxel_ml)
    assert before.mean_probability is not None
    assert after.mean_probability is None
    assert after.cut_by_field_of_view  # the stroke is in the corner


def test_structures_and_layers_can_be_hidden(panel: Any, found: Labels, settled: Settled) -> None:
    line(panel, "liver tumour").setCheckState(0, Qt.CheckState.Unchecked)
    assert found.colormap.color_dict[2][3] == 0
    assert found.colormap.color_dict[1][3] == 1
    settled(panel)
    line(panel, "liver tumour").setCheckState(0, Qt.CheckState.Checked)
    np.testing.assert_allclose(found.colormap.color_dict[2], np.array([0xF0, 0xE4, 0x42, 0xFF]) / 255, atol=1e-3)
    line(panel, "Liver and tumour").setCheckState(0, Qt.CheckState.Unchecked)
    assert not found.visible
    settled(panel)
    found.visible = True
    settled(panel)
    assert line(panel, "Liver and tumour").checkState(0) is Qt.CheckState.Checked


def test_a_structure_can_have_another_colour(panel: Any, found: Labels, settled: Settled) -> None:
    panel.found.set_color(line(panel, "liver tumour"), "#123456")
    settled(panel)
    np.testing.assert_allclose(found.colormap.color_dict[2], np.array([0x12, 0x34, 0x56, 0xFF]) / 255, atol=1e-3)


def test_a_double_click_looks_at_the_structure(viewer: Any, panel: Any, found: Labels) -> None:
    item = line(panel, "liver tumour")
    panel.found.table.itemDoubleClicked.emit(item, 0)
    place = tuple(round(at) for at in found.world_to_data(viewer.dims.point))
    values = np.asarray(found.data)
    assert (values[place[0]] == 2).any()
    center = viewer.scene.camera.center[-2:]
    here = found.world_to_data((viewer.dims.point[0], *center))
    assert values[tuple(round(at) for at in here)] == 2


def test_the_card_says_all_that_is_known(panel: Any, found: Labels) -> None:
    panel.found.table.setCurrentItem(line(panel, "liver tumour"))
    said = panel.found._card.text()
    assert said.startswith("liver tumour: 22.0 ml")
    assert "mean probability 0." in said
    assert "% of its voxels uncertain" in said


def test_saved_answers_are_those_of_the_command_line(
    panel: Any, found: Labels, settled: Settled, ct: Volume, tmp_path: Path
) -> None:
    panel.found.save(tmp_path)
    qt_wait(panel, settled)
    folder = tmp_path / "uniseg-image"
    expected = load_model(device="cpu").open(ct).segment(["liver"])[0]
    written = nib.load(folder / "liver.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj).T, expected.labels)
    facts = json.loads((folder / "liver.json").read_text())
    assert facts["volumes_ml"] == pytest.approx(expected.volumes_ml())
    assert "edited_voxels" not in facts
    assert sorted(path.name for path in folder.iterdir()) == ["liver.json", "liver.nii.gz", "run.json", "volumes.csv"]
    panel.found.save(tmp_path)
    qt_wait(panel, settled)
    assert (tmp_path / "uniseg-image-2").is_dir()


def test_saved_edits_are_counted_and_come_back(panel: Any, found: Labels, settled: Settled, tmp_path: Path) -> None:
    predicted = np.array(found.data)
    paint(found)
    settled(panel)
    panel.found.save(tmp_path)
    qt_wait(panel, settled)
    path = tmp_path / "uniseg-image" / "liver.nii.gz"
    assert json.loads(path.with_name("liver.json").read_text())["edited_voxels"] == np.count_nonzero(predicted != found.data)
    again = Layer.create(*read(str(path))[0])
    np.testing.assert_array_equal(again.data, found.data)
    np.testing.assert_allclose(again.translate, found.translate)
    rows = list(csv.DictReader((tmp_path / "uniseg-image" / "volumes.csv").read_text().splitlines()))
    assert [row["mean_probability"] for row in rows] == ["", ""]


def qt_wait(panel: Any, settled: Settled) -> None:
    """Until it is written."""
    from pytestqt.qtbot import QtBot

    QtBot(None).waitUntil(
        lambda: "Saved in" in panel.found._said.text() or "cannot" in panel.found._said.text(), timeout=LONG_MS
    )
    panel.found._said.setText("")
    settled(panel)


def test_a_folder_that_cannot_be_written_is_told(panel: Any, found: Labels, tmp_path: Path, qtbot: Any) -> None:
    (tmp_path / "file").write_text("")
    panel.found.save(tmp_path / "file")
    qtbot.waitUntil(lambda: "is a file" in panel.found._said.text(), timeout=LONG_MS)


def test_the_volumes_can_be_taken_away_as_csv(panel: Any, found: Labels, tmp_path: Path) -> None:
    panel.found.save_csv(tmp_path / "volumes.csv")
    rows = list(csv.DictReader((tmp_path / "volumes.csv").read_text().splitlines()))
    assert [row["structure"] for row in rows] == ["liver", "liver tumour"]
    assert float(rows[1]["volume_ml"]) == pytest.approx(22.0)


def test_the_layer_menu_saves_the_same(viewer: Any, found: Labels, tmp_path: Path) -> None:
    [written] = _saved(found, tmp_path / "liver.nii.gz")
    assert written == str(tmp_path / "liver.nii.gz")
    kept = answer_of(found)
    np.testing.assert_array_equal(kept.placed.to_layer(np.asanyarray(nib.load(written).dataobj).T), found.data)


def _saved(layer: Labels, path: Path) -> list[str]:
    viewer_layer = getattr(layer, "__wrapped__", layer)
    return viewer_layer.save(str(path), plugin="uniseg-app")


def test_a_layer_that_is_removed_leaves_the_table(viewer: Any, panel: Any, found: Labels, settled: Settled) -> None:
    viewer.layers.remove(found)
    settled(panel)
    assert panel.found.rows() == []
