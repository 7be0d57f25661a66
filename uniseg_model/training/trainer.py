"""The loop: one task a step, as the paper trains it."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from uniseg_model.checkpoint import About, Checkpoint
from uniseg_model.errors import TrainingError
from uniseg_model.network.blocks import Block
from uniseg_model.network.pack import PackNet
from uniseg_model.network.uniseg import UniSegNet, pick
from uniseg_model.packs.facts import PackFacts
from uniseg_model.packs.file import Pack
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.training.allocator import keep_freed_memory
from uniseg_model.training.batches import Batch, Batches
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.half import half_of, spare_small_maps
from uniseg_model.training.interrupts import deferred_interrupts
from uniseg_model.training.losses import TaskLoss
from uniseg_model.training.optimisers import make_optimiser, rate_at
from uniseg_model.training.plan import Plan
from uniseg_model.training.preview import write_preview
from uniseg_model.training.processes import Processes
from uniseg_model.training.run import RunFolder, State
from uniseg_model.training.validation import Scores, Validator, mean_score

_REPORT_EVERY = 50  # steps
_REPORTS = 40  # at least, of a training of one task
_OVERFLOWS = 20  # in a row, in half precision, before it is given up
Cases = Mapping[str, Sequence[PreparedCase]]
Net = TypeVar("Net", bound=nn.Module)


@dataclass
class _Tally:
    """Losses by task since the last report, and the seconds of their steps."""

    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    def facts(self, step: int, rate: float) -> dict[str, Any]:
        n_steps = sum(map(len, self.losses.values()))
        means = {key: sum(values) / len(values) for key, values in sorted(self.losses.items())}
        return {"step": step, "rate": rate, "seconds_a_step": round(self.seconds / n_steps, 4), "loss": means}


class Trainer:
    """One training in its folder, on one device.

    net: with the weights to start from; it is trained in place, where its weights are not frozen.
    workers: processes that cut and augment windows beside the one that trains.
    """

    def __init__(
        self, plan: Plan, run: RunFolder, net: UniSegNet | PackNet, device: torch.device, *, workers: int = 0,
        processes: Processes | None = None, origin: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._origin = dict(origin or {})
        self._plan, self._run, self._device, self._workers = plan, run, device, workers
        self._processes = processes or Processes()
        self._processes.check_share(plan.batch)
        self._net = fast_form(net).to(device).train()
        self._net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._optimiser = make_optimiser(plan, [weights for weights in self._net.parameters() if weights.requires_grad])
        self._half = half_of(plan.precision, device)
        if device.type == "cpu" and self._half:
            spare_small_maps(self._net)
        self._scaler = torch.amp.GradScaler(enabled=self._half is torch.float16)
        self._loss = TaskLoss(batch_dice=plan.batch_dice)
        self._step, self._best, self._tally, self._overflows = 0, -1.0, _Tally(), 0
        self._scores: Scores = {}  # of the last validation
        if device.type == "cpu":
            keep_freed_memory()

    def resume(self, state: State) -> None:
        """Go on from a saved state, as if nothing had happened in between."""
        self._net.load_own_state(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        if state["scaler"] and self._scaler.is_enabled():  # a run may go on on another device
            self._scaler.load_state_dict(state["scaler"])
        self._step, self._best = state["step"], state["best"]
        self._tally.losses.update(state["tally"])

    def train(self, learn: Cases, validate: Cases, progress: ProgressHook) -> None:
        """All steps that are left. Ctrl-C and termination are heard between two steps, and the last step is saved.

        Raises:
            TrainingError: loss or gradient is not a number any more; the step's windows are named, nothing of it is saved.
            OutputError: a checkpoint cannot be written. Cancelled: the hook wanted it so.
        """
        model, validator = self._parallel(), Validator(self._plan, validate)
        between_steps = False
        try:
            if self._step == 0 and self._plan.depth != "scratch":
                self._validate(validator)  # what there is to beat
            with deferred_interrupts() as check_interrupt:
                for batch in self._batches(learn):
                    between_steps = True
                    check_interrupt()
                    progress(Progress("train", self._step, self._plan.iterations))
                    between_steps = False
                    self._do(model, batch)
                    self._after_step(validator)
        except BaseException:
            if between_steps:  # cancelled or terminated: keep what was learned
                self._save()
            raise
        self._save()
        if self._processes.is_first:
            self.result().save(self._run.final)

    def _do(self, model: nn.Module, batch: Batch) -> None:
        start = time.monotonic()
        self._tally.losses[batch.task.key].append(self._learn(model, batch))
        self._tally.seconds += time.monotonic() - start
        self._step += 1

    def _report_every(self) -> int:
        """Losses of several tasks need many steps to be means of each."""
        is_one = len(self._plan.learned) == 1
        return max(1, min(_REPORT_EVERY, self._plan.iterations // _REPORTS)) if is_one else _REPORT_EVERY

    def _after_step(self, validator: Validator) -> None:
        """What falls due: a report, a validation, a checkpoint."""
        plan, step = self._plan, self._step
        is_last = step == plan.iterations
        if step % self._report_every() == 0 or is_last:
            self._report(self._tally.facts(step, rate_at(plan, step - 1)))
            self._tally = _Tally()
        if step % plan.epoch == 0 or is_last:
            self._validate(validator)
        keep = bool(plan.keep_every) and step % plan.keep_every == 0
        if step % plan.save_every == 0 or keep:
            self._save(keep=keep)

    def _parallel(self) -> nn.Module:
        step: nn.Module = AllScales(self._net)
        if self._plan.compile:
            step = torch.compile(step, dynamic=False)  # type: ignore[assignment]
        if self._processes.world == 1:
            return step
        where = [self._processes.local] if self._device.type == "cuda" else None
        return DistributedDataParallel(step, device_ids=where, find_unused_parameters=True)

    def _batches(self, cases: Cases) -> Iterator[Batch]:
        batches = Batches(self._plan, cases, self._processes.rank, self._processes.world)
        steps = range(self._step, self._plan.iterations)
        return iter(DataLoader(batches, batch_size=None, sampler=steps, num_workers=self._workers))

    def _learn(self, model: nn.Module, batch: Batch) -> float:
        """One step; its loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self._plan, self._step)
        self._forget_gradients()
        images = batch.images.to(self._device, memory_format=torch.channels_last_3d)
        place = self._plan.place(batch.task)
        with torch.autocast(self._device.type, dtype=self._half, enabled=self._half is not None):
            scales = model(images, torch.full((len(images),), place))
        loss = self._loss(scales, batch.labels.to(self._device), batch.task.n_classes)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.clip_grad_norm_(self._net.parameters(), self._plan.clip)
        value = float(self._processes.mean(loss.detach()))
        self._check_finite(value, float(norm), batch)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return value

    def _check_finite(self, loss: float, norm: float, batch: Batch) -> None:
        """In half precision an overflow now and then is usual: the scaler skips the step and scales less."""
        if math.isfinite(loss) and math.isfinite(norm):
            self._overflows = 0
            return
        self._overflows += 1
        if self._scaler.is_enabled() and self._overflows < _OVERFLOWS:
            return
        raise TrainingError(
            f"at step {self._step} on {batch.task.key} the loss became {loss} and the gradient's norm {norm}: {', '.join(batch.sources)}",
            hint="Look at these cases, or start a new run --from the best weights with a lower rate; nothing of this step is saved.",
        )

    def _forget_gradients(self) -> None:
        """Zeros for SGD: as in the original, momentum goes on in weights that a step did not touch. None for Adam."""
        self._optimiser.zero_grad()
        if self._plan.optimiser == "sgd":
            for group in self._optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)

    def _validate(self, validator: Validator) -> None:
        if not (self._processes.is_first and self._plan.validation_windows):
            return
        scores = self._scores = validator.scores(self._net, self._device)
        mean = mean_score(scores)
        self._run.report({"step": self._step, "mean_dice": mean, "dice": scores})
        write_preview(self._run.preview, validator.example(self._net, self._device), self._step, mean)
        if mean >= self._best:  # of equals the later: while nothing is found yet, it has learned longest
            self._best = mean
            self.result().save(self._run.best)

    def _report(self, facts: dict[str, Any]) -> None:
        if self._processes.is_first:
            self._run.report(facts)

    def _save(self, *, keep: bool = False) -> None:
        if self._processes.is_first:
            self._run.save(self.state(), keep=keep)

    def state(self) -> State:
        """All that is needed to go on."""
        return {
            "step": self._step, "best": self._best, "weights": self._net.own_state(),
            "optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict(), "tally": dict(self._tally.losses),
        }  # fmt: skip

    def result(self) -> Checkpoint | Pack:
        """What was learned so far, ready for use."""
        plan, started = self._plan, self._origin.get("started_from", {})
        history = {"step": self._step, "best_validation_dice": self._best, "plan": plan.to_dict(), **self._origin}
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self._net.own_state().items()}
        licence, mirrored = str(started.get("licence", "as its maker says")), plan.augmentation == "full"
        if isinstance(self._net, PackNet):
            [task] = plan.tasks.values()
            dice = {name: value if math.isfinite(value) else None for name, value in self._scores.get(task.key, {}).items()}
            history = {**history, "plan": {**plan.to_dict(), "tasks": [task.key]}}
            facts = PackFacts(task, started["sha256"], started["name"], plan.rank, licence, dice, mirrored, history)
            return Pack(facts, weights)
        about = About("trained here", "trained", licence, history, mirrored=mirrored)
        return Checkpoint(plan.network, plan.tasks, weights, about)


