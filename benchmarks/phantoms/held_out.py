"""Dice of weights on held-out phantoms, beside the best intensity threshold; and every prompt against every truth.

    python -m benchmarks.phantoms.held_out -o docs/held_out [--weights W] [--cases 32] [--workers 2]

Writes OUT.json with every number and OUT.md with the tables. Seeds 2000 to 2031 of each family are kept for this: no
weights were trained on them. Once they decide anything, take a fresh range. Thresholds are tuned on three phantoms of other seeds.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.phantoms.threshold import score, tune
from uniseg_model.evaluation.metrics import dice
from uniseg_model.phantom import FAMILIES, Phantom, make_phantom
from uniseg_model.predictor import Predictor, embedded_weights
from uniseg_model.preprocess import Recipe, prepare
from uniseg_model.progress import ignore_progress
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.tasks import Task, TaskRegistry

FIRST_SEED = 2000
TUNING_SEEDS = range(5000, 5003)
FOREIGN_CASES = 4  # of each family see the prompts of the other families, too
TUMOURS = ("tumour", "lesion", "oedema")

_state: dict[str, Any] = {}  # of a worker process


def begin(weights: Path) -> None:
    """Load weights once per process."""
    import torch

    from uniseg_model.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    _state["model"] = Predictor(load_checkpoint(weights), device="cpu")
    _state["rules"] = {}


def examine(family: str, seed: int) -> dict[str, Any]:
    """All numbers of one phantom."""
    model: Predictor = _state["model"]
    tasks = model.checkpoint.tasks
    own = [task for task in tasks.values() if FAMILIES.get(task.key) == family]
    phantom = make_phantom(own[0].key, seed)
    asked = list(tasks.values()) if seed < FIRST_SEED + FOREIGN_CASES else own
    answers = ask(model, phantom, own, asked)
    truths = {task.key: phantom.labels[task.key] for task in own}
    return {
        "family": family,
        "seed": seed,
        "dice": {task.key: by_structure(task, answers[task.key], truths[task.key]) for task in own},
        "threshold": {task.key: thresholds(task, phantom) for task in own},
        "prompts": {key: {truth: dice(answer > 0, truths[truth] > 0) for truth in truths} for key, answer in answers.items()},
        "truths": {a: {b: dice(truths[a] > 0, truths[b] > 0) for b in truths} for a in truths},
        "foreground": {key: float((answer > 0).mean()) for key, answer in answers.items()},
    }


def ask(model: Predictor, phantom: Phantom, own: list[Task], asked: list[Task]) -> dict[str, np.ndarray]:
    """Labels under each prompt. Tasks of other images are asked on the grid of the family's first task."""
    answers: dict[str, np.ndarray] = {}
    recipes = {task.key: Recipe.of(task if task in own else own[0]) for task in asked}
    for recipe in dict.fromkeys(recipes.values()):
        group = [task for task in asked if recipes[task.key] == recipe]
        prepared = prepare(phantom.volume, recipe)
        places = tuple(model.checkpoint.place(task) for task in group)
        sweep = Sweep(places, tuple(task.n_classes for task in group))
        outputs, _ = sweep_windows(model.engine, prepared.array, sweep, ignore_progress)
        answers |= {task.key: prepared.restore(output).labels for task, output in zip(group, outputs, strict=True)}
    return answers


