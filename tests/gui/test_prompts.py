"""The Prompts panel in a real viewer, its buttons pressed: what it shows is what the session says, in its place over the scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QTableWidget
from window import LONG_MS, click, rest, tick, words

from uniseg_app import prompt_words as say
from uniseg_app.napari_plugin.overlays import cells
from uniseg_app.napari_plugin.prompt_asked import BOX, EVERYWHERE
from uniseg_app.napari_plugin.prompt_charts import MatrixView, PlaneView
from uniseg_app.napari_plugin.reader import image_layers
from uniseg_app.napari_plugin.world import Placed
from uniseg_model import Blend, Swap, WholeImage, load_model
from uniseg_model.phantom import make_phantom
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.volume import Volume

Layers = Callable[..., list[Any]]
Look = Callable[..., None]


@pytest.fixture
def prompts(viewer: Any, qtbot: Any) -> Any:
    """The Prompts panel, docked, its weights loaded."""
    from uniseg_app.napari_plugin.prompts import PromptsPanel

    made = PromptsPanel(viewer)
    viewer.window.add_dock_widget(made, name="Prompts")
    rest(qtbot, made)
    return made


@pytest.fixture
def look(prompts: Any, add: Layers, ct: Volume, qtbot: Any) -> Look:
    """Open the small patient, choose a view and what ``set_up`` wants, press the button, wait."""

    def pressed(view: str, set_up: Callable[[Any], None] = lambda asked: None) -> None:
        if not prompts.image.layers:
            add(ct)
        rest(qtbot, prompts)
        prompts.asked.view.setCurrentText(view)
        set_up(prompts.asked)
        click(qtbot, prompts.run.start)
        rest(qtbot, prompts)

    return pressed


def choose(combo: QComboBox, words: str) -> None:
    """Choose an entry as a person does."""
    combo.setCurrentText(words)
    assert combo.currentText() == words
    combo.activated.emit(combo.currentIndex())


def over(viewer: Any, kind: type) -> Any:
    """The one layer of ours that is seen over the scan."""
    [layer] = [layer for layer in viewer.layers if layer.name != "ct" and layer.visible]
    assert isinstance(getattr(layer, "__wrapped__", layer), kind)
    return layer


@pytest.mark.parametrize("code", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_coarse_map_lies_over_the_voxels_it_is_of(code: tuple[int, ...], order: tuple[int, ...]) -> None:
    shape, spacing = (8, 12, 16), (5.0, 2.0, 3.0)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis in range(3):
        affine[order[axis], axis] = code[axis] * spacing[axis]
    affine[:3, 3] = (7, -11, 13)
    volume = Volume(np.random.default_rng(3).normal(size=(1, *shape)).astype(np.float32), affine)
    placed = Placed.of(volume)
    [(data, shown, _)] = image_layers(volume, "ct", ())
    layer = Image(data, **shown)
    to_voxels = np.diag([4.0, 4.0, 4.0, 1.0])
    to_voxels[:3, 3] = 1.5  # the middle of four voxels
    values = np.arange(2 * 3 * 4, dtype=float).reshape(2, 3, 4)
    numbers = cells("map", values, affine @ to_voxels, placed, layer, (0, 24))
    coarse = Image(np.asarray(numbers.array), **numbers.display)
    marks = np.zeros(shape)
    for z, y, x in np.ndindex(values.shape):
        marks[:] = 0
        marks[4 * z : 4 * z + 4, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 1
        middle = np.argwhere(placed.to_layer(marks)).mean(axis=0)
        [cell] = np.argwhere(np.asarray(coarse.data) == values[z, y, x])
        np.testing.assert_allclose(coarse.data_to_world(cell), layer.data_to_world(middle), atol=1e-9)


def test_what_the_weights_learned_is_there_without_an_image(prompts: Any, qtbot: Any) -> None:
    learned = learned_prompts(load_model(device="cpu").checkpoint)
    [matrix, cosine] = prompts.report.findChildren(MatrixView)
    order = learned.tree().order
    a, b = learned.tasks[order[0]].title, learned.tasks[order[1]].title
    told = matrix.told_at(matrix._names_px + 1.5 * matrix._cell_px, 36 + 0.5 * 16)  # the first line's second cell
    assert told == f"{a} and {b}: {learned.similarity()[order[0], order[1]]:.3f}"
    assert cosine.isHidden()
    [plane] = prompts.report.findChildren(PlaneView)
    across, up = learned.plane().points[3]
    assert plane.told_at(*plane._places()[3]) == f"{learned.tasks[3].title}: {across:.2f}, {up:.2f}"
    assert "The decoder never sees these numbers" in words(prompts.report)
    assert "Open a scan" in words(prompts.image)
    prompts.asked.view.setCurrentText(say.CHANGE)
    assert not prompts.run.start.isEnabled()


def test_maps_lie_over_the_scan_and_can_be_subtracted(viewer: Any, prompts: Any, look: Look, ct: Volume) -> None:
    look(say.IMAGE, lambda asked: tick(_Ticks(asked), "liver", "spleen", "colon"))
    [wanted] = load_model(device="cpu").open(ct).prompt_maps(["liver", "spleen", "colon"])
    shown = over(viewer, Image)
    assert shown.name == "Prompt: Liver and tumour"
    assert sorted(np.ravel(shown.data)) == sorted(np.ravel(wanted.of("liver")))
    assert tuple(shown.contrast_limits) == (pytest.approx(wanted.array.min()), pytest.approx(wanted.array.max()))
    choose(prompts.shown, "Spleen")
    choose(prompts.minus, "Colon tumour")
    assert over(viewer, Image) == shown
    assert shown.name == "Prompt: Spleen minus Colon tumour"
    assert sorted(np.ravel(shown.data)) == sorted(np.ravel(wanted.difference("spleen", "colon")))
    assert shown.contrast_limits[0] == -shown.contrast_limits[1]
    assert "do not compare its level from window to window" in words(prompts.report)
    assert [layer.name for layer in prompts.image.layers] == ["ct"]
    assert prompts.image._combo(0, prompts.image.layers[0]).count() == 1  # a map is no scan


def test_its_own_prompt_changes_nothing(viewer: Any, prompts: Any, look: Look) -> None:
    look(say.CHANGE, lambda asked: (choose(asked.change, say.OWN), choose(asked.region, EVERYWHERE)))
    assert not np.asarray(over(viewer, Labels).data).any()
    table = prompts.report.findChild(QTableWidget)
    assert table.item(0, 0).text() == "liver"
    assert table.item(0, 1).text() == table.item(0, 2).text()
    assert table.item(0, 3).text() == "1.000"


def test_a_swap_shows_before_after_difference_and_probability(viewer: Any, prompts: Any, look: Look, ct: Volume) -> None:
    look(say.CHANGE, lambda asked: (choose(asked.other, "Spleen"), choose(asked.region, EVERYWHERE)))
    wanted = load_model(device="cpu").open(ct).what_if("liver", Swap("spleen"), region=WholeImage())
    to_layer = Placed.of(ct).to_layer
    for part, expected in (
        (say.DIFFERENT, wanted.difference),
        (say.BEFORE, wanted.before.labels),
        (say.AFTER, wanted.after.labels),
    ):
        choose(prompts.layer, part)
        np.testing.assert_array_equal(over(viewer, Labels).data, to_layer(expected))
    assert wanted.difference.any()
    assert list(over(viewer, Labels).features["structure"]) == ["", "liver", "liver tumour"]
    choose(prompts.layer, say.PROBABILITY)
    np.testing.assert_array_equal(over(viewer, Image).data, to_layer(wanted.probability_change))
    table = prompts.report.findChild(QTableWidget)
    assert table.item(0, 2).text() == f"{wanted.after.volumes_ml()['liver']:,.1f}"
    assert "the prompt of Spleen" in words(prompts.report)


def test_one_window_in_the_middle_of_the_view_is_quick_and_says_what_it_is(
    prompts: Any, look: Look, qtbot: Any, ct: Volume
) -> None:
    look(say.CHANGE, lambda asked: (choose(asked.change, say.BLEND), choose(asked.other, "Spleen")))
    assert "One window by itself" in words(prompts.report)
    assert "50% of the prompt of Spleen" in words(prompts.report)
    prompts.asked.share.setValue(20)
    prompts.asked.share.sliderReleased.emit()  # it follows by itself
    rest(qtbot, prompts)
    found = prompts._seen[say.CHANGE].found
    assert found.change == Blend("spleen", 1.0)
    voxel = found.after.record.options["voxel"]
    assert all(0 <= at < n for at, n in zip(voxel, ct.shape, strict=True))


def test_a_prompt_for_another_kind_of_image_is_marked_and_warned_of(prompts: Any, look: Look) -> None:
    look(say.CHANGE, lambda asked: choose(asked.other, "Brain tumour (for another kind of image)"))
    assert "is not silent" in words(prompts.report)


def test_another_images_prompt_can_be_told(prompts: Any, look: Look, add: Layers) -> None:
    look(say.CHANGE, lambda asked: choose(asked.change, say.FOREIGN))
    assert "no other image is chosen" in words(prompts)
    add(make_phantom("liver", 8, shape=(32, 40, 48), spacing_mm=(5.0, 5.0, 5.0)).volume, "second")
    look(say.CHANGE, lambda asked: choose(asked.foreign, "second"))
    assert "the prompt of second" in words(prompts.report)
    assert "no other image is chosen" not in words(prompts)


def test_sensitivity_lies_over_the_scan_with_its_caution(viewer: Any, prompts: Any, look: Look) -> None:
    look(say.SENSITIVITY_OF, lambda asked: (choose(asked.structure, "Liver and tumour: liver"), choose(asked.region, BOX)))
    shown = over(viewer, Image)
    assert shown.name == "Sensitivity: liver"
    assert np.isfinite(shown.data).any()
    assert "no explanation of why something was found" in words(prompts.report)


def test_every_view_is_saved_with_its_numbers(prompts: Any, look: Look, qtbot: Any, tmp_path: Path) -> None:
    look(say.IMAGE, lambda asked: tick(_Ticks(asked), "liver", "spleen"))
    prompts.save_to(tmp_path)
    rest(qtbot, prompts)
    look(say.CONTACT_SHEET)
    prompts.save_to(tmp_path)
    rest(qtbot, prompts)
    assert (tmp_path / "uniseg-contact-sheet" / "sheet.pdf").read_bytes().startswith(b"%PDF")
    facts = json.loads((tmp_path / "uniseg-this-image" / "prompts.json").read_text())
    assert facts["image"]["tasks"] == ["liver", "spleen"]
    prompts.asked.view.setCurrentText(say.LEARNED)
    prompts.save_to(tmp_path)
    rest(qtbot, prompts)
    assert len((tmp_path / "uniseg-what-the-weights-learned" / "learned_prompts.csv").read_text().splitlines()) == 1 + 11 * 18
    assert "Saved as" in words(prompts)


def test_a_folder_that_cannot_be_written_is_told(prompts: Any, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    prompts.save_to(tmp_path / "file")
    rest(qtbot, prompts)
    assert "Saved as" not in words(prompts)
    assert "file" in prompts._saved.text()


def test_cancel_keeps_what_was_seen(prompts: Any, look: Look, qtbot: Any) -> None:
    look(say.IMAGE, lambda asked: tick(_Ticks(asked), "liver"))
    seen = prompts._seen[say.IMAGE]
    prompts.asked.view.setCurrentText(say.CONTACT_SHEET)
    tick(_Ticks(prompts.asked), "liver", "kidney", "spleen", "colon")
    click(qtbot, prompts.run.start)
    click(qtbot, prompts.run.cancel)
    rest(qtbot, prompts)
    assert "Cancelled" in words(prompts.run)
    assert prompts._seen[say.IMAGE] is seen
    assert say.CONTACT_SHEET not in prompts._seen


def test_an_error_is_told_and_the_next_look_works(prompts: Any, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("cuDNN is unwell")

    with monkeypatch.context() as patch:
        patch.setattr("uniseg_model.prompts.maps.make_prompt_maps", fail)
        look(say.IMAGE)
    assert "Something went wrong inside: RuntimeError" in words(prompts)
    look(say.IMAGE)
    assert "went wrong" not in words(prompts)
    assert say.IMAGE in prompts._seen


def test_weights_without_prompts_are_told_in_one_sentence(prompts: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(prompts._desk.backend.model().checkpoint.weights, "universal_prompt")
    prompts._load()
    rest(qtbot, prompts)
    assert "hold no universal prompt" in words(prompts)


def test_another_image_takes_the_old_ones_maps_away(viewer: Any, prompts: Any, look: Look, add: Layers, qtbot: Any) -> None:
    look(say.IMAGE, lambda asked: tick(_Ticks(asked), "liver"))
    shown = over(viewer, Image)
    viewer.layers.remove(prompts.image.layers[0])
    rest(qtbot, prompts)
    assert not shown.visible
    assert say.IMAGE not in prompts._seen
    qtbot.waitUntil(lambda: not prompts.run.start.isEnabled(), timeout=LONG_MS)


def test_the_panel_is_narrow_and_scrolls_downwards_only(prompts: Any) -> None:
    assert prompts._area.horizontalScrollBarPolicy() is Qt.ScrollBarPolicy.ScrollBarAlwaysOff
    assert prompts._area.widget().minimumSizeHint().width() <= 330


class _Ticks:
    """The tasks of a panel that are ticked."""

    def __init__(self, asked: Any) -> None:
        self.tasks = asked.tasks
