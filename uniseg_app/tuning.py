"""Adding a task of one's own to weights: what it costs, doing it, and whether it was worth it. Knows no terminal, window or page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.commands import find_weights
from uniseg_app.outputs import check_folder
from uniseg_app.pack_store import install
from uniseg_app.settings import write_weights_setting
from uniseg_model.dataset import TASK_FILE
from uniseg_model.errors import OptionError, TaskError
from uniseg_model.files import write_json
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.tasks import Task, read_tasks

if TYPE_CHECKING:
    from uniseg_model.checkpoint import Checkpoint
    from uniseg_model.training.estimate import Price
    from uniseg_model.training.run import Listener, RunFolder
    from uniseg_model.training.start import TrainingRequest

CERTIFICATE, VERDICT = "certificate.json", "verdict.json"  # in the run folder
_FORGOTTEN = 0.02  # Dice that an old task may lose before it counts
_DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class TuningRequest:
    """One task to add, as a person puts it.

    data: the task's data set. out: the run folder. depth: ``pack``, ``full`` or ``backbone``, see ``training.tune``.
    task_file: what the task is; ``task.toml`` in the data set when None. task: its key, where the file holds several.
    weights: to start from; those in use when None. minutes: how long the steps may take; ten when no steps are named either.
    iterations: steps, in place of minutes. changes: fields of the plan. replay: data sets of old tasks to train on, too.
    pack: of the same task, to go on from. install: take the result into use, when it is better than its start.
    """

    data: Path
    out: Path
    depth: str
    task_file: Path | None = None
    task: str | None = None
    weights: Path | None = None
    minutes: float | None = None
    iterations: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    replay: Path | None = None
    pack: Path | None = None
    fold: int = 0
    folds: int | None = None
    device: str = "auto"
    workers: int = 0
    cache: Path | None = None
    resume: bool = False
    install: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether the result is better than what it started from, by Dice of the same validation windows.

    old_tasks: by key, before and after, of those whose cases were replayed. unseen: keys of old tasks that may have changed and
    were not measured.
    """

    depth: str
    task: str
    start_dice: float | None
    best_dice: float | None
    old_tasks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    @property
    def forgotten(self) -> list[str]:
        """Keys of old tasks that got worse."""
        return [key for key, (before, after) in self.old_tasks.items() if after < before - _FORGOTTEN]

    @property
    def is_better(self) -> bool:
        """Whether the new task is found better than at the start, and no measured old one is found worse."""
        known = self.best_dice is not None and self.start_dice is not None
        return known and self.best_dice > self.start_dice and not self.forgotten  # type: ignore[operator]

    def sentence(self) -> str:
        """In words."""
        if self.best_dice is None or self.start_dice is None:
            return f"{self.task} was not validated, so nothing is known of it: it is not taken into use."
        change = f"validation Dice of {self.task} {self.start_dice:.2f} -> {self.best_dice:.2f}"
        if self.forgotten:
            worse = ", ".join(f"{key} {self.old_tasks[key][0]:.2f} -> {self.old_tasks[key][1]:.2f}" for key in self.forgotten)
            return f"Worse than its start: {worse} ({change}). It is not taken into use."
        if not self.is_better:
            return f"Not better than its start: {change}. It is not taken into use."
        unseen = f" {len(self.unseen)} old tasks were not measured: {', '.join(self.unseen)}." if self.unseen else ""
        return f"Better than its start: {change}.{unseen}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "sentence": self.sentence(), "is_better": self.is_better, "depth": self.depth, "task": self.task,
            "start_dice": self.start_dice, "best_dice": self.best_dice,
            "old_tasks": {key: {"before": a, "after": b} for key, (a, b) in self.old_tasks.items()}, "unseen": list(self.unseen),
        }  # fmt: skip


def find_task(data: Path, task_file: Path | None = None, key: str | None = None) -> Task:
    """The task that a data set is for.

    Raises:
        TaskError: there is no description, none of that key, or several and no key.
    """
    path = task_file or data / TASK_FILE
    if not path.exists():
        raise TaskError(f"{data} does not say what its task is: there is no {path}",
                        hint="Describe it in the form of tasks.toml and name the file with --task-file.")  # fmt: skip
    tasks = {task.key: task for task in read_tasks(path)}
    if key is None and len(tasks) != 1:
        raise TaskError(f"{path} describes {len(tasks)} tasks: {', '.join(tasks)}", hint="Choose one with --tasks.")
    if key is not None and key not in tasks:
        raise TaskError(f"{path} has no task {key!r}, only {', '.join(tasks)}")
    return tasks[key] if key else next(iter(tasks.values()))


