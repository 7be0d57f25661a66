"""Could prompts tell that a task does not suit an image? Measured, and not built in: see docs/suits.md for what came out.

    python -m benchmarks.phantoms.suits -o docs/suits [--fit 8] [--test 8]

The eight CT tasks are asked about whole trunks, about their upper and lower halves (in which some organs are out of view), and about
prostate MR, which has one channel too. An alarm is raised when the task's mean prompt over the image's windows is farther from
those of the fitting cases with the organ in view than 95 % of these are. Beside it: the check of voxel values that the program has,
and whether nothing was found.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg_model.files import whole_file, write_json
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Predictor, load_model
from uniseg_model.suitability import doubts
from uniseg_model.volume import Volume

FITTING, TESTING = 3000, 3100  # first seeds; no weights were trained or judged on either
RIGHT = ("whole trunk, in view", "half trunk, in view")
WRONG = ("half trunk, out of view", "MR under a CT task")
ALARMS = ("prompts far off", "voxel values", "nothing found", "values or nothing")
_QUANTILE = 0.95


@dataclass(frozen=True)
class Asked:
    """One task about one image. prompt: its mean over windows, flat."""

    task: str
    kind: str
    prompt: np.ndarray
    voxel_values: bool
    nothing_found: bool

    @property
    def alarms(self) -> tuple[bool, bool, bool]:
        """Of what the program has already: each of its two signs, and either."""
        return self.voxel_values, self.nothing_found, self.voxel_values or self.nothing_found


def images(seed: int) -> Iterator[tuple[str, Volume, Mapping[str, np.ndarray]]]:
    """A trunk, its halves, and a prostate, each with its true labels; as in NIfTI files, nothing names their modality."""
    trunk, prostate = make_phantom("liver", seed), make_phantom("prostate", seed)
    n = trunk.volume.shape[0]
    yield "whole trunk", Volume(trunk.volume.array, trunk.volume.affine), trunk.labels
    for part in (slice(0, n // 2), slice(n // 2, n)):
        affine = trunk.volume.affine.copy()
        affine[:3, 3] += affine[:3, 0] * part.start
        half = Volume(np.ascontiguousarray(trunk.volume.array[:, part]), affine)
        yield "half trunk", half, {key: labels[part] for key, labels in trunk.labels.items()}
    yield "MR", Volume(prostate.volume.array, prostate.volume.affine), {}


def asked(model: Predictor, seed: int) -> Iterator[Asked]:
    """All CT tasks about all images of a seed."""
    keys = [task.key for task in model.checkpoint.tasks.values() if task.modalities == ("CT",)]
    for name, volume, truth in images(seed):
        session = model.open(volume)
        [maps] = session.prompt_maps(keys)
        for i, answer in enumerate(session.segment(keys)):
            key = answer.task.key
            kind = "MR under a CT task" if name == "MR" else f"{name}, {'in view' if truth[key].any() else 'out of view'}"
            yield Asked(key, kind, maps.window_mean[i].ravel(), bool(doubts(answer.task, volume)), not answer.labels.any())


def distances(cases: list[Asked], like: list[Asked]) -> np.ndarray:
    """Root mean square of what separates prompts from the mean of ``like``, in their standard deviations."""
    known = np.stack([case.prompt for case in like])
    spread = known.std(axis=0) + 1e-6
    return np.array([np.sqrt(np.mean(((case.prompt - known.mean(axis=0)) / spread) ** 2)) for case in cases])


def judge(fitting: list[Asked], testing: list[Asked]) -> dict[str, dict[str, dict[str, int]]]:
    """By kind of case and alarm: how many were asked, and how many raised it."""
    counts: dict[str, dict[str, dict[str, int]]] = {
        kind: {alarm: defaultdict(int) for alarm in ALARMS} for kind in RIGHT + WRONG
    }
    for key in dict.fromkeys(case.task for case in testing):
        like = [case for case in fitting if case.task == key and case.kind in RIGHT]
        limit = float(np.quantile(distances(like, like), _QUANTILE))
        own = [case for case in testing if case.task == key]
        for case, distance in zip(own, distances(own, like), strict=True):
            for alarm, raised in zip(ALARMS, (distance > limit, *case.alarms), strict=True):
                counts[case.kind][alarm]["asked"] += 1
                counts[case.kind][alarm]["raised"] += int(raised)
    return counts


def page(counts: Mapping[str, Mapping[str, Mapping[str, int]]], n_fit: int, n_test: int) -> str:
    """The table and what it amounts to."""
    lines = [
        "Could prompts tell that a task does not suit an image? Demo weights, synthetic phantoms; written by",
        f"`python -m benchmarks.phantoms.suits -o docs/suits --fit {n_fit} --test {n_test}` (seeds {FITTING} and {TESTING} and up).", "",
        "Alarms raised, of cases asked:", "", f"| case | suits | {' | '.join(ALARMS)} |", "|---|---|" + "---|" * len(ALARMS),
    ]  # fmt: skip
    for kind in RIGHT + WRONG:
        cells = [f"{counts[kind][alarm]['raised']} of {counts[kind][alarm]['asked']}" for alarm in ALARMS]
        lines.append(f"| {kind} | {'yes' if kind in RIGHT else 'no'} | {' | '.join(cells)} |")
    false, caught = ({alarm: rate(counts, kinds, alarm) for alarm in ALARMS} for kinds in (RIGHT, WRONG))
    lines += [
        f"| **false alarms** | | {' | '.join(f'{false[a]:.0%}' for a in ALARMS)} |",
        f"| **caught** | | {' | '.join(f'{caught[a]:.0%}' for a in ALARMS)} |",
    ]
    lines.append(
        f"| **balanced accuracy** (chance 50 %) | | {' | '.join(f'{(1 - false[a] + caught[a]) / 2:.0%}' for a in ALARMS)} |"
    )
    return "\n".join([*lines, ""])


def rate(counts: Mapping[str, Mapping[str, Mapping[str, int]]], kinds: tuple[str, ...], alarm: str) -> float:
    """Share of the cases of these kinds that raised an alarm."""
    return sum(counts[kind][alarm]["raised"] for kind in kinds) / max(1, sum(counts[kind][alarm]["asked"] for kind in kinds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="without ending")
    parser.add_argument("--fit", type=int, default=8)
    parser.add_argument("--test", type=int, default=8)
    arguments = parser.parse_args()
    model = load_model(None, device="cpu")
    fitting, testing = (
        [case for seed in range(first, first + n) for case in asked(model, seed)]
        for first, n in ((FITTING, arguments.fit), (TESTING, arguments.test))
    )
    counts = judge(fitting, testing)
    write_json(arguments.out.with_suffix(".json"), counts)
    with whole_file(arguments.out.with_suffix(".md")) as temporary:
        temporary.write_text(page(counts, arguments.fit, arguments.test), encoding="utf-8")


if __name__ == "__main__":
    main()
