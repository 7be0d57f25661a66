"""What less work costs: how far answers under cheaper options agree with the original's way, and how much work they are.

    python -m benchmarks.presets -o docs/presets.md [--weights W] [--seeds 6000,6001] [--tasks liver,...] [--real SCAN[=TASK,TASK...] ...]

On phantoms that nothing was trained on, and on scans of one's own. Agreement is the mean Dice of the structures that either of
the two answers found; on phantoms the Dice with the known truth stands beside it. Work is counted in decodings of a window, which
take nearly all of the time; unlike seconds it does not change with what else a machine does. Demo weights know phantoms only: on a real scan their agreement is on whatever they find.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniseg_model.evaluation.metrics import dice
from uniseg_model.io import read_volume
from uniseg_model.options import Options
from uniseg_model.phantom import FAMILIES, make_phantom
from uniseg_model.predictor import Predictor, load_model
from uniseg_model.preprocess import Recipe
from uniseg_model.presets import PRESETS
from uniseg_model.segmentation import Segmentation
from uniseg_model.volume import Volume

SETTINGS: Mapping[str, Options] = {
    "step 0.5": Options(mirror=False),
    "step 0.75, body 0.05": Options(mirror=False, step=0.75, body_share=0.05),
    "step 1.0": Options(mirror=False, step=1.0),
}  # what the presets were chosen from; all agreement is with the first


@dataclass(frozen=True)
class Case:
    """An image and what is asked of it. truth: labels by task key, where they are known."""

    name: str
    volume: Volume
    tasks: Sequence[str]
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Scores:
    """Of one setting: agreement and truth by (kind of case, task), and decodings and seconds of the processor by case."""

    agreement: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    truth: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    decodings: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def phantoms(seeds: Sequence[int], asked: Sequence[str]) -> Iterator[Case]:
    """One case of each family and seed, with those of its tasks that are asked for."""
    for family in dict.fromkeys(FAMILIES[key] for key in asked):
        tasks = [key for key in asked if FAMILIES[key] == family]
        for seed in seeds:
            phantom = make_phantom(tasks[0], seed)
            yield Case("phantoms", phantom.volume, tasks, phantom.labels)


def real_case(asked: str, model: Predictor) -> Case:
    """A scan named on the command line, with its tasks, or all that suit it."""
    from uniseg_model.suitability import suitable_tasks

    path, _, tasks = asked.partition("=")
    volume = read_volume(path)
    keys = tasks.split(",") if tasks else [task.key for task in suitable_tasks(model.checkpoint.tasks, volume)]
    return Case("real scans", volume, keys)


def mean_dice(answer: Segmentation, other: np.ndarray) -> float:
    """The mean over the structures that one of the two has; NaN if neither has any."""
    found = [dice(answer.labels == i, other == i) for i in range(1, len(answer.task.labels) + 1)]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def compare(model: Predictor, case: Case, scores: dict[str, Scores], settings: Mapping[str, Options]) -> None:
    """Segment a case under each setting, and add what came of it."""
    session, reference = model.open(case.volume), dict[str, np.ndarray]()
    for task in session.tasks.values():
        if task.key in case.tasks:
            session.prepare(Recipe.of(task))
    for name, options in settings.items():
        model.decoding_s = 1.0
        scores[name].decodings.append(session.cost(case.tasks, options).seconds or 0.0)
        began_s = time.process_time()
        answers = session.segment(case.tasks, options)
        scores[name].seconds.append(time.process_time() - began_s)
        reference = reference or {answer.task.key: answer.labels for answer in answers}
        for answer in answers:
            place = case.name, answer.task.key
            scores[name].agreement[place].append(mean_dice(answer, reference[answer.task.key]))
            if answer.task.key in case.truth:
                scores[name].truth[place].append(mean_dice(answer, case.truth[answer.task.key]))
        print(
            f"{case.name}, {', '.join(case.tasks)}, {name}: {scores[name].seconds[-1]:.1f} s, {scores[name].decodings[-1]:.1f} decodings",
            flush=True,
        )


def tables(scores: Mapping[str, Scores]) -> list[str]:
    """Markdown: agreement by task, the known truth, and time; a column a setting."""
    names = list(scores)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    first = scores[names[0]]
    lines.append(_row("work", [sum(s.decodings) / sum(first.decodings) for s in scores.values()]))
    lines.append(_row("processor time", [sum(s.seconds) / sum(first.seconds) for s in scores.values()]))
    for kind in dict.fromkeys(kind for kind, _ in first.agreement):
        places = [place for place in first.agreement if place[0] == kind]
        lines += [
            _row(f"{kind}, {key}: agreement", [_mean(s.agreement[kind, key]) for s in scores.values()]) for _, key in places
        ]
        lines.append(_row(f"**{kind}: agreement, lowest**", [_least(s.agreement, places) for s in scores.values()]))
        if known := [place for place in places if first.truth.get(place)]:
            lines.append(
                _row(f"**{kind}: with the truth, mean**", [_mean([_mean(s.truth[p]) for p in known]) for s in scores.values()])
            )
    return lines


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _least(values: Mapping[tuple[str, str], Sequence[float]], places: Sequence[tuple[str, str]]) -> float:
    known = [value for place in places for value in values[place] if not np.isnan(value)]
    return min(known, default=float("nan"))


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join('-' if np.isnan(v) else f'{v:.3f}' for v in values)} |"


def main(given: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", default="6000,6001")
    parser.add_argument("--tasks", default=",".join(FAMILIES), help="of the phantoms")
    parser.add_argument("--real", nargs="*", default=[])
    parser.add_argument("--presets", action="store_true", help="the presets in place of the settings they were chosen from")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args(given)
    model = load_model(arguments.weights, device="cpu", threads=arguments.threads)
    settings = {name: Options.preset(name) for name in PRESETS} if arguments.presets else SETTINGS
    scores = {name: Scores() for name in settings}
    cases = [real_case(asked, model) for asked in arguments.real]
    seeds = [int(seed) for seed in arguments.seeds.split(",") if seed]
    for case in (*cases, *phantoms(seeds, arguments.tasks.split(","))):
        compare(model, case, scores, settings)
        text = "\n".join(tables(scores)) + "\n"
        if arguments.out:
            arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
