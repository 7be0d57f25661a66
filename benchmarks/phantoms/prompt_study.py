"""What a prompt does in the demo weights: other prompts for the same question, on phantoms that nothing was trained on.

    python -m benchmarks.phantoms.prompt_study -o docs/prompts [--weights W] [--cases 8]

Writes docs/prompts.md and docs/prompts.json. Every answer is compared with the task's own, on the network's grid, all structures of
the task together; nothing is compared with a truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.engines.rules import Given, Mixed, PromptRule, Shuffled, rule_of
from uniseg_model.evaluation import dice
from uniseg_model.files import whole_file, write_json
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Predictor, load_model
from uniseg_model.progress import ignore_progress
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.similarity import chance, similarity
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.tasks import Task
from uniseg_model.tensors import in_memory

SEEDS = range(3200, 3264)  # of no phantom that was trained on or judged with before
SHARES = (0.25, 0.5, 0.75)


def study(model: Predictor, n_cases: int) -> dict[str, Any]:
    """Everything that the page tells."""
    tasks = [task for task in model.checkpoint.tasks.values() if task.modalities == ("CT",)]
    before = _prompts_of(model, SEEDS[n_cases], tasks)  # the first patient's other patient
    agreement: dict[str, list[float]] = {}
    means = []
    for seed in SEEDS[:n_cases]:
        prompts = _prompts_of(model, seed, tasks)
        for name, value in _asked(model, seed, tasks, before).items():
            agreement.setdefault(name, []).append(value)
        means.append(prompts)
        before = prompts
    return {
        "weights": model.checkpoint.sha256,
        "cases": n_cases,
        "dice_with_own": {name: float(np.nanmean(values)) for name, values in agreement.items()},
        "correlation": _correlations(np.stack(means)),
        "learned": _learned(model),
    }


def _prompts_of(model: Predictor, seed: int, tasks: list[Task]) -> np.ndarray:
    """Mean prompts over a phantom's windows, (T, z, y, x)."""
    [maps] = model.open(make_phantom("liver", seed).volume).prompt_maps(tasks)
    return maps.window_mean


def _asked(model: Predictor, seed: int, tasks: list[Task], others: np.ndarray) -> dict[str, float]:
    """Dice of answers under other prompts with the task's own answer, by ``task/what``."""
    session = model.open(make_phantom("liver", seed).volume)
    session.prompt_maps(tasks[:1])
    [prepared] = session._prepared.values()
    places = [model.checkpoint.place(task) for task in tasks]
    rules: dict[str, PromptRule] = {f"own {task.key}": rule_of(place) for task, place in zip(tasks, places, strict=True)}
    rules["zero"] = Mixed()
    for task, place, other in zip(tasks, places, others, strict=True):
        rules[f"shuffled {task.key}"] = Shuffled(place)
        rules[f"foreign {task.key}"] = Given(other)
    keys = [task.key for task in tasks]
    liver, spleen = (places[keys.index(key)] for key in ("liver", "spleen"))
    for share in SHARES:
        rules[f"blend {share:g}"] = Mixed(((liver, 1 - share), (spleen, share)))
    sweep = Sweep(tuple(rules.values()), (model.checkpoint.config.n_classes,) * len(rules))
    outputs, _ = sweep_windows(model.engine, prepared.array, sweep, ignore_progress)
    return _compared(dict(zip(rules, map(in_memory, outputs), strict=True)), tasks)


def _compared(outputs: Mapping[str, np.ndarray], tasks: list[Task]) -> dict[str, float]:
    def found(rule: str, task: Task) -> np.ndarray:
        return outputs[rule][: task.n_classes].argmax(axis=0) > 0

    by_key = {task.key: task for task in tasks}
    agreement: dict[str, float] = {}
    for task in tasks:
        own = found(f"own {task.key}", task)
        for what, rule in {
            "zero": "zero",
            "shuffled": f"shuffled {task.key}",
            "another patient's": f"foreign {task.key}",
        }.items():
            agreement[f"{task.key}/{what}"] = dice(found(rule, task), own)
    for task, other in product(tasks, tasks):
        if task is not other:
            swapped = found(f"own {other.key}", task)
            agreement[f"{task.key}/swap {other.key}"] = dice(swapped, found(f"own {task.key}", task))
            agreement[f"{task.key}/as {other.key}"] = dice(swapped, found(f"own {other.key}", other))
    for share, end in product(SHARES, ("liver", "spleen")):
        agreement[f"liver/blend {share:g} with {end}"] = dice(
            found(f"blend {share:g}", by_key["liver"]), found(f"own {end}", by_key[end])
        )
    return agreement


