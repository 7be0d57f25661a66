"""Data sets of one's own, and how corrections of their cases went."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uniseg_app.outputs import free_name
from uniseg_app.own_data import (
    Correction,
    corrections_in,
    is_data_set,
    my_data_folder,
    my_data_sets,
    pack_of,
    task_in,
)
from uniseg_model.errors import FileFormatError
from uniseg_model.record import RunRecord
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import Label, Task
from uniseg_model.training.corrected import add_case
from uniseg_model.volume import Volume

GLAND = Task("gland", "Gland", ("CT",), (Label("gland", "#0072B2"), Label("duct", "#E69F00")), (2.0, 2.0, 2.0), ("hu",))


def a_volume() -> Volume:
    return Volume(np.ones((1, 4, 5, 6), np.float32), np.diag([-2.0, -2.0, 2.0, 1.0])[[2, 1, 0, 3]][:, [2, 1, 0, 3]])


def predicted(labels: np.ndarray) -> Segmentation:
    record = RunRecord.__new__(RunRecord)
    object.__setattr__(record, "weights", {"name": "demo"})
    return Segmentation(GLAND, labels, a_volume(), record)


def test_corrections_are_told_in_their_order_with_dice_by_hand() -> None:
    folder = my_data_folder() / "gland"
    truth = np.zeros((4, 5, 6), np.uint8)
    truth[0, 0, :4] = 1
    worse, better = truth.copy(), truth.copy()
    worse[0, 0, 2:4] = 0  # 2 of 4 voxels found: Dice 2 * 2 / (2 + 4)
    better[0, 0, 3] = 0  # 3 of 4: 2 * 3 / (3 + 4)
    add_case(folder, a_volume(), truth, GLAND, predicted(worse))
    add_case(folder, a_volume(), truth, GLAND)  # painted, not corrected
    add_case(folder, a_volume(), truth, GLAND, predicted(better))
    assert corrections_in(folder) == [
        Correction("gland_0000", 2, pytest.approx(2 / 3)),
        Correction("gland_0002", 1, pytest.approx(6 / 7)),
    ]
    assert my_data_sets() == [folder]
    assert task_in(folder) == GLAND
    assert pack_of("gland", None) is None


def test_what_is_no_data_set(tmp_path: Path) -> None:
    assert my_data_sets() == []
    assert not is_data_set(tmp_path)
    assert not is_data_set(tmp_path / "none")
    assert task_in(tmp_path) is None
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"provenance.json is damaged"):
        corrections_in(tmp_path)


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert free_name(tmp_path, "gland", "_") == tmp_path / "gland"
    (tmp_path / "gland").mkdir()
    (tmp_path / "gland_2").mkdir()
    assert free_name(tmp_path, "gland", "_") == tmp_path / "gland_3"
