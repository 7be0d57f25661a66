"""The sliding window with known functions as networks, so that every number can be checked by hand."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_checkpoint
from torch import Tensor

from uniseg_model.blend import Blend
from uniseg_model.engines import Tick
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.errors import OptionError, OutOfMemoryError
from uniseg_model.memory import is_out_of_memory
from uniseg_model.progress import Cancelled, Progress, ignore_progress
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.windows import Layout, importance, padding, window_starts


class FormulaEngine:
    """An engine whose 'network' is a formula of the window; it can pretend to run out of memory."""

    name, precision, encoding = "formula", "float32", 0.0
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


def slope(*shape: int) -> np.ndarray:
    """(1, z, y, x) with another value in each voxel, so that no window is constant."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 17, 23), (3, 30, 5), (1, 1, 1), (8, 12, 8)])
def test_pointwise_network_comes_back_exactly(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, *shape)).astype(np.float32)
    engine = FormulaEngine((8, 8, 8), one_more)
    [first, second], notes = sweep_windows(engine, array, Sweep((0, 5), (3, 2)), ignore_progress)
    assert (first.shape, second.shape) == ((3, *shape), (2, *shape))
    np.testing.assert_allclose(first[1], array[0] + 1, atol=1e-5)
    np.testing.assert_allclose(second[0], array[0] + 6, atol=1e-5)
    assert notes == []


def test_an_array_that_may_only_be_read_is_taken_as_well(rng: np.random.Generator) -> None:
    array = rng.normal(size=(1, 12, 12, 12)).astype(np.float32)
    array.flags.writeable = False  # as a prepared array that lies in a file
    [found], _ = sweep_windows(FormulaEngine((8, 8, 8), one_more), array, Sweep((0,), (3,)), ignore_progress)
    np.testing.assert_allclose(found[0], array[0] + 1, atol=1e-5)


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
    sweep_windows(FormulaEngine((8, 8, 8), one_more), slope(16, 8, 8), Sweep((0, 1), (1, 1)), told.append)
    assert {(p.stage, p.total) for p in told} == {("predict", 3)}
    assert [p.done for p in told] == [0, 0.5, 1, 1.5, 2, 2.5, 3]


def test_cancel_ends_within_one_window() -> None:
    engine = FormulaEngine((8, 8, 8), one_more)

    def stop_in_second(progress: Progress) -> None:
        if progress.done > 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        sweep_windows(engine, slope(40, 40, 8), Sweep((0, 1), (1, 1)), stop_in_second)
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


class BlendOnGpu(Blend):
    """Sums that say they lie on a GPU, while they do not say otherwise."""

    def __post_init__(self) -> None:
        said, self.device = self.device, torch.device("cpu")
        super().__post_init__()
        self.device = said

    def add(self, start: tuple[int, int, int], outputs: Sequence[Tensor], weight: Tensor) -> None:
        said, self.device = self.device, torch.device("cpu")
        super().add(start, outputs, weight)
        self.device = said


class EngineOnGpu(FormulaEngine):
    """Runs out of memory once for each of these batches."""

    device = torch.device("cuda")
    lacks: Sequence[int] = ()

    def run(self, windows: Tensor, places: Sequence[int], *, mirror: bool, tick: Tick) -> list[Tensor]:
        if len(windows) in self.lacks:
            self.lacks = [n for n in self.lacks if n != len(windows)]
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().run(windows, places, mirror=mirror, tick=tick)


