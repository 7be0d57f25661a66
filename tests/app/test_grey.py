"""Which grey values are shown: those of the task and the usual ones of a CT, robust ones of anything else."""

from __future__ import annotations

import numpy as np
import pytest
from orientations import oriented_affine

from uniseg_app.grey import CT_WINDOWS, grey_windows, is_ct
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Source, Volume


def volume_of(array: np.ndarray, modality: str = "") -> Volume:
    return Volume(np.asarray(array, np.float32)[None], oriented_affine("RAS", (1, 1, 1)), Source(modality=modality))


@pytest.mark.parametrize(
    ("modality", "low", "high", "answer"),
    [("CT", -1000, 1000, True), ("", -1000, 1000, True), ("MR", -1000, 1000, False), ("", 0, 1000, False), ("CT", 0, 1, False)],
)
def test_hounsfield_units_are_told_by_the_modality_or_the_range(modality: str, low: float, high: float, answer: bool) -> None:
    assert is_ct(volume_of(np.linspace(low, high, 8).reshape(2, 2, 2), modality=modality)) is answer


def test_a_ct_is_windowed_as_its_task_says() -> None:
    tasks = builtin_tasks()
    ct = volume_of(np.linspace(-1000, 1000, 27).reshape(3, 3, 3), modality="CT")
    windows = grey_windows(ct, [tasks["lung"], tasks["spleen"]])
    assert list(windows) == ["Lung tumour", "Spleen", *CT_WINDOWS, "All values"]
    assert windows["Lung tumour"] == (-1350, 150)
    assert windows["All values"] == (-1000, 1000)
    assert list(grey_windows(ct)) == [*CT_WINDOWS, "All values"]


def test_an_mr_is_windowed_between_robust_percentiles_of_what_is_not_air() -> None:
    values = np.zeros(2000)
    values[1000:] = np.arange(1000) + 1
    values[-1] = 1e6  # one hot voxel must not darken all the others
    windows = grey_windows(volume_of(values.reshape(10, 10, 20), modality="MR"), [builtin_tasks()["prostate"]])
    assert windows == {"Most values": pytest.approx((11.0, 995.0), abs=1), "All values": (0.0, 1e6)}


def test_a_flat_image_has_a_window_too() -> None:
    assert grey_windows(volume_of(np.full((2, 2, 2), 7.0))) == {"Most values": (7, 8), "All values": (7, 8)}


def test_voxels_that_are_no_numbers_do_not_hide_the_others() -> None:
    values = np.arange(1, 1001, dtype=float).reshape(10, 10, 10)
    values[0, 0, 0] = np.nan
    low, high = grey_windows(volume_of(values, modality="MR"))["Most values"]
    assert 1 < low < 20
    assert 980 < high < 1000
