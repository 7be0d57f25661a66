"""Steps in 16-bit numbers, and compiled ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from uniseg_model.errors import TrainingError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import TaskRegistry
from uniseg_model.training.allocator import keep_freed_memory
from uniseg_model.training.half import half_of, spare_small_maps
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.trainer import Trainer, fresh_network

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "device", "half"),
    [
        ("auto", GPU, torch.float16), ("auto", CPU, None), ("float32", GPU, None),
        ("bfloat16", CPU, torch.bfloat16), ("bfloat16", GPU, torch.bfloat16),
    ],
)  # fmt: skip
def test_the_precision_of_each_device(precision: str, device: torch.device, half: torch.dtype | None) -> None:
    assert half_of(precision, device) is half


def leave_garbage() -> None:
    """Freed memory of all sizes, full of what is not a number."""
    for _ in range(6):
        held = [torch.full((round(2**power * scale),), float("nan")) for power in range(7, 22) for scale in (1, 1.5)]
        del held


@pytest.mark.parametrize(("depth", "is_full"), [(2, True), (4, False)])
def test_gradients_in_bfloat16_read_no_memory_that_nobody_wrote(depth: int, is_full: bool) -> None:
    """Without care, torch 2.13's of a map of two slices are NaN here, on a CPU that computes in bfloat16."""
    keep_freed_memory()
    conv = nn.Sequential(nn.Conv3d(22, 24, 3, padding=1)).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x, back = torch.randn(2, 22, depth, 6, 6), torch.randn(2, 24, depth, 6, 6)
    x = x.to(memory_format=torch.channels_last_3d)
    conv(x).backward(back)
    wanted = conv[0].weight.grad
    spare_small_maps(conv)
    for _ in range(5):
        conv.zero_grad()
        leave_garbage()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = conv(x)
        leave_garbage()
        out.backward(back.to(out.dtype))
        error = torch.linalg.vector_norm(conv[0].weight.grad - wanted) / torch.linalg.vector_norm(wanted)
        assert float(error) < (1e-5 if is_full else 0.02)


def trained(plan: Plan, cases: dict, folder: Path, **changes: object) -> tuple[Trainer, list[float]]:
    chosen = replace(plan, iterations=4, epoch=4, augmentation="none", validation_windows=0, **changes)  # type: ignore[arg-type]
    trainer = Trainer(chosen, RunFolder(folder), fresh_network(chosen), CPU)
    losses: list[float] = []
    learn = trainer._learn
    trainer._learn = lambda *a: losses.append(learn(*a)) or losses[-1]  # type: ignore[method-assign,func-returns-value]
    with trainer._run.claimed(chosen, resume=False):
        trainer._run.begin(chosen, {})
        trainer.train(cases, cases, lambda progress: None)
    return trainer, losses


def test_bfloat16_learns_the_same_and_keeps_its_weights_in_full(plan: Plan, cases: dict, tmp_path: Path) -> None:
    _, full = trained(plan, cases, tmp_path / "full")
    half, rounded = trained(plan, cases, tmp_path / "half", precision="bfloat16")
    assert rounded != full
    assert rounded == pytest.approx(full, rel=0.02)
    assert {tensor.dtype for tensor in half.state()["weights"].values()} == {torch.float32}


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_compiled_step_is_the_same_step(plan: Plan, cases: dict, tmp_path: Path) -> None:
    """With two levels and one task: compiling takes a minute for each network and task."""
    small = NetworkConfig(window=(8, 32, 32), features=(4, 6), strides=((2, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)))
    plan = replace(plan, network=small, tasks=TaskRegistry([plan.tasks["prostate"]]))
    cases = {"prostate": cases["prostate"]}
    _, plain = trained(plan, cases, tmp_path / "plain")
    _, compiled = trained(plan, cases, tmp_path / "compiled", compile=True)
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_what_cannot_be_compiled_is_told(plan: Plan, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch._dynamo.reset()
    with pytest.raises(
        TrainingError, match=r"could not be compiled: .*Install a C\+\+ compiler, or train with --set compile=false"
    ):
        run_training(TrainingRequest(data, tmp_path / "run", replace(plan, compile=True), device="cpu"))
