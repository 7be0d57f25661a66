"""From folders and options to a training that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.engines.torch_engine import find_device
from uniseg_model.errors import OptionError, WeightsError
from uniseg_model.network.pack import PackNet
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.packs.file import load_pack
from uniseg_model.progress import ProgressHook, ignore_progress
from uniseg_model.tasks import Task
from uniseg_model.training.batches import Batches
from uniseg_model.training.cache import Cache, PreparedCase
from uniseg_model.training.cases import Split, find_cases, split_cases
from uniseg_model.training.plan import Plan
from uniseg_model.training.processes import joined
from uniseg_model.training.run import Listener, RunFolder
from uniseg_model.training.tensorboard import TensorBoard
from uniseg_model.training.trainer import Trainer, fresh_network
from uniseg_model.training.troubles import troubles_named
from uniseg_model.training.tune import nearest_task, start_like, start_net

Parts = dict[str, list[PreparedCase]]
_LOOKED_AT = 4  # steps' windows, to find the old task that is most like a new one


@dataclass(frozen=True)
class TrainingRequest:
    """One training, as a person puts it.

    data: a folder with a data set for each task, named by its key, or the data set itself of a plan that trains one task.
    out: the run folder. weights: where to start from, with the same network. cache: where prepared cases are kept;
        in the run folder when None. resume: go on with the run that is in ``out``. tensorboard: write its events, too.
    fold, folds: see ``cases.split_cases``. replay: a folder with data sets of old tasks, of a plan that trains them beside a
        new one. pack: of the same task, to go on from.
    """

    data: Path
    out: Path
    plan: Plan
    weights: Path | None = None
    device: str = "auto"
    workers: int = 0
    cache: Path | None = None
    resume: bool = False
    tensorboard: bool = False
    fold: int = 0
    folds: int | None = None
    replay: Path | None = None
    pack: Path | None = None


def run_training(
    request: TrainingRequest, progress: ProgressHook = ignore_progress, listeners: Sequence[Listener] = ()
) -> RunFolder:
    """Check the data, prepare it, train to the end; the run folder. The listeners are told each line of the curve.

    Raises:
        UniSegError: of the kind that fits what is wrong; bad cases are told before the first step.
    """
    device = find_device(request.device)
    net, origin = _start_network(request)
    with joined(device.type) as processes, troubles_named(), ExitStack() as held:
        processes.check_share(request.plan.batch)
        run = RunFolder(request.out, listeners)
        if processes.is_first:
            splits = splits_of(request)
            held.enter_context(run.claimed(request.plan, resume=request.resume))
            if request.tensorboard:
                run.tell(TensorBoard(request.out))
            prepared = _prepare(request, splits, progress)
            state = run.begin(request.plan, _facts(*prepared))
            processes.wait()
        else:
            processes.wait()  # until the first has prepared the cases and the folder
            prepared = _prepare(request, splits_of(request), progress)
            state = run.state()
        device = processes.device(device)
        if state is None:
            origin |= _started_like(request, net, prepared[0])
        trainer = Trainer(request.plan, run, net, device, workers=request.workers, processes=processes, origin=origin)
        if state:
            trainer.resume(state)
        trainer.train(*prepared, progress)
        processes.wait()
    return run


def _facts(learn: Parts, validate: Parts) -> dict[str, dict[str, dict[str, str]]]:
    """Which cases are on which side, by task, each with its hash."""
    sides = {"train": learn, "validation": validate}
    return {key: {side: {case.name: case.key for case in parts[key]} for side, parts in sides.items()} for key in learn}


def splits_of(request: TrainingRequest) -> dict[str, Split]:
    """The cases of each task that is trained, to learn from and to validate on."""
    plan = request.plan
    if request.replay is None:
        return find_splits(request.data, plan, request.fold, request.folds)
    *old, new = plan.learned.values()
    splits = {task.key: _split(request.replay / task.key, task, plan, 0, None) for task in old}
    own = request.data if (request.data / "labelsTr").is_dir() else request.data / new.key
    return {**splits, new.key: _split(own, new, plan, request.fold, request.folds)}


def find_splits(data: Path, plan: Plan, fold: int = 0, folds: int | None = None) -> dict[str, Split]:
    """The cases of each task that the plan trains, to learn from and to validate on."""
    alone = len(plan.learned) == 1 and (data / "labelsTr").is_dir()
    return {key: _split(data if alone else data / key, task, plan, fold, folds) for key, task in plan.learned.items()}


def _split(folder: Path, task: Task, plan: Plan, fold: int, folds: int | None) -> Split:
    return split_cases(folder, find_cases(folder, task), plan.validation_cases, fold=fold, folds=folds)


def _prepare(request: TrainingRequest, splits: Mapping[str, Split], progress: ProgressHook) -> tuple[Parts, Parts]:
    cache, tasks = Cache(request.cache or request.out / "cache"), request.plan.tasks
    learn = cache.prepare_all({tasks[key]: split.train for key, split in splits.items()}, progress)
    return learn, cache.prepare_all({tasks[key]: split.validation for key, split in splits.items()}, progress)


def _start_network(request: TrainingRequest) -> tuple[UniSegNet | PackNet, dict[str, Any]]:
    """The network to start with, and what there is to tell about where it comes from."""
    plan = request.plan
    if request.weights is None:
        if plan.depth != "scratch":
            raise OptionError(
                f"the depth {plan.depth} starts from trained weights, none were named", hint="Name them with --from."
            )
        return fresh_network(plan), {}
    checkpoint = load_checkpoint(request.weights)
    about = checkpoint.about
    origin = {"started_from": {"name": about.name, "sha256": checkpoint.sha256, "licence": about.licence}}
    if plan.depth == "scratch":
        return _same_network(request.weights, checkpoint, plan), origin
    pack = load_pack(request.pack) if request.pack else None
    return start_net(plan, checkpoint, pack), {**origin, **({"pack": pack.sha256} if pack else {})}


def _started_like(request: TrainingRequest, net: UniSegNet | PackNet, learn: Parts) -> dict[str, Any]:
    """Start a new task as the nearest old one, where nothing is known of it yet; which one that is."""
    plan = request.plan
    if plan.depth not in ("pack", "full") or request.pack or request.weights is None:
        return {}
    base = load_checkpoint(request.weights)
    task = list(plan.learned.values())[-1]
    if task.key in base.tasks:
        return {}
    own = replace(plan, learn=(task.key,), negatives=0.0, task_weights={})
    batches = [Batches(own, learn)[step] for step in range(_LOOKED_AT)]
    like = nearest_task(net, plan, base, batches, torch.device("cpu"))
    if like:
        start_like(net, plan.place(task), base.place(base.tasks[like]))
    return {"started_like": like}


def _same_network(path: Path, checkpoint: Checkpoint, plan: Plan) -> UniSegNet:
    """The network of weights that know the plan's tasks."""
    net = fresh_network(plan)
    if checkpoint.config != plan.network:
        raise WeightsError(f"{path.name} holds another network than the plan asks for",
                           hint="Take the network of the weights into the plan.")  # fmt: skip
    known = {key: (task.modalities, [label.name for label in task.labels]) for key, task in checkpoint.tasks.items()}
    for key, task in plan.tasks.items():
        if known.get(key) != (task.modalities, [label.name for label in task.labels]):
            raise WeightsError(f"{path.name} does not know {key!r} with these channels and structures")
    if list(known) != list(plan.tasks):
        raise WeightsError(f"{path.name} knows {', '.join(known)}, the plan trains {', '.join(plan.tasks)}",
                           hint="Train the same tasks in the same order.")  # fmt: skip
    net.load_state_dict({name: tensor.float() for name, tensor in checkpoint.weights.items()})
    return net