def fresh_network(plan: Plan) -> UniSegNet:
    """A network to start from, drawn from the plan's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        net = UniSegNet(plan.network)
    scale_prompts(net, plan.prompt_scale)
    return net


def scale_prompts(net: UniSegNet, scale: float) -> None:
    """Set how large the task prompts of a fresh network are; 1 is the original's."""
    last = net.fusion[-1]
    assert isinstance(last, Block), "the fusion ends in a block"
    nn.init.constant_(last.norm.weight, scale)


class AllScales(nn.Module):
    """The network as one call that answers at every resolution: what learns, alone or shared by several processes."""

    def __init__(self, net: UniSegNet | PackNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, tasks: Tensor) -> list[Tensor]:
        """Logits at every resolution, full resolution first, of windows (B, C, Z, Y, X) with their tasks' places (B,)."""
        features = self.net.encode(images)
        return self.net.decode_all_scales(features, pick(self.net.prompts(features), tasks))


def fast_form(net: Net) -> Net:
    """The same network with each instance norm written as a group norm of one channel a group.

    Same weights, same names, same numbers; a quarter less time a step on a CPU.
    """
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.InstanceNorm3d):
                norm = nn.GroupNorm(child.num_features, child.num_features, eps=child.eps)
                norm.load_state_dict(child.state_dict())
                norm.requires_grad_(child.weight.requires_grad)
                setattr(parent, name, norm)
    return net