def prepare_tuning(request: TuningRequest) -> tuple[TrainingRequest, Price]:
    """The training behind a request, and its price after two real steps. A run that goes on keeps its own plan.

    Raises:
        UniSegError: of the kind that fits what is wrong.
    """
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.engines.torch_engine import find_device
    from uniseg_model.training.estimate import measure_step_s, price_of, steps_within
    from uniseg_model.training.run import RunFolder
    from uniseg_model.training.start import TrainingRequest, splits_of
    from uniseg_model.training.tune import start_net

    check_folder(request.out)
    weights = find_weights(request.weights)
    base, device = load_checkpoint(weights), find_device(request.device)
    plan = RunFolder(request.out).plan() if request.resume else _plan(request, base)
    training = TrainingRequest(
        request.data, request.out, plan, weights, request.device, request.workers, request.cache, request.resume,
        fold=request.fold, folds=request.folds, replay=request.replay, pack=request.pack,
    )  # fmt: skip
    splits = splits_of(training)  # bad folders are told before anything is computed
    step_s = None
    if not request.resume and request.iterations is None:
        step_s = measure_step_s(plan, start_net(plan, base), device)
        plan = replace(plan, iterations=steps_within(request.minutes or _DEFAULT_MINUTES, plan, step_s))
    return replace(training, plan=plan), price_of(plan, start_net(plan, base), splits, device, step_s)


def _plan(request: TuningRequest, base: Checkpoint) -> Any:
    from uniseg_model.training.tune import tuning_plan

    if request.minutes is not None and not 0 < request.minutes <= 100_000:
        raise OptionError(f"the minutes of a training must be above 0 and at most 100000, they are {request.minutes:g}")
    task = find_task(request.data, request.task_file, request.task)
    steps = {} if request.iterations is None else {"iterations": request.iterations}
    return tuning_plan(base, task, request.depth, replayed=_replayed(request, base), changes={**request.changes, **steps})


def _replayed(request: TuningRequest, base: Checkpoint) -> list[str]:
    if request.replay is None:
        return []
    found = [key for key in base.base_tasks if (request.replay / key / "labelsTr").is_dir()]
    if not found:
        raise OptionError(f"{request.replay} holds no data set of an old task",
                          hint="It holds one folder for each, named by its key, such as liver.")  # fmt: skip
    return found


def tune(
    request: TuningRequest,
    training: TrainingRequest,
    progress: ProgressHook = ignore_progress,
    listeners: Sequence[Listener] = (),
) -> dict[str, Any]:
    """Train to the end, judge the result, prove that nothing was forgotten, and install it where asked; as plain values.

    Raises:
        UniSegError: of the kind that fits what is wrong. Cancelled: the hook wanted it so.
    """
    from uniseg_model.training.start import run_training

    return conclude(request, run_training(training, progress, listeners), progress)


def conclude(request: TuningRequest, run: RunFolder, progress: ProgressHook = ignore_progress) -> dict[str, Any]:
    """What came of a run, ended or stopped: verdict, certificate and, where asked, the installed result.

    Raises:
        UniSegError: of the kind that fits what is wrong. Cancelled: the hook wanted it so.
    """
    weights, plan = find_weights(request.weights), run.plan()
    verdict = judge(run)
    write_json(run.folder / VERDICT, verdict.to_dict())
    found = {"result": str(run.best), "bytes": run.best.stat().st_size, "steps": plan.iterations, "verdict": verdict.to_dict()}
    if plan.depth == "pack":
        found["certificate"] = _certified(run, weights, progress)
    if request.install and verdict.is_better:
        found["installed"] = str(take_into_use(run.best, plan.depth, weights))
    return found


def take_into_use(result: Path, depth: str, weights: Path) -> Path:
    """Install a pack for its weights, or make other weights those in use. What is in use now.

    Raises:
        UniSegError: as ``pack_store.install`` and ``settings.write_weights_setting``.
    """
    if depth == "pack":
        return install(result, weights, replace=True).path
    write_weights_setting(result)
    return result


def judge(run: RunFolder) -> Verdict:
    """Compare the first validation of a run with its best."""
    from uniseg_model.training.validation import mean_score

    plan = run.plan()
    task = list(plan.learned)[-1]
    lines = [line for line in run.curve() if "mean_dice" in line]
    unseen = tuple(key for key in plan.tasks if key not in plan.learned) if plan.depth == "full" else ()
    if not lines or lines[0]["step"] != 0:
        return Verdict(plan.depth, task, None, None, {}, unseen)
    first, best = lines[0], max(lines, key=lambda line: line["mean_dice"])
    means = [{key: mean_score({key: _numbers(found)}) for key, found in line["dice"].items()} for line in (first, best)]
    old = {key: (means[0][key], means[1][key]) for key in plan.learned if key != task}
    return Verdict(plan.depth, task, means[0][task], means[1][task], old, unseen)


def _numbers(dice: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in dice.items()}


def _certified(run: RunFolder, weights: Path, progress: ProgressHook) -> dict[str, Any]:
    from uniseg_model.checkpoint import load_checkpoint
    from uniseg_model.packs.certificate import certify
    from uniseg_model.packs.file import load_pack

    found = certify(load_checkpoint(weights).with_packs([load_pack(run.best)]), progress).to_dict()
    write_json(run.folder / CERTIFICATE, found)
    return found