def by_structure(task: Task, answer: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of each structure."""
    return {label.name: dice(answer == value, truth == value) for value, label in enumerate(task.labels, start=1)}


def thresholds(task: Task, phantom: Phantom) -> dict[str, float]:
    """Dice of the best intensity rule for each structure."""
    found = {}
    for value, label in enumerate(task.labels, start=1):
        rules = _state["rules"]
        if (task.key, value) not in rules:
            rules[task.key, value] = tune(tuning_phantoms(task.key), task.key, value)
        found[label.name] = score(phantom, task.key, value, rules[task.key, value])
    return found


def tuning_phantoms(key: str) -> list[Phantom]:
    """Made once for each family."""
    family = FAMILIES[key]
    if family not in _state:
        _state[family] = [make_phantom(key, seed) for seed in TUNING_SEEDS]
    phantoms: list[Phantom] = _state[family]
    return phantoms


def summary(cases: list[dict[str, Any]], tasks: TaskRegistry) -> dict[str, Any]:
    """Means over cases; of tasks, means over their structures first."""
    found: dict[str, Any] = {}
    for name in ("dice", "threshold"):
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for case in cases:
            for key, structures in case[name].items():
                for structure, value in structures.items():
                    values[key, structure].append(value)
        means = {key: {s: float(np.mean(v)) for (k, s), v in values.items() if k == key} for key in tasks}
        found[name] = {"structures": means, "tasks": {key: float(np.mean(list(v.values()))) for key, v in means.items() if v}}
        found[name]["mean"] = float(np.mean(list(found[name]["tasks"].values())))
    organs = [v for m in found["dice"]["structures"].values() for s, v in m.items() if not any(t in s for t in TUMOURS)]
    found["organs"] = float(np.mean(organs))
    return found


def matrix(cases: list[dict[str, Any]], keys: list[str], name: str) -> dict[str, dict[str, float]]:
    """Mean over cases of a nested number: prompt to truth."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in cases:
        for prompt, row in case[name].items():
            for truth, value in row.items():
                values[prompt, truth].append(value)
    return {a: {b: float(np.mean(values[a, b])) for b in keys if (a, b) in values} for a in keys}


def markdown(found: dict[str, Any], prompts: dict[str, dict[str, float]], cases: int, weights: str) -> str:
    """The tables, for people."""
    lines = [f"Dice on {cases} held-out phantoms of each family. Weights: {weights}. Phantoms are synthetic: this is no clinical figure.", "",
             "| task | structure | Dice | best threshold |", "|---|---|---|---|"]  # fmt: skip
    for key, structures in found["dice"]["structures"].items():
        for name, value in structures.items():
            lines.append(f"| {key} | {name} | {value:.2f} | {found['threshold']['structures'][key][name]:.2f} |")
    lines += [f"| **mean of tasks** | | **{found['dice']['mean']:.3f}** | **{found['threshold']['mean']:.2f}** |", "",
              f"Organs (all that is no tumour): {found['organs']:.3f}.", "",
              "Every prompt (rows) against every truth (columns), Dice of all structures of a task together:", "",
              "| prompt | " + " | ".join(prompts) + " |", "|---" * (len(prompts) + 1) + "|"]  # fmt: skip
    for key, row in prompts.items():
        shown = [f"**{row[b]:.2f}**" if key == b else f"{row[b]:.2f}" if b in row else "" for b in prompts]
        lines.append(f"| {key} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Examine all phantoms and write the tables."""
    from uniseg_model.checkpoint import load_checkpoint

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=embedded_weights())
    parser.add_argument("--cases", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    checkpoint = load_checkpoint(given.weights)
    jobs = [
        (family, seed) for family in dict.fromkeys(FAMILIES.values()) for seed in range(FIRST_SEED, FIRST_SEED + given.cases)
    ]
    with ProcessPoolExecutor(given.workers, initializer=begin, initargs=(given.weights,)) as pool:
        cases = list(pool.map(examine, *zip(*jobs, strict=True)))
    found, keys = summary(cases, checkpoint.tasks), list(checkpoint.tasks)
    prompts, truths = matrix(cases, keys, "prompts"), matrix(cases, keys, "truths")
    facts = {
        "weights": checkpoint.sha256,
        "cases": given.cases,
        **found,
        "prompts": prompts,
        "truths": truths,
        "phantoms": cases,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    text = markdown(found, prompts, given.cases, checkpoint.about.name)
    given.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
