"""What runs on a GPU, run on a CPU: the same code with tensors that lie here. Speed is nobody's business in these tests."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orientations import oriented_affine
from tiny import TINY, tiny_checkpoint

from uniseg_model import resample
from uniseg_model.blend import Blend
from uniseg_model.engines.rules import Shuffled
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.predictor import Options, Predictor
from uniseg_model.preprocess import Prepared, Recipe, Restored, prepare
from uniseg_model.progress import ignore_progress
from uniseg_model.prompts.changes import Zero
from uniseg_model.regions import OneWindow
from uniseg_model.resample import resample_image, restored_slabs
from uniseg_model.run import Run
from uniseg_model.volume import Volume
from uniseg_model.windows import Layout

Shape = tuple[int, int, int]
SIDES = st.tuples(*[st.integers(1, 14)] * 3)
SEED = st.integers(0, 2**32 - 1)
CPU = torch.device("cpu")
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def chances(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities that sum to 1 over the first axis."""
    values = np.random.default_rng(seed).random(shape).astype(np.float32)
    return values / values.sum(axis=0)


def whole(probabilities: Any, shape: Shape, apart: int | None) -> np.ndarray:
    return np.concatenate([np.asarray(values) for _, values in restored_slabs(probabilities, shape, apart)], axis=1)


def both_ways(prepared: Prepared, probabilities: np.ndarray) -> tuple[Restored, Restored]:
    given = torch.from_numpy(probabilities.copy())
    return prepared.restore(probabilities, confidence=True), prepared.restore(given, confidence=True)


# The way in ------------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED, st.sampled_from([None, 0, 1, 2]))
@example((1, 1, 1), (3, 3, 3), 1, None)
@example((5, 4, 4), (9, 4, 4), 2, 0)  # only the coarse axis changes
@example((5, 4, 4), (5, 7, 3), 1, 0)  # only the planes change
@example((12, 12, 12), (1, 1, 1), 4, None)
def test_torch_resamples_an_image_as_numpy_does(old: Shape, new: Shape, seed: int, apart: int | None) -> None:
    """Values of a CT: both in float64, so at most the last bit of a float32 is rounded the other way."""
    image = (np.random.default_rng(seed).standard_normal(old) * 500).astype(np.float32)
    found = resample_image(image, new, apart, CPU)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, resample_image(image, new, apart), rtol=1.2e-7, atol=1e-9)