def _correlations(means: np.ndarray) -> dict[str, Any]:
    """Of mean prompts (cases, T, z, y, x): one task on two patients, and two tasks on one."""
    n_cases, n_tasks = means.shape[:2]
    matrix = similarity(means.reshape(-1, *means.shape[2:])).reshape(n_cases, n_tasks, n_cases, n_tasks)
    same_task = [matrix[a, t, b, t] for a in range(n_cases) for b in range(a) for t in range(n_tasks)]
    same_case = [matrix[a, t, a, u] for a in range(n_cases) for t in range(n_tasks) for u in range(t)]
    return {
        name: {"mean": float(np.mean(v)), "min": float(np.min(v)), "max": float(np.max(v))}
        for name, v in (("one task, two patients", same_task), ("two tasks, one patient", same_case))
    }


def _learned(model: Predictor) -> dict[str, Any]:
    found = learned_prompts(model.checkpoint)
    matrix = found.similarity()[np.triu_indices(len(found.tasks), 1)]
    return {
        "pairs": len(matrix),
        "std": float(matrix.std()),
        "max": float(matrix.max()),
        "min": float(matrix.min()),
        "chance": chance(found.array[0].size),
    }


def page(facts: Mapping[str, Any], keys: list[str]) -> str:
    """The page in Markdown."""
    dice_of = facts["dice_with_own"]
    told = ("zero", "shuffled", "another patient's")
    rows = [
        f"| {key} | "
        + " | ".join(f"{dice_of[f'{key}/{what}']:.2f}" for what in told)
        + f" | {_mean(dice_of, key, keys, 'swap'):.2f} | {_mean(dice_of, key, keys, 'as'):.2f} |"
        for key in keys
    ]
    swaps = [f"| {a} | " + " | ".join("" if a == b else f"{dice_of[f'{a}/swap {b}']:.2f}" for b in keys) + " |" for a in keys]
    follows = [f"| {a} | " + " | ".join("" if a == b else f"{dice_of[f'{a}/as {b}']:.2f}" for b in keys) + " |" for a in keys]
    blends = [
        f"| {share:g} | {dice_of[f'liver/blend {share:g} with liver']:.2f} | {dice_of[f'liver/blend {share:g} with spleen']:.2f} |"
        for share in SHARES
    ]
    correlation, learned = facts["correlation"], facts["learned"]
    ranges = [f"| {name} | {v['mean']:.4f} | {v['min']:.4f} to {v['max']:.4f} |" for name, v in correlation.items()]
    head = f"| task | {' | '.join(keys)} |\n|---{'|---' * len(keys)}|"
    return "\n".join([
        f"What prompts do in the demo weights, on {facts['cases']} phantom CTs that nothing was trained on (seeds {SEEDS[0]} and up). Phantoms are synthetic.",
        "Written by `python -m benchmarks.phantoms.prompt_study -o docs/prompts`.", "",
        "Dice with the task's own answer, all its structures together, when its decoder is told something else:", "",
        "| task | nothing (zeros) | its prompt shuffled | another patient's mean prompt | another task's prompt, mean of seven | the same, with that other task's answer |", "|---|---|---|---|---|---|", *rows, "",
        "Blends of the liver's prompt with the spleen's, under the liver task:", "",
        "| share of the spleen's | Dice with the liver's own answer | with the spleen's |", "|---|---|---|", *blends, "",
        "Correlation of mean prompts over windows:", "", "| | mean | range |", "|---|---|---|", *ranges, "",
        f"Learned prompts: {learned['pairs']} pairs, correlations from {learned['min']:.2f} to {learned['max']:.2f}, standard deviation {learned['std']:.2f}; of prompts drawn at random it would be {learned['chance']:.2f}.", "",
        "Each task (rows) under each other's prompt: Dice with its own answer.", "", head, *swaps, "",
        "The same answers: Dice with the answer of the task whose prompt it was.", "", head, *follows, "",
    ])  # fmt: skip


def _mean(dice_of: Mapping[str, float], key: str, keys: list[str], what: str) -> float:
    return float(np.nanmean([dice_of[f"{key}/{what} {other}"] for other in keys if other != key]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="without ending")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cases", type=int, default=8)
    arguments = parser.parse_args()
    model = load_model(arguments.weights, device="cpu")
    facts = study(model, arguments.cases)
    write_json(arguments.out.with_suffix(".json"), facts)
    keys = [task.key for task in model.checkpoint.tasks.values() if task.modalities == ("CT",)]
    with whole_file(arguments.out.with_suffix(".md")) as temporary:
        temporary.write_text(page(facts, keys), encoding="utf-8")


if __name__ == "__main__":
    main()
