"""The sliding window with known functions as networks, so that every number can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from uniseg_model.engines import Tick
from uniseg_model.errors import OptionError, OutOfMemoryError
from uniseg_model.progress import Cancelled, Progress, ignore_progress
from uniseg_model.sliding import Blend, Sweep, _step_down, is_out_of_memory, sweep_windows
from uniseg_model.windows import importance, padding, window_starts


class FormulaEngine:
    """An engine whose 'network' is a formula of the window; it can pretend to run out of memory."""

    name, precision = "formula", "float32"
    device = torch.device("cpu")

    def __init__(self, window: tuple[int, int, int], formula: Callable[[Tensor, int], Tensor], most: int = 99) -> None:
        self.window, self.formula, self.most = window, formula, most
        self.batches: list[int] = []

    def best_batch(self) -> int:
        return 1

    def window_bytes(self) -> int:
        return 0

    def free_gb(self) -> float | None:
        return None

    def run(self, windows: Tensor, places: Sequence[int], *, mirror: bool, tick: Tick) -> list[Tensor]:
        if len(windows) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.batches.append(len(windows))
        outputs = []
        for i, place in enumerate(places):
            outputs.append(self.formula(windows, place))
            tick((i + 1) / len(places))
        return outputs


def one_more(windows: Tensor, place: int) -> Tensor:
    """x + 1 + place in every class: a pointwise network must come back unchanged by windows and weights."""
    return (windows[:, :1] + 1 + place).expand(-1, 3, -1, -1, -1)


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 17, 23), (3, 30, 5), (1, 1, 1), (8, 12, 8)])
def test_pointwise_network_comes_back_exactly(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, *shape)).astype(np.float32)
    engine = FormulaEngine((8, 8, 8), one_more)
    [first, second], notes = sweep_windows(engine, array, Sweep((0, 5), (3, 2)), ignore_progress)
    assert (first.shape, second.shape) == ((3, *shape), (2, *shape))
    np.testing.assert_allclose(first[1], array[0] + 1, atol=1e-5)
    np.testing.assert_allclose(second[0], array[0] + 6, atol=1e-5)
    assert notes == []


def test_overlapping_windows_are_averaged_with_gaussian_weights(rng: np.random.Generator) -> None:
    """A network that is not pointwise, against the slow obvious version."""
    array = rng.normal(size=(1, 11, 14, 9)).astype(np.float32)
    window = (8, 8, 8)

    def centred(windows: Tensor, place: int) -> Tensor:
        return (windows - windows.mean((2, 3, 4), keepdim=True)).expand(-1, 2, -1, -1, -1)

    [found], _ = sweep_windows(FormulaEngine(window, centred), array, Sweep((0,), (2,), step=0.5), ignore_progress)
    total, weights = np.zeros((11, 14, 9)), np.zeros((11, 14, 9))
    for start in window_starts((11, 14, 9), window, 0.5):
        place = tuple(slice(at, at + 8) for at in start)
        part = array[0][place].astype(np.float64)
        total[place] += (part - part.mean()) * importance(window)
        weights[place] += importance(window)
    np.testing.assert_allclose(found[0], total / weights, atol=1e-5)


def test_lone_window_is_not_weighted() -> None:
    array = np.ones((1, 8, 8, 8), np.float32)
    tiny = 1e-30  # would drown in a weighted sum
    [found], _ = sweep_windows(FormulaEngine((8, 8, 8), lambda w, _: w * tiny), array, Sweep((0,), (1,)), ignore_progress)
    assert (found == np.float32(tiny)).all()


def test_small_image_is_padded_with_zeros_and_cut_back() -> None:
    seen = []

    def watch(windows: Tensor, place: int) -> Tensor:
        seen.append(windows.clone())
        return windows

    array = np.ones((1, 5, 8, 3), np.float32)
    [found], _ = sweep_windows(FormulaEngine((8, 8, 8), watch), array, Sweep((0,), (1,)), ignore_progress)
    assert found.shape == (1, 5, 8, 3)
    assert padding((5, 8, 3), (8, 8, 8)) == [(1, 2), (0, 0), (2, 3)]
    assert seen[0].sum() == 5 * 8 * 3
    assert seen[0][0, 0, 1:6, :, 2:5].min() == 1


@pytest.mark.parametrize("batch", [1, 2, 5, 50])
def test_batches_do_not_change_the_answer(batch: int, rng: np.random.Generator) -> None:
    array = rng.normal(size=(1, 12, 20, 12)).astype(np.float32)
    [one], _ = sweep_windows(FormulaEngine((8, 8, 8), one_more), array, Sweep((0,), (1,)), ignore_progress)
    [many], _ = sweep_windows(FormulaEngine((8, 8, 8), one_more), array, Sweep((0,), (1,), batch=batch), ignore_progress)
    assert np.array_equal(one, many)


def test_out_of_memory_halves_the_batch_and_says_so(rng: np.random.Generator) -> None:
    array = rng.normal(size=(1, 16, 16, 16)).astype(np.float32)
    engine = FormulaEngine((8, 8, 8), one_more, most=2)
    [found], notes = sweep_windows(engine, array, Sweep((0,), (1,), batch=8), ignore_progress)
    np.testing.assert_allclose(found[0], array[0] + 1, atol=1e-5)
    assert notes == [
        "memory ran out with 8 windows at once; went on with 4",
        "memory ran out with 4 windows at once; went on with 2",
    ]
    assert sum(engine.batches) == 27


def test_when_nothing_is_left_to_give_up_the_error_says_what_helps() -> None:
    engine = FormulaEngine((8, 8, 8), one_more, most=0)
    with pytest.raises(OutOfMemoryError, match=r"one window at a time: CUDA out of memory.*--device cpu"):
        sweep_windows(engine, np.ones((1, 8, 8, 8), np.float32), Sweep((0,), (1,)), ignore_progress)


def test_other_errors_are_not_taken_for_out_of_memory() -> None:
    def broken(windows: Tensor, place: int) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        sweep_windows(
            FormulaEngine((8, 8, 8), broken), np.ones((1, 8, 8, 8), np.float32), Sweep((0,), (1,), batch=4), ignore_progress
        )


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("out of memory is mentioned here, but this is another error"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_only_a_true_out_of_memory_counts(exc: Exception, expected: bool) -> None:
    assert is_out_of_memory(exc) is expected


def test_torch_really_words_its_cpu_allocator_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_progress_rises_and_ends_at_the_number_of_windows() -> None:
    told: list[Progress] = []
    sweep_windows(FormulaEngine((8, 8, 8), one_more), np.ones((1, 16, 8, 8), np.float32), Sweep((0, 1), (1, 1)), told.append)
    assert {(p.stage, p.total) for p in told} == {("predict", 3)}
    assert [p.done for p in told] == [0, 0.5, 1, 1.5, 2, 2.5, 3]


def test_cancel_ends_within_one_window() -> None:
    engine = FormulaEngine((8, 8, 8), one_more)

    def stop_in_second(progress: Progress) -> None:
        if progress.done > 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        sweep_windows(engine, np.ones((1, 40, 40, 8), np.float32), Sweep((0, 1), (1, 1)), stop_in_second)
    assert engine.batches == [1, 1]


@pytest.mark.parametrize("step", [0, -0.5, 1.5, float("nan")])
def test_step_outside_its_range_is_refused(step: float) -> None:
    with pytest.raises(OptionError, match="window step must be above 0 and at most 1"):
        sweep_windows(
            FormulaEngine((8, 8, 8), one_more), np.ones((1, 8, 8, 8), np.float32), Sweep((0,), (1,), step), ignore_progress
        )


def test_error_without_a_word_is_named_by_its_type() -> None:
    def lack(windows: Tensor, place: int) -> Tensor:
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match="one window at a time: MemoryError"):
        sweep_windows(FormulaEngine((8, 8, 8), lack), np.ones((1, 8, 8, 8), np.float32), Sweep((0,), (1,)), ignore_progress)


def test_with_one_window_at_once_the_sums_leave_the_gpu() -> None:
    blend = Blend((8, 8, 8), [2], torch.device("cpu"))
    blend.sums[0] += 3
    blend.device = torch.device("cuda")  # as if they lay there
    notes: list[str] = []
    assert _step_down(1, blend, notes, torch.OutOfMemoryError("CUDA out of memory")) == 1
    assert notes == ["memory ran out with one window at once; the sums moved to the CPU"]
    assert blend.device.type == "cpu"
    assert blend.sums[0].min() == 3


def test_a_preview_shows_the_windows_that_are_done_and_the_nearest_are_done_first() -> None:
    """The network says class 1 everywhere; windows of 4 every 4 over 12, the voxel asked for lies in the last."""
    seen = []

    def look(progress: Progress) -> None:
        if progress.preview is not None:
            seen.append(progress.preview()["liver"][:, 0, 0].tolist())

    def ones(windows: Tensor, place: int) -> Tensor:
        return torch.stack([torch.zeros_like(windows[:, 0]), torch.ones_like(windows[:, 0])], dim=1)

    sweep = Sweep((0,), (2,), step=1.0, focus=(11, 0, 0))
    array = np.zeros((1, 12, 4, 4), np.float32)
    [whole], _ = sweep_windows(FormulaEngine((4, 4, 4), ones), array, sweep, look, lambda found: {"liver": found[0]})
    assert seen == [[0] * 12, [0] * 8 + [1] * 4, [0] * 4 + [1] * 8]
    assert (whole[1] == 1).all()
