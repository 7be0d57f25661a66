"""Dice on held-out phantoms: whole images through the sliding window, on the grid that the network sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.evaluation.metrics import dice
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.progress import ignore_progress
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.tasks import Task, TaskRegistry
from uniseg_model.tensors import in_memory
from uniseg_model.training.cache import PreparedCase

STEP = 0.75  # from window to window, as a share of its side
Scores = dict[str, dict[str, list[float]]]  # task key to structure to the Dice of each held-out case


def evaluate(net: UniSegNet, tasks: TaskRegistry, cases: Mapping[str, Sequence[PreparedCase]], device: str) -> Scores:
    """Dice of each structure in each case, with whole images through the sliding window; tasks with one image share its encoding."""
    engine = TorchEngine(net.eval(), device, precision="float32")
    together: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks.values():
        together.setdefault(task.modalities, []).append(task)
    scores: Scores = {task.key: {label.name: [] for label in task.labels} for task in tasks.values()}
    for group in together.values():
        places = tuple(list(tasks).index(task.key) for task in group)
        sweep = Sweep(places, tuple(task.n_classes for task in group), step=STEP)
        for shared in zip(*(cases[task.key] for task in group), strict=True):
            answers, _ = sweep_windows(engine, shared[0].image, sweep, ignore_progress)
            for task, case, probabilities in zip(group, shared, answers, strict=True):
                _score(scores[task.key], in_memory(probabilities).argmax(axis=0), case.labels)
    return scores


def _score(scores: dict[str, list[float]], answer: np.ndarray, truth: np.ndarray) -> None:
    for value, found in enumerate(scores.values(), start=1):
        found.append(dice(answer == value, np.asarray(truth == value)))