def test_long_sides_and_small_slabs_give_the_same_image(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Sides of several bands of 64 rows, and an array that is turned, flipped and may only be read."""
    image = rng.normal(0, 300, (20, 150, 11)).astype(np.float32).transpose(2, 1, 0)[::-1]
    image.flags.writeable = False
    monkeypatch.setattr("uniseg_model.resample_torch.TENSOR_VOXELS", 5000)
    np.testing.assert_allclose(
        resample_image(image, (7, 140, 31), None, CPU), resample_image(image, (7, 140, 31), None), rtol=1.2e-7
    )


@pytest.mark.parametrize("rule", ["hu", "zscore"])
@pytest.mark.parametrize("zyx_mm", [(2.0, 1.0, 1.25), (5.0, 1.0, 1.0), (3.0, 1.5, 1.5)])
def test_a_scan_is_prepared_the_same(zyx_mm: Any, rule: str, rng: np.random.Generator) -> None:
    """A crop with a missing value, turned: the prepared arrays are within 1e-6 of each other, as values up to 5 are."""
    image = np.zeros((14, 20, 18), np.float32)
    image[1:12, 2:17, 3:15] = rng.normal(0, 300, (11, 15, 12))
    image[4, 4, 4] = np.nan
    volume, recipe = Volume(image[None], oriented_affine("PIR", zyx_mm)), Recipe((3.0, 1.5, 1.5), (rule,), "RAS")
    found, expected = prepare(volume, recipe, CPU), prepare(volume, recipe)
    assert (found.box, found.shape) == (expected.box, expected.shape)
    np.testing.assert_allclose(found.array, expected.array, rtol=1e-6, atol=1e-6)


def test_an_image_that_does_not_fit_on_the_gpu_is_resampled_on_the_cpu(
    model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def full(out: np.ndarray, image: np.ndarray, apart: int | None, device: torch.device) -> None:
        asked.append(device.type)
        raise OUT_OF_MEMORY

    monkeypatch.setattr("uniseg_model.resample_torch.resample_into", full)
    run = Run(model.open(ct), [model.checkpoint.tasks["liver"]], Options(), ignore_progress)
    run.engine = SimpleNamespace(device=torch.device("cuda"))
    prepared = run.prepared(run.recipe(run.tasks[0]))
    assert asked == ["cuda"]
    assert run.notes[-1:] == ["the image did not fit into the GPU's memory and was resampled on the CPU"]
    assert np.array_equal(prepared.array, prepare(ct, prepared.recipe).array)


# The engine ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> TorchEngine:
    return TorchEngine(tiny_checkpoint(config=replace(TINY, window=(32, 32, 32), features=(2, 2, 2, 2, 2, 2))).network(), "cpu")


def answers(engine: TorchEngine, told: list[float]) -> list[torch.Tensor]:
    """Of two windows, mirrored, under a place, and a rule that is told of the mirroring."""
    windows = torch.randn(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    return engine.run(windows, [0, Shuffled(4)], mirror=True, tick=told.append)


def seen_by(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, most: int = 99) -> list[int]:
    """How many windows are encoded at once; with more than ``most`` memory runs out."""
    batches, encode = list[int](), engine._net.encode

    def watched(windows: torch.Tensor) -> Any:
        if len(windows) > most:
            raise OUT_OF_MEMORY
        batches.append(len(windows))
        return encode(windows)

    monkeypatch.setattr(engine._net, "encode", watched)
    return batches


@pytest.mark.parametrize(("at_once", "batches"), [(3, [6, 6, 4]), (8, [16])])
def test_mirrored_copies_in_one_batch_give_the_answer_of_one_by_one(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, at_once: int, batches: list[int]
) -> None:
    one_by_one, told = answers(engine, []), list[float]()
    monkeypatch.setattr(engine, "_flips_at_once", lambda n_windows: at_once)
    seen = seen_by(engine, monkeypatch)
    for a, b in zip(answers(engine, told), one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert seen == batches
    assert told == pytest.approx(np.arange(1, 2 * len(batches) + 1) / (2 * len(batches)))  # two prompts


def test_when_memory_runs_out_fewer_copies_are_computed_at_once_and_it_is_remembered(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = answers(engine, [])
    monkeypatch.setattr(engine, "_flips_at_once", lambda n_windows: engine._most_flips)
    seen = seen_by(engine, monkeypatch, most=4)
    for a, b in zip(answers(engine, []), one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert seen == [4] * 4  # two copies of two windows, after 8 and 4 copies did not fit
    assert engine._most_flips == 2


def test_memory_that_runs_out_with_one_copy_is_the_callers_to_know(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_by(engine, monkeypatch, most=1)
    with pytest.raises(torch.OutOfMemoryError):
        answers(engine, [])
    assert seen == []


def test_the_cpu_is_one_decoding_ahead_of_a_gpu_and_no_more(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four decodings: at the first tick nothing is waited for, at each later one the decoding before."""
    done: list[str] = []

    class Stream:
        n = 0

        def record_event(self) -> SimpleNamespace:
            self.n += 1
            return SimpleNamespace(synchronize=lambda n=self.n: done.append(f"decoding {n}"))

    stream = Stream()
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: stream)
    engine.device = torch.device("cuda")
    for tick in range(4):
        engine._wait_for_last()
        done.append(f"tick {tick + 1}")
    assert done == ["tick 1", "decoding 1", "tick 2", "decoding 2", "tick 3", "decoding 3", "tick 4"]


@pytest.mark.parametrize(("n_windows", "room", "at_once"), [(1, 8, 8), (2, 8, 4), (3, 8, 2), (8, 8, 1), (8, 2, 1), (1, 5, 5)])
def test_copies_fill_what_windows_leave_of_a_gpu_and_none_on_a_cpu(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, n_windows: int, room: int, at_once: int
) -> None:
    monkeypatch.setattr(engine, "best_batch", lambda: room)
    assert engine._flips_at_once(n_windows) == 1
    engine.device = torch.device("cuda")
    assert engine._flips_at_once(n_windows) == at_once


# The way back ----------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None, derandomize=True)
@given(SIDES, SIDES, SEED, st.sampled_from([None, 0, 1, 2]))
@example((1, 1, 1), (3, 3, 3), 1, None)
@example((5, 4, 4), (9, 4, 4), 2, 0)  # only the coarse axis changes
@example((5, 4, 4), (5, 7, 3), 1, 0)  # only the planes change
@example((4, 5, 6), (4, 5, 6), 1, 1)  # nothing changes
@example((13, 14, 12), (1, 1, 1), 4, None)
def test_tensors_are_resampled_as_arrays_are(old: Shape, new: Shape, seed: int, apart: int | None) -> None:
    """Both in float64; the last bit of a float32 may be rounded the other way: 6e-8 of a probability."""
    probabilities = chances(seed, (3, *old))
    expected, found = whole(probabilities, new, apart), whole(torch.from_numpy(probabilities.copy()), new, apart)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-8)


def test_halves_and_doubles_by_hand() -> None:
    line = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    assert whole(line, (4, 1, 1), None).ravel().tolist() == [0, 0.25, 0.75, 1]  # centres at -0.25, 0.25, 0.75, 1.25
    assert whole(line, (1, 1, 1), None).ravel().tolist() == [0.5]
    assert whole(line, (4, 1, 1), 0).ravel().tolist() == [0, 0, 1, 1]


