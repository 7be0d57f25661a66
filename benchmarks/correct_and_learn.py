"""Correct and learn, by a scripted user: does the next prediction get better with each corrected case?

    python -m benchmarks.correct_and_learn -o DIR [--task gallbladder] [--cases 5] [--steps 50] [--report FIGURE.svg]

A pack is begun from two phantoms drawn by hand, of which one validates. Then, again and again, it answers the next phantom;
the scripted user puts the truth in place of the answer and adds the case; the pack goes on from itself for as many steps as
at the beginning. Beside it goes a pack that gets the same steps and no new case: what is not its gain is due to the cases.
Each is judged on the next phantom, which it has not seen, and on whole scans that decide nothing. DIR keeps each stage as
JSON; what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_model.checkpoint import load_checkpoint
from uniseg_model.embedded import embedded_weights
from uniseg_model.evaluation.metrics import dice
from uniseg_model.files import make_folder, write_json
from uniseg_model.packs.file import load_pack
from uniseg_model.phantom import Phantom, make_phantom, phantom_tasks
from uniseg_model.predictor import Predictor
from uniseg_model.segmentation import Segmentation
from uniseg_model.training.corrected import add_case
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.tune import tuning_plan

WAYS = {"corrected": "with the corrected cases", "alone": "same steps, no new case"}
FIRST_SEEDS, NEXT_SEED, TEST_SEEDS = (3000, 3001), 3002, range(4000, 4004)
Stages = Mapping[str, Sequence[Mapping[str, Any]]]


def main() -> None:
    """Do the stages that are missing, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--task", default="gallbladder")
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--report", type=Path, metavar="FIGURE.svg")
    given = parser.parse_args()
    for way in () if given.report else WAYS:
        make_folder(given.out / way)
        for n in range(given.cases + 1):
            path = given.out / way / f"stage_{n}.json"
            if not path.exists():
                write_json(path, stage(given.out, way, n, given.task, given.steps))
    found = {way: [json.loads(path.read_text()) for path in sorted((given.out / way).glob("stage_*.json"))] for way in WAYS}
    report(found)
    if given.report:
        given.report.write_text(draw(found), encoding="utf-8")


def stage(out: Path, way: str, n: int, key: str, steps: int) -> dict[str, Any]:
    """The pack after ``n`` more trainings, and ``n`` more cases where it gets them: trained and judged."""
    if way == "alone" and n == 0:  # both begin alike
        return dict(json.loads((out / "corrected" / "stage_0.json").read_text()))
    folder, before = out / way, out / (way if n > 1 else "corrected") / f"run_{n - 1}" / "best.safetensors"
    data, began_cpu_s = folder / "data", time.process_time()
    make_folder(data)
    task = phantom_tasks()[key]
    for seed in FIRST_SEEDS:
        phantom = make_phantom(key, seed)
        add_case(data, phantom.volume, phantom.labels[key], task, case=f"drawn_{seed}")
    if n and way == "corrected":
        phantom, answer = answered(model_of(before), key, NEXT_SEED + n - 1)
        add_case(data, phantom.volume, phantom.labels[key], task, answer, case=f"corrected_{n}")
    plan = tuning_plan(load_checkpoint(embedded_weights()), task, "pack", changes={"iterations": steps})
    run = folder / f"run_{n}"
    best = run_training(TrainingRequest(
        data, run, plan, embedded_weights(), "cpu", cache=out / "cache", resume=(run / "plan.json").exists(), pack=before if n else None,
    )).best  # fmt: skip
    model = model_of(best)
    phantom, answer = answered(model, key, NEXT_SEED + n)
    return {
        "task": key, "cases": n, "steps": steps, "cpu_seconds": round(time.process_time() - began_cpu_s),
        "next": score(phantom, answer, key), "changed": int((answer.labels != phantom.labels[key]).sum()),
        "voxels": int((phantom.labels[key] > 0).sum()), "dice": [score(*answered(model, key, seed), key) for seed in TEST_SEEDS],
    }  # fmt: skip


def model_of(pack: Path) -> Predictor:
    """The demo weights with a pack."""
    return Predictor(load_checkpoint(embedded_weights()).with_packs([load_pack(pack)]), device="cpu")


def answered(model: Predictor, key: str, seed: int) -> tuple[Phantom, Segmentation]:
    """A phantom and the model's answer."""
    phantom = make_phantom(key, seed)
    [answer] = model.open(phantom.volume).segment([key])
    return phantom, answer


def score(phantom: Phantom, answer: Segmentation, key: str) -> float:
    """Dice of a whole scan."""
    return dice(answer.labels > 0, phantom.labels[key] > 0)


def mean(one: Mapping[str, Any]) -> float:
    """Dice of a stage, the mean over the scans that decide nothing."""
    return float(np.mean(one["dice"]))


def report(found: Stages) -> None:
    """The table, for docs/own-data.md."""
    corrected, alone = found["corrected"], {one["cases"]: one for one in found["alone"]}
    print("| corrected cases | Dice of the next answer | voxels to correct, of the structure's | Dice, 4 other scans "
          "| the same, without new cases | CPU minutes |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for one in corrected:
        other = f"{mean(alone[one['cases']]):.3f}" if one["cases"] in alone else ""
        print(f"| {one['cases']} | {one['next']:.3f} | {one['changed'] / one['voxels']:.2f} | {mean(one):.3f} "
              f"| {other} | {one['cpu_seconds'] / 60:.1f} |")  # fmt: skip


_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 620, 60, 300
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .grid { stroke: #8c959f; stroke-opacity: .35 }
.corrected { fill: #0072b2; stroke: #0072b2 } .alone { fill: #d55e00; stroke: #d55e00 } .line { fill: none; stroke-width: 2 } .alone.line { stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .corrected { fill: #56b4e9; stroke: #56b4e9 } .alone { fill: #e69f00; stroke: #e69f00 } .line { fill: none }
}</style>"""


def draw(found: Stages) -> str:
    """Dice on the scans that decide nothing, each a small mark, their mean a line: an SVG for light and dark pages."""
    most = max(len(stages) for stages in found.values())
    parts = [_text(10, 20, "Dice on four other scans after each corrected case", "title")]
    for tenth in range(0, 11, 2):
        y = _up(tenth / 10)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 10, y + 4, f"{tenth / 10:.1f}", anchor="end"))
    parts += [_text(_across(n, most), _BOTTOM + 20, str(n), anchor="middle") for n in range(most)]
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "corrected cases", anchor="middle"))
    for place, (way, stages) in enumerate(found.items()):
        parts += [_mark(24 + 260 * place, 40, way), _text(38 + 260 * place, 44, WAYS[way])]
        path = " L".join(f"{_across(one['cases'], most):.1f} {_up(mean(one)):.1f}" for one in stages)
        parts.append(f'<path class="{way} line" d="M{path}"/>' if stages else "")
        parts += [_mark(_across(one["cases"], most), _up(value), way) for one in stages for value in one["dice"]]
    told = "; ".join(f"{WAYS[way]}: {', '.join(f'{mean(one):.2f}' for one in stages)}" for way, stages in found.items())
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {_BOTTOM + 56}" role="img" aria-label="Mean Dice, {told}">'
            f"{_STYLE}{''.join(parts)}</svg>\n")  # fmt: skip


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _mark(x: float, y: float, way: str) -> str:
    """Round with new cases, square without."""
    if way == "corrected":
        return f'<circle class="{way}" fill-opacity=".5" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    return f'<rect class="{way}" fill-opacity=".5" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'


def _across(n: int, most: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (n + 0.5) / most


def _up(value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value


if __name__ == "__main__":
    main()
