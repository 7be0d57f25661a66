"""What may go wrong in the middle of a training: one sentence each, and nothing that was learned is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uniseg_model.errors import FileFormatError, ModalityError, OutOfMemoryError
from uniseg_model.progress import Progress, ignore_progress
from uniseg_model.training.estimate import measure_step_s
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.trainer import AllScales, Trainer, fresh_network
from uniseg_model.training.troubles import troubles_named

Train = Callable[..., RunFolder]
GPU_WORDS = (  # of torch 2.13
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 9.94 MiB is free. Including "
    "non-PyTorch memory, this process has 7.76 GiB memory in use. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """The data set, to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "own"))


@pytest.fixture
def train(plan: Plan, own: Path, tmp_path: Path) -> Train:
    def run(out: str = "run", *, progress=ignore_progress, **options) -> RunFolder:  # type: ignore[no-untyped-def]
        return run_training(TrainingRequest(own, tmp_path / out, plan, device="cpu", **options), progress)

    return run


def at_step(step: int, do: Callable[[], object]) -> Callable[[Progress], None]:
    def hook(progress: Progress) -> None:
        if progress.stage == "train" and progress.done == step:
            do()

    return hook


def saved(folder: Path) -> dict:
    return torch.load(folder / "last.pt", weights_only=True)


def same(a: Path, b: Path) -> bool:
    mine, other = saved(a)["weights"], saved(b)["weights"]
    return all(torch.equal(mine[name], other[name]) for name in other)


def test_gpu_memory_that_runs_out_is_told_with_a_way_out_and_the_run_goes_on_later(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, calls = Trainer._learn, []

    def full(self: Trainer, *arguments) -> float:  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 6:
            raise torch.OutOfMemoryError(GPU_WORDS)
        return learn(self, *arguments)

    monkeypatch.setattr(Trainer, "_learn", full)
    with pytest.raises(OutOfMemoryError) as told:
        train()
    assert (
        told.value.message == "memory of the GPU ran out in training: 2.00 GiB more were needed, 9.94 MiB of 7.79 GiB are free"
    )
    assert told.value.hint.endswith("start a new run with a smaller batch (--set batch=1), fewer workers or --device cpu.")
    assert saved(tmp_path / "run")["step"] == 4
    train(resume=True)
    train("whole")
    assert same(tmp_path / "run", tmp_path / "whole")


def test_memory_that_runs_out_in_the_steps_of_the_price_is_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: AllScales, *arguments) -> None:  # type: ignore[no-untyped-def]
        raise torch.OutOfMemoryError(GPU_WORDS)

    monkeypatch.setattr(AllScales, "forward", full)
    with pytest.raises(OutOfMemoryError, match=r"2\.00 GiB more were needed.*--device cpu"):
        measure_step_s(plan, fresh_network(plan), torch.device("cpu"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory ran out in training: the system gave no more"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
         "memory ran out in training: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        (MemoryError("Caught MemoryError in DataLoader worker process 0.\nTraceback\n  line 1\nMemoryError: Unable to allocate 9 GiB"),
         "memory ran out in training: Unable to allocate 9 GiB"),
    ],
)  # fmt: skip
def test_other_memory_that_runs_out(error: Exception, said: str) -> None:
    with pytest.raises(OutOfMemoryError) as told, troubles_named():
        raise error
    assert told.value.message == said


def test_scans_that_vanish_once_they_are_prepared_are_not_missed(train: Train, own: Path, tmp_path: Path) -> None:
    train("whole")
    train(progress=at_step(6, lambda: shutil.rmtree(own)))
    assert same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cached_array_that_vanishes_is_named_and_made_anew(train: Train, tmp_path: Path, workers: int) -> None:
    with pytest.raises(FileFormatError) as told:
        train(progress=at_step(6, lambda: shutil.rmtree(tmp_path / "run" / "cache")), workers=workers)
    words = str(told.value)
    assert words.startswith(f"the cached array {tmp_path / 'run' / 'cache'}")
    assert words.endswith(
        ".npy is gone. Go on with --resume: what is missing is prepared again, what is damaged has to be deleted first."
    )
    assert "\n" not in words
    assert saved(tmp_path / "run")["step"] == (8 if workers else 4)  # a process that cuts is two steps ahead
    train(resume=True)
    train("whole")
    assert same(tmp_path / "run", tmp_path / "whole")


def test_a_cached_array_that_is_cut_short_is_named(train: Train, tmp_path: Path) -> None:
    def cut() -> None:
        for path in (tmp_path / "run" / "cache").glob("*.npy"):
            path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(FileFormatError, match=r"the cached array .* cannot be read: .* has to be deleted first"):
        train(progress=at_step(6, cut))
    with pytest.raises(FileFormatError, match=r"the cache is damaged.*Delete .*cache and start again"):
        train(resume=True)
    shutil.rmtree(tmp_path / "run" / "cache")
    assert train(resume=True).final.exists()


def test_a_run_whose_case_is_gone_waits_for_it(train: Train, own: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(progress=at_step(6, lambda: (_ for _ in ()).throw(KeyboardInterrupt())))
    image = own / "brain" / "imagesTr" / "brain_1_0000.nii.gz"
    image.rename(tmp_path / "elsewhere")
    with pytest.raises(ModalityError, match=r"case 'brain_1' has no brain_1_0000\.nii\.gz in "):
        train(resume=True)
    (tmp_path / "elsewhere").rename(image)
    assert train(resume=True).final.exists()


def test_a_list_of_cases_that_is_half_written_is_told(train: Train, tmp_path: Path) -> None:
    train()
    (tmp_path / "run" / "cases.json").write_text('{"brain": {"train"')
    with pytest.raises(FileFormatError, match=r"cases\.json is damaged: .*Start a new run from its best weights"):
        train(resume=True)