def test_small_slabs_give_the_same_tensor_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.from_numpy(chances(6, (3, 7, 8, 9)))
    at_once = whole(probabilities, (15, 6, 11), None)
    monkeypatch.setattr(resample, "TENSOR_VOXELS", 700)
    assert len(list(restored_slabs(probabilities, (15, 6, 11), None))) == 15
    assert np.array_equal(whole(probabilities, (15, 6, 11), None), at_once)


@pytest.mark.parametrize(
    ("code", "zyx_mm", "new_mm"),
    [
        ("RAS", (2.0, 1.0, 1.25), (3.0, 1.5, 1.5)),
        ("PIR", (5.0, 1.0, 1.0), (3.0, 1.5, 1.5)),  # apart by the image
        ("LPS", (2.0, 1.0, 1.0), (8.0, 1.5, 1.5)),  # apart by the recipe
        ("RAS", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),  # nothing changes
    ],
)
def test_labels_and_confidence_of_a_crop_come_back_the_same(code: str, zyx_mm: Any, new_mm: Any) -> None:
    image = np.zeros((24, 30, 28), np.float32)
    image[2:21, 3:27, 5:25] = 1
    prepared = prepare(Volume(image[None], oriented_affine(code, zyx_mm)), Recipe(new_mm, ("hu",), "axial"))
    expected, found = both_ways(prepared, chances(7, (4, *prepared.shape)))
    assert found.labels.flags.c_contiguous
    assert len(np.unique(found.labels)) == 4
    assert np.array_equal(found.labels, expected.labels)
    for name in ("probability", "margin"):
        a, b = getattr(expected, name).astype(int), getattr(found, name).astype(int)
        assert np.abs(a - b).max() <= 1
        assert np.mean(a != b) < 1e-3  # half-way between two bytes


def test_ties_of_tensors_go_to_the_lower_class() -> None:
    prepared = prepare(Volume(np.ones((1, 2, 2, 2), np.float32), np.eye(4)), Recipe((1.0, 1.0, 1.0), ("hu",), "stored"))
    probabilities = np.zeros((3, 2, 2, 2), np.float32)
    probabilities[:, 0, 0, 0] = probabilities[1:, 0, 0, 1] = probabilities[2, 0, 1, 0] = 0.25
    expected, found = both_ways(prepared, probabilities)
    assert found.labels[0].tolist() == expected.labels[0].tolist() == [[0, 1], [2, 0]]


def test_a_block_of_windows_in_a_tensor_has_0_beyond() -> None:
    layout = Layout.over((4, 4, 12), (4, 4, 4), 1.0)
    part = layout.nearest((2, 2, 6))
    found = part.on_grid(torch.ones(2, 4, 4, 4))
    assert found.shape == (2, 4, 4, 12)
    assert found[1, 0, 0].tolist() == [0] * 4 + [1] * 4 + [0] * 4


@pytest.fixture
def sums_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class probabilities come as tensors, as on a GPU."""
    means = Blend.means
    monkeypatch.setattr(Blend, "means", lambda blend: [torch.from_numpy(mean) for mean in means(blend)])


KEYS, OPTIONS = ["liver", "spleen"], Options(confidence=True)


@pytest.mark.usefixtures("sums_stay")
def test_a_scan_gets_the_same_labels_from_tensors(model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model.open(ct).segment(KEYS, OPTIONS)
    merged, _ = model.open(ct).segment_as_original(KEYS, Options(spacing_mm=(3.0, 1.5, 1.5)))
    changed = model.open(ct).what_if("liver", Zero(), region=OneWindow((3, 3, 3)))
    monkeypatch.undo()
    expected = model.open(ct).segment(KEYS, OPTIONS)
    assert np.array_equal(
        changed.after.labels, model.open(ct).what_if("liver", Zero(), region=OneWindow((3, 3, 3))).after.labels
    )
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a.labels, b.labels)
        assert a.record.notes == b.record.notes
    assert np.array_equal(
        merged.labels, model.open(ct).segment_as_original(KEYS, Options(spacing_mm=(3.0, 1.5, 1.5)))[0].labels
    )


@pytest.mark.usefixtures("sums_stay")
def test_a_way_back_that_does_not_fit_on_the_gpu_goes_on_on_the_cpu(
    model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OUT_OF_MEMORY

    monkeypatch.setattr("uniseg_model.resample_torch.restored_rows", full)
    found = model.open(ct).segment(KEYS, OPTIONS)
    note = "memory ran out on the way back to the image's grid; it went on on the CPU"
    assert list(found[0].record.notes).count(note) == 1
    monkeypatch.undo()
    for a, b in zip(found, model.open(ct).segment(KEYS, OPTIONS), strict=True):
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.probability, b.probability)


@pytest.mark.usefixtures("sums_stay")
def test_other_troubles_on_the_way_back_are_not_taken_for_it(
    model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("uniseg_model.resample_torch.restored_rows", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        model.open(ct).segment(KEYS)