@pytest.mark.parametrize("lacks", [(), (4,), (4, 2, 1)])
def test_memory_of_a_gpu_that_runs_out_costs_windows_at_once_and_then_the_place_of_the_sums(
    lacks: Sequence[int], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = rng.normal(size=(1, 16, 16, 16)).astype(np.float32)
    sweep = Sweep((0,), (1,), batch=4)
    [expected], _ = sweep_windows(FormulaEngine((8, 8, 8), one_more), array, sweep, ignore_progress)
    monkeypatch.setattr("uniseg_model.sliding.Blend", BlendOnGpu)
    engine = EngineOnGpu((8, 8, 8), one_more)
    engine.lacks = lacks
    [found], notes = sweep_windows(engine, array, sweep, ignore_progress)
    assert isinstance(found, np.ndarray if 1 in lacks else Tensor)  # on the GPU, or all the way back on the CPU
    assert np.array_equal(found, expected)
    assert (
        notes
        == [
            "memory ran out with 4 windows at once; went on with 2",
            "memory ran out with 2 windows at once; went on with 1",
            "memory ran out with one window at once; the sums moved to the CPU",
        ][: len(lacks)]
    )


def test_sums_that_do_not_fit_on_a_gpu_are_kept_on_the_cpu(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    array = rng.normal(size=(1, 12, 8, 8)).astype(np.float32)

    def full(shape: tuple[int, int, int], n_classes: Sequence[int], device: torch.device, on_disk: bool = False) -> Blend:
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return Blend(shape, n_classes, device, on_disk)

    monkeypatch.setattr("uniseg_model.sliding.Blend", full)
    [found], notes = sweep_windows(EngineOnGpu((8, 8, 8), one_more), array, Sweep((0,), (1,)), ignore_progress)
    np.testing.assert_allclose(found[0], array[0] + 1, atol=1e-5)
    assert notes == ["the sums did not fit on the GPU and are kept on the CPU"]


def test_a_preview_shows_the_windows_that_are_done_and_the_nearest_are_done_first() -> None:
    """The network says class 1 everywhere; windows of 4 every 4 over 12, the voxel asked for lies in the last."""
    seen = []

    def look(progress: Progress) -> None:
        if progress.preview is not None:
            seen.append(progress.preview()["liver"][:, 0, 0].tolist())

    def ones(windows: Tensor, place: int) -> Tensor:
        return torch.stack([torch.zeros_like(windows[:, 0]), torch.ones_like(windows[:, 0])], dim=1)

    sweep = Sweep((0,), (2,), step=1.0, focus=(11, 0, 0))
    array = slope(12, 4, 4)
    [whole], _ = sweep_windows(FormulaEngine((4, 4, 4), ones), array, sweep, look, lambda found: {"liver": found[0]})
    assert seen == [[0] * 12, [0] * 8 + [1] * 4, [0] * 4 + [1] * 8]
    assert (whole[1] == 1).all()


def in_air(*shape: int) -> np.ndarray:
    """(1, z, y, x): air, 0, and in the last eight columns something."""
    array = np.zeros((1, *shape), np.float32)
    array[..., -8:] = slope(*shape)[..., -8:]
    return array


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_equal_constant_windows_are_computed_once(batch: int) -> None:
    """Windows of 8 every 4 over 40 columns: nine, of which those at 28 and 32 see something. Eight and a half batches become one."""
    engine, told = FormulaEngine((8, 8, 8), one_more), list[Progress]()
    sweep = Sweep((0, 5), (3, 2), batch=batch)
    found, _ = sweep_windows(engine, in_air(8, 8, 40), sweep, told.append)
    assert sum(engine.batches) == 3
    every = FormulaEngine((8, 8, 8), one_more)
    slow, _ = sweep_windows(every, in_air(8, 8, 40), replace(sweep, reuse=False), ignore_progress)
    assert sum(every.batches) == 9
    assert all(np.array_equal(a, b) for a, b in zip(found, slow, strict=True))
    done = [p.done for p in told]
    assert done == sorted(done)
    assert (done[0], done[-1], {p.total for p in told}) == (0, 9, {9})


@pytest.mark.parametrize("mirror", [False, True])
def test_what_is_used_again_has_the_bits_of_what_is_computed_again(mirror: bool) -> None:
    """A real network: two prompts, padding along y, windows of 32 every 16 over 96 columns, of which three hold nothing but air."""
    config = replace(TINY, window=(32, 32, 32), features=(2, 2, 2, 2, 2, 2))
    engine = TorchEngine(tiny_checkpoint(config=config).network(), "cpu")
    sweep = Sweep((0, 4), (3, 2), mirror=mirror, batch=1)
    fast, slow = (
        sweep_windows(engine, in_air(32, 30, 96), replace(sweep, reuse=reuse), ignore_progress)[0] for reuse in (True, False)
    )
    assert all(np.array_equal(a, b) for a, b in zip(fast, slow, strict=True))
    assert len(np.unique(fast[0])) > 1000


def test_each_value_is_computed_once_but_not_more_of_them_than_are_kept() -> None:
    """Six slabs of one value each, in the order 0 1 2 3 4 5 0 1 2 3 4 5: the answers of the first four are kept."""
    array = np.repeat(np.tile(np.arange(6, dtype=np.float32), 2), 8)[None, :, None, None] * np.ones((1, 1, 8, 8), np.float32)
    engine = FormulaEngine((8, 8, 8), one_more)
    [found], _ = sweep_windows(engine, array, Sweep((0,), (1,), step=1.0), ignore_progress)
    assert len(engine.batches) == 8
    np.testing.assert_allclose(found[0], array[0] + 1, rtol=1e-6)
    assert Layout.over((96, 8, 8), (8, 8, 8), 1.0).repeats(array) == 12 - 8


def test_memory_that_runs_out_between_constant_windows_costs_no_answer() -> None:
    engine = FormulaEngine((8, 8, 8), one_more, most=1)
    array = np.concatenate([in_air(8, 8, 40), in_air(8, 8, 40)], axis=3)
    [found], notes = sweep_windows(engine, array, Sweep((0,), (1,), batch=4), ignore_progress)
    np.testing.assert_allclose(found[0], array[0] + 1, rtol=1e-6)
    assert notes[-1] == "memory ran out with 2 windows at once; went on with 1"


def test_windows_without_body_are_background_and_the_note_says_how_many() -> None:
    """The network says class 1 everywhere. Windows of 4 side by side, the second of three has a body."""

    def ones(windows: Tensor, place: int) -> Tensor:
        return torch.stack([torch.zeros_like(windows[:, 0]), torch.ones_like(windows[:, 0])], dim=1)

    array, told = np.zeros((1, 4, 4, 12), np.float32), list[Progress]()
    array[..., 4:8] = slope(4, 4, 4)
    engine = FormulaEngine((4, 4, 4), ones)
    [found], notes = sweep_windows(engine, array, Sweep((0,), (2,), step=1.0, body_share=0.1), told.append)
    assert engine.batches == [1]
    assert found[0, 0, 0].tolist() == [1] * 4 + [0] * 4 + [1] * 4
    assert found[1, 0, 0].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert notes == ["2 of 3 windows hold almost no body and were not computed"]
    assert [(p.done, p.total) for p in told] == [(0, 1), (1, 1)]


def test_a_scan_of_nothing_but_air_is_background() -> None:
    engine = FormulaEngine((4, 4, 4), one_more)
    [found], _ = sweep_windows(engine, np.zeros((1, 4, 4, 12), np.float32), Sweep((0,), (3,), body_share=0.1), ignore_progress)
    assert engine.batches == []
    assert found.argmax(axis=0).max() == 0


def test_sums_on_disk_are_the_same_sums_and_leave_nothing_behind(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 x 16 x 12 voxels of five classes and the weights: 4 * 3840 * 6 = 92 kB."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = rng.normal(size=(1, 20, 16, 12)).astype(np.float32)
    previews: list[list[np.ndarray]] = [[], []]
    found = []
    for limit_gb, seen in zip((93e-6, 92e-6), previews, strict=True):

        def look(progress: Progress, seen: list[np.ndarray] = seen) -> None:
            if progress.preview:
                seen.append(progress.preview()["found"])

        sweep = Sweep((0, 3), (3, 2), memory_gb=limit_gb)
        found.append(sweep_windows(FormulaEngine((8, 8, 8), one_more), array, sweep, look, lambda labels: {"found": labels[0]}))
    (in_memory, quiet), (on_disk, told) = found
    assert all(np.array_equal(a, b) for a, b in zip(in_memory, on_disk, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(*previews, strict=True))
    assert (quiet, told) == ([], ["memory is short: the 9.2e-05 GB of sums were kept in a temporary file"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system does not reserve room in files")
def test_a_disk_that_is_full_is_told_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        OutOfMemoryError, match=r"nor their 0\.0 GB into .*No space left on device\. Set TMPDIR to a folder with room"
    ):
        sweep_windows(FormulaEngine((8, 8, 8), one_more), slope(8, 8, 8), Sweep((0,), (1,), memory_gb=0), ignore_progress)
