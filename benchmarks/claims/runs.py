"""One training, and its Dice on held-out phantoms: a small JSON, which is the only thing that stays.

DIR/runs/JOB/        the run while it goes on; it resumes from its last checkpoint
DIR/results/JOB.json when it is done
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.claims.data import Cases, downstream_group, upstream_groups
from benchmarks.claims.judge import evaluate
from benchmarks.claims.rivals import PlainUNet, fresh, n_parameters
from benchmarks.claims.settings import DOWNSTREAM, HELD_OUT, NETWORK, TRAIN, Job, Settings, downstream_tasks, upstream_tasks
from benchmarks.claims.transfer import downstream_config, transfer
from uniseg_model.checkpoint import Checkpoint
from uniseg_model.errors import OptionError
from uniseg_model.files import write_json
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.tasks import TaskRegistry
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder
from uniseg_model.training.trainer import Trainer


@dataclass(frozen=True)
class Laboratory:
    """Where trainings happen, and what they share.

    weights: what downstream tasks start from; None when none of them is run.
    """

    folder: Path
    settings: Settings
    device: torch.device
    weights: Checkpoint | None = None

    @cached_property
    def multitask(self) -> tuple[TaskRegistry, Cases, Cases]:
        """The eleven tasks, the cases to learn from, and those to be judged by."""
        tasks, s = upstream_tasks(), self.settings
        learn: Cases = {}
        judge: Cases = {}
        for group in upstream_groups(tasks):
            n = s.trunk_cases if group.name == "trunk" else s.other_cases
            learn |= group.cases(self.folder / "data", range(TRAIN, TRAIN + n))
            judge |= group.cases(self.folder / "data", range(HELD_OUT, HELD_OUT + s.held_out))
        return tasks, learn, judge

    @cached_property
    def downstream(self) -> tuple[TaskRegistry, Cases, Cases]:
        """The new tasks on the grid that the weights were trained on, the pool to learn from, and the cases to be judged by."""
        tasks = downstream_tasks(self._weights.tasks["spleen"].spacing_mm)
        group, s = downstream_group(tasks), self.settings
        learn = group.cases(self.folder / "data", range(DOWNSTREAM, DOWNSTREAM + max(s.downstream_cases)))
        return tasks, learn, group.cases(self.folder / "data", range(HELD_OUT, HELD_OUT + s.held_out))

    def data_of(self, job: Job) -> tuple[TaskRegistry, Cases, Cases]:
        """Tasks, cases to learn from and cases to be judged by; the pool's cases are drawn by the job's seed, 5 among 10."""
        tasks, learn, judge = self.multitask if job.part == "multitask" else self.downstream
        return tasks, {key: drawn(learn[key], job) for key in job.tasks}, {key: judge[key] for key in job.tasks}

    def plan_of(self, job: Job) -> Plan:
        """The plan of a job."""
        if job.part == "multitask":
            return job.plan(self.multitask[0], NETWORK)
        return job.plan(self.downstream[0], downstream_config(self._weights.config))

    def network_of(self, job: Job, plan: Plan) -> UniSegNet:
        """The network a job starts with."""
        net = fresh(job.network, plan.network, job.seed)
        if job.start == "pretrained":
            assert isinstance(net, PlainUNet), "weights are handed on to plain networks"
            transfer(self._weights, net)
        return net

    @property
    def _weights(self) -> Checkpoint:
        if self.weights is None:
            raise OptionError(
                "the downstream tasks need weights to start from", hint="Name them with --weights, or ask for --part a."
            )
        return self.weights

    def result_file(self, job: Job) -> Path:
        """Where a job's result lies once it is done."""
        return self.folder / "results" / f"{job.name}.json"

    def run(self, job: Job, progress: ProgressHook = ignore_progress) -> dict[str, Any]:
        """Train, judge, write the result. An interrupted run goes on where it was."""
        plan, (_, learn, judge) = self.plan_of(job), self.data_of(job)
        net = self.network_of(job, plan)
        folder = RunFolder(self.folder / "runs" / job.name)
        started = time.monotonic()
        _train(plan, folder, net, self.device, learn, progress)
        trained = time.monotonic()
        facts = {
            **asdict(job), "n_parameters": n_parameters(net), "device": describe(self.device),
            "seconds_a_step": _seconds_a_step(folder), "train_seconds": round(trained - started, 1),
            "scores": evaluate(net, plan.tasks, judge, str(self.device)),
            "judge_seconds": round(time.monotonic() - trained, 1),
        }  # fmt: skip
        self.result_file(job).parent.mkdir(parents=True, exist_ok=True)
        write_json(self.result_file(job), facts)
        shutil.rmtree(folder.folder)
        return facts


def drawn(cases: Sequence[PreparedCase], job: Job) -> list[PreparedCase]:
    """The cases a job may learn from: all, or the first of an order that its seed decides."""
    if not job.n_cases:
        return list(cases)
    order = np.random.default_rng([job.seed, len(cases)]).permutation(len(cases))
    return [cases[i] for i in order[: job.n_cases]]


def _train(plan: Plan, folder: RunFolder, net: UniSegNet, device: torch.device, learn: Cases, progress: ProgressHook) -> None:
    with folder.claimed(plan, resume=True):
        state = folder.begin(plan, {})
        trainer = Trainer(plan, folder, net, device)
        if state:
            trainer.resume(state)
        trainer.train(learn, learn, progress)  # no window of the second is looked at: nothing is chosen by validation


def _seconds_a_step(folder: RunFolder) -> float | None:
    seconds = [line["seconds_a_step"] for line in folder.curve() if "seconds_a_step" in line]
    return float(np.median(seconds)) if seconds else None


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads), torch {torch.__version__}"
