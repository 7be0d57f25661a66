"""Results as a page: what came out, also where UniSeg does not win, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.claims.results import (
    TITLES,
    BySeed,
    Result,
    Spread,
    differences,
    downstream,
    means_over_tasks,
    multitask,
)  # fmt: skip
from benchmarks.claims.settings import DOWNSTREAM, HELD_OUT, TRAIN, Settings
from uniseg_model.tasks import builtin_tasks

_INTRODUCTION = """\
# The paper's claims, measured on phantoms

Synthetic phantoms, narrow networks, short trainings: these numbers compare methods with each other under equal budgets.
They say nothing about how well a real organ is found, and they are not the paper's experiments. `±` is the standard
deviation over seeds; seeds differ in first weights and in what each step draws, not in the training phantoms.

![Dice of each seed](claims.svg)
"""


def write_markdown(results: Sequence[Result], settings: Settings) -> str:
    """The page. Parts without a result say so."""
    return (
        "\n".join([_INTRODUCTION, *_multitask(multitask(results), results), *_downstream(results), *_how(results, settings)])
        + "\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table, numbers on the right."""
    line = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def _multitask(scores: Mapping[str, BySeed], results: Sequence[Result]) -> list[str]:
    lines = ["## One network for eleven tasks", ""]
    if not scores:
        return [*lines, "Not measured yet.", ""]
    means = {network: means_over_tasks(by_seed) for network, by_seed in scores.items()}
    rows = [
        [TITLES[name], _size(name, results), len(mean), Spread.of(mean.values()), _minus(means, name)]
        for name, mean in means.items()
    ]
    head = ["network", "parameters", "seeds", "mean Dice of the tasks", "UniSeg minus it, seed by seed"]
    return [*lines, *table(head, rows), verdict(means), "", *_by_task(scores)]


def _size(network: str, results: Sequence[Result]) -> str:
    sizes = [r.n_parameters for r in results if r.part == "multitask" and r.network == network]
    return f"11 x {max(sizes):,}" if network == "plain" else f"{max(sizes):,}"


def _minus(means: Mapping[str, Mapping[int, float]], network: str) -> str:
    gains = differences(means.get("uniseg", {}), means[network]) if network != "uniseg" else []
    return str(Spread.of(gains)) if gains else ""


def verdict(means: Mapping[str, Mapping[int, float]]) -> str:
    """One sentence on who came first, and whether always."""
    order = sorted(means, key=lambda name: -Spread.of(means[name].values()).mean)
    if "uniseg" not in means or len(order) == 1:
        return "UniSeg and its rivals have not all been measured yet."
    place = order.index("uniseg")
    beaten = [name for name in order if name != "uniseg" and min(differences(means["uniseg"], means[name]), default=0) > 0]
    always = (
        f"In every seed it is ahead of: {'; '.join(TITLES[name] for name in beaten)}."
        if beaten
        else "It is ahead of none in every seed."
    )
    ahead = "; ".join(TITLES[name] for name in order[:place])
    first = f"By the mean, UniSeg comes number {place + 1} of {len(order)}" + (f", behind: {ahead}." if ahead else ".")
    return f"{first} {always}"


def _by_task(scores: Mapping[str, BySeed]) -> list[str]:
    keys = [key for key in builtin_tasks() if any(key in tasks for by_seed in scores.values() for tasks in by_seed.values())]
    rows = [[key, *(Spread.of(tasks[key] for tasks in by_seed.values()) for by_seed in scores.values())] for key in keys]
    return table(["task", *(TITLES[network] for network in scores)], rows)


def _downstream(results: Sequence[Result]) -> list[str]:
    lines, found = ["## A new structure from few cases", ""], downstream(results)
    if not found:
        return [*lines, "Not measured yet.", ""]
    rows, every = [], []
    for (key, n), by_start in found.items():
        scratch, trained = (by_start.get(start, {}) for start in ("scratch", "pretrained"))
        gains = differences(trained, scratch)
        every += gains
        numbers = [Spread.of(values) if values else "" for values in (scratch.values(), trained.values(), gains)]
        rows.append([f"{key}, {n} cases", len(gains), *numbers])
    head = ["structure", "seeds", "Dice from scratch", "Dice from trained weights", "gain, seed by seed"]
    won = f"Trained weights are ahead in {sum(gain > 0 for gain in every)} of {len(every)} pairs of runs."
    return [*lines, *table(head, rows), won, ""]


def _how(results: Sequence[Result], settings: Settings) -> list[str]:
    s, hours = settings, sum(r.seconds for r in results) / 3600
    devices = "; ".join(sorted({r.device for r in results})) or "none yet"
    return [
        "## How it was measured",
        "",
        f"- **Equal budget.** {s.steps} steps of two windows for a universal network; {s.steps // 11} for each single-task network, "
        f"which is {s.steps} for all eleven. Nothing is chosen by validation: the last weights are judged.",
        f"- **Phantoms.** Training: {s.trunk_cases} of the trunk, {s.other_cases} of each other family, seeds from {TRAIN}. "
        f"Judged: {s.held_out} held-out phantoms of each family, seeds from {HELD_OUT}. Coarse grids, the same for all networks.",
        "- **Score.** Whole images through the sliding window; Dice of each structure, mean over cases, over structures, over tasks.",
        "- **Networks.** Same encoder, decoder and width. Dynamic head: task and pooled bottleneck make three 1 x 1 x 1 convolutions of "
        "8 channels on the last map. Fixed prompt: one for each task, learned, as large as UniSeg's, stretched over the map before the "
        "last decoder stage. Deep supervision of these two has a head for each task at coarser scales.",
        f"- **New structures.** {s.downstream_steps} steps from either start, on the grid that the weights were trained on; cases are drawn "
        f"by the seed from a pool of {max(s.downstream_cases)} (phantom seeds from {DOWNSTREAM}), so the largest number is always the same "
        f"cases. Encoder and decoder come from the weights (SHA-256 {s.weights[:16] or 'not used yet'}); prompt and fusion are dropped, heads are fresh.",
        f"- **Device.** {devices}. {len(results)} runs, {hours:.1f} hours.",
        "- **Again.** `python -m benchmarks.claims -o DIR --report`",
    ]
