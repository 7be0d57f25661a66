"""What a run will take, told before it begins."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_model.cost import Cost, Pass, free_memory_gb
from uniseg_model.errors import OutOfMemoryError
from uniseg_model.predictor import Options, Predictor
from uniseg_model.preprocess import Recipe
from uniseg_model.progress import Progress
from uniseg_model.volume import Volume


def test_windows_and_work_by_hand() -> None:
    """12 x 8 x 8 voxels, windows of 8 every 4: two of them. Two tasks and eight flips: 2 * 8 * (2 + 0.35) decodings."""
    sweep = Pass((12, 8, 8), n_channels=1, n_tasks=2, n_classes=5, flips=8)
    assert sweep.windows((8, 8, 8)) == 2
    assert sweep.decodings((8, 8, 8), 0.35) == pytest.approx(37.6)


def test_windows_that_are_known_cost_nothing() -> None:
    """9 windows over 40 columns, 6 of them air like the first: 3 * (1 + 0.35) decodings."""
    sweep = Pass((8, 8, 40), n_channels=1, n_tasks=1, n_classes=2, repeats=6)
    assert sweep.windows((8, 8, 8)) == 9
    assert sweep.decodings((8, 8, 8), 0.35) == pytest.approx(4.05)


def test_air_is_counted_once_the_image_is_prepared(rng: np.random.Generator) -> None:
    """192 columns of the task's own voxels, the first 130 of them air: five windows, three of them all air."""
    array = np.full((1, 32, 64, 192), -1000, np.float32)
    array[..., 130:] = rng.normal(40, 30, (32, 64, 62))
    model = Predictor(tiny_checkpoint(), device="cpu")
    model.decoding_s = 2.0
    session = model.open(Volume(array, np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])))
    assert session.cost(["liver"]).seconds == pytest.approx(2.0 * 5 * 1.35)
    session.prepare(Recipe.of(session.tasks["liver"]))
    assert session.cost(["liver"]).seconds == pytest.approx(2.0 * 3 * 1.35)
    assert session.cost(["liver"]).windows == 5


def test_each_engine_has_its_own_price_of_encoding(rng: np.random.Generator) -> None:
    """One window: decoding it for three tasks takes 3, encoding it as much as the engine says."""
    model = Predictor(tiny_checkpoint(), device="cpu")
    model.decoding_s, model.engine.encoding = 2.0, 1.0
    session = model.open(ct_volume(rng))
    windows = session.cost(["liver"]).windows
    assert session.cost(["liver"]).seconds == pytest.approx(2.0 * windows * (1 + 1))


def test_what_is_saved_is_counted_once(rng: np.random.Generator) -> None:
    model = Predictor(tiny_checkpoint(), device="cpu")
    model.decoding_s = 1.0
    session = model.open(ct_volume(rng))
    prepared = session.prepare(Recipe.of(session.tasks["liver"]))
    first, again = session.cost(["liver"]), session.cost(["liver"])
    assert len(prepared.saved) == 1
    assert (first.windows, first.seconds) == (again.windows, again.seconds)
    session.cost(["liver"], Options(step=1.0))
    assert len(prepared.saved) == 2


def test_memory_by_hand() -> None:
    """1000 voxels of 4 bytes: one channel, five classes and the weights beside each other, or three copies of four channels."""
    assert Pass((10, 10, 10), n_channels=1, n_tasks=2, n_classes=5).bytes() == 28_000
    assert Pass((10, 10, 10), n_channels=4, n_tasks=1, n_classes=4).bytes() == 48_000


def test_sums_that_go_to_disk_are_no_memory() -> None:
    """1000 voxels: 28 000 bytes with sums of 24 000; where these have no room, three copies of 4000 while the array is made."""
    sweep = Pass((10, 10, 10), n_channels=1, n_tasks=2, n_classes=5)
    assert sweep.least_bytes(24e-6) == 28_000
    assert sweep.least_bytes(23e-6) == 12_000


def test_a_grid_smaller_than_a_window_takes_one() -> None:
    assert Pass((3, 4, 5), 1, 1, 2).windows((8, 8, 8)) == 1


@pytest.mark.parametrize("tasks", [["liver"], ["liver", "vertebrae", "spleen"]])
def test_as_many_windows_are_computed_as_were_told(tasks: list[str], rng: np.random.Generator) -> None:
    session = Predictor(tiny_checkpoint(), device="cpu").open(ct_volume(rng))
    told = session.cost(tasks).windows
    seen: list[int] = []

    def count(progress: Progress) -> None:
        if progress.stage == "predict" and progress.done == 0:
            seen.append(progress.total)

    session.segment(tasks, progress=count)
    assert sum(seen) == told == session.cost(tasks).windows


def test_seconds_are_known_after_the_first_run_and_grow_with_the_work(rng: np.random.Generator) -> None:
    model = Predictor(tiny_checkpoint(), device="cpu")
    session = model.open(ct_volume(rng))
    assert session.cost(["liver"]).seconds is None
    session.segment(["liver"])
    one, mirrored = session.cost(["liver"]).seconds, session.cost(["liver"], Options(mirror=True)).seconds
    assert one is not None
    assert mirrored == pytest.approx(8 * one)


def test_what_cannot_fit_is_refused_with_both_numbers() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needs about 9\.0 GB of memory, 1\.5 GB are free\. Close other programs"):
        Cost(windows=3, memory_gb=9.0, free_gb=1.5).check()
    Cost(windows=3, memory_gb=1.0, free_gb=1.5).check()
    Cost(windows=3, memory_gb=9.0).check()


def test_free_memory_is_told_where_the_system_knows() -> None:
    free = free_memory_gb()
    assert free is None or free > 0
