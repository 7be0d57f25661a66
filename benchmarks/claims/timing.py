"""How long the runs will take, from a few measured steps, and how many steps a budget of minutes buys."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.claims.judge import STEP
from benchmarks.claims.rivals import n_parameters
from benchmarks.claims.runs import Laboratory
from benchmarks.claims.settings import ROUND, Job, Settings
from uniseg_model.progress import Progress
from uniseg_model.training.batches import Batches
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.trainer import Trainer
from uniseg_model.volume import Shape
from uniseg_model.windows import padding, window_starts

_TIMED = 4  # steps, after one that warms up
_ENCODER = 0.3  # of a window's work; the rest is done once for each task

Kind = tuple[str, str]  # part and network


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step, seconds of one window asked for one task, and the network's size."""

    step_s: float
    window_s: float
    n_parameters: int


@dataclass(frozen=True)
class Estimate:
    """Seconds of training, by part, and of judging."""

    multitask_s: float = 0.0
    downstream_s: float = 0.0
    judge_s: float = 0.0

    @property
    def minutes(self) -> float:
        """All together."""
        return (self.multitask_s + self.downstream_s + self.judge_s) / 60


def kind_of(job: Job) -> Kind:
    """Jobs of one kind take equally long a step, about."""
    return job.part, job.network


def speeds(laboratory: Laboratory, left: Iterable[Job]) -> dict[Kind, Speed]:
    """Measured on the first job of each kind."""
    firsts: dict[Kind, Job] = {}
    for job in left:
        firsts.setdefault(kind_of(job), job)
    return {kind: measure(laboratory, job) for kind, job in firsts.items()}


def measure(laboratory: Laboratory, job: Job) -> Speed:
    """A few real steps of a job, in a folder that is thrown away, and a few windows."""
    plan = replace(laboratory.plan_of(job), iterations=_TIMED + 2, warm_up=0)
    _, learn, _ = laboratory.data_of(job)
    net, times = laboratory.network_of(job, plan), []

    def note(progress: Progress) -> None:
        times.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        Trainer(plan, RunFolder(Path(folder)), net, laboratory.device).train(learn, learn, note)
    return Speed(float(np.median(np.diff(times[1:]))), _window_s(net.eval(), plan, learn, laboratory.device), n_parameters(net))


@torch.inference_mode()
def _window_s(net: torch.nn.Module, plan: Plan, learn: Mapping[str, Sequence[PreparedCase]], device: torch.device) -> float:
    images = Batches(plan, learn)[0].images.to(device)
    tasks, times = torch.zeros(len(images), dtype=torch.int64, device=device), []
    for _ in range(_TIMED):
        times.append(time.perf_counter())
        net(images, tasks).sum().item()
    return float(np.median(np.diff(times))) / len(images)


def estimate(laboratory: Laboratory, left: Iterable[Job], measured: Mapping[Kind, Speed]) -> Estimate:
    """What these jobs will take."""
    total = {"multitask": 0.0, "downstream": 0.0, "judge": 0.0}
    for job in left:
        speed = measured[kind_of(job)]
        total[job.part] += job.steps * speed.step_s
        total["judge"] += speed.window_s * windows_to_judge(laboratory, job)
    return Estimate(total["multitask"], total["downstream"], total["judge"])


def windows_to_judge(laboratory: Laboratory, job: Job) -> float:
    """Windows of one task that cost as much as judging a job; tasks that share an image share its encoding."""
    plan, (_, _, judge) = laboratory.plan_of(job), laboratory.data_of(job)
    images = {case.name: case.labels.shape for cases in judge.values() for case in cases}
    answers = [case.labels.shape for cases in judge.values() for case in cases]
    encoded, decoded = (sum(n_windows(shape, plan.network.window) for shape in shapes) for shapes in (images.values(), answers))
    return _ENCODER * encoded + (1 - _ENCODER) * decoded


def n_windows(shape: Sequence[int], window: Shape) -> int:
    """Windows that a whole image needs."""
    pads = padding(tuple(shape), window)  # type: ignore[arg-type]
    return len(window_starts(tuple(n + sum(pad) for n, pad in zip(shape, pads, strict=True)), window, STEP))  # type: ignore[arg-type]


def steps_within(minutes: float, settings: Settings, needed: Estimate) -> Settings:
    """The settings with as many steps as a budget buys, both parts changed alike; few are better than none."""
    train_s = needed.multitask_s + needed.downstream_s
    factor = max(0.0, minutes * 60 - needed.judge_s) / train_s if train_s else 1.0
    portions = max(1, int(settings.steps * factor / ROUND))
    return replace(settings, steps=portions * ROUND, downstream_steps=max(20, int(settings.downstream_steps * factor)))
