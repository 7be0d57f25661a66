"""One call to a session, from tasks to arrays: what it gathers on its way, times, notes, and the record of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from uniseg_model.axes import axes_for
from uniseg_model.checkpoint import Checkpoint
from uniseg_model.cost import Pass
from uniseg_model.engines import Tick
from uniseg_model.engines.rules import PromptChoice
from uniseg_model.memory import halved, or_on_cpu
from uniseg_model.options import Options
from uniseg_model.packs.file import Pack
from uniseg_model.preprocess import Prepared, Recipe, Restored
from uniseg_model.presets import AS_TRAINED
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.record import RunRecord, Stopwatch, peak_memory_gb
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.suitability import doubts
from uniseg_model.tasks import Task
from uniseg_model.tensors import in_memory
from uniseg_model.volume import Shape
from uniseg_model.walk import through_windows
from uniseg_model.windows import Layout

if TYPE_CHECKING:
    from uniseg_model.predictor import Session

_SUMS_BYTES = 4e9  # of class sums in one pass; more tasks than fit take another pass, and encode again


class Run:
    """What one call to a session gathers on its way: times and notes."""

    def __init__(self, session: Session, tasks: list[Task], options: Options, progress: ProgressHook) -> None:
        self.session, self.tasks, self.progress = session, tasks, progress
        self.engine, self.checkpoint = session.predictor.engine, session.predictor.checkpoint
        self.weights = [(one, _packs_of(one, tasks)) for one in (self.checkpoint, *session.predictor.folds)]
        mirrored = all(one.about.mirrored and all(pack.facts.mirrored for pack in packs) for one, packs in self.weights)
        mirror = options.mirror
        if mirror is None or mirror == AS_TRAINED:
            mirror = mirrored and (mirror == AS_TRAINED or self.engine.device.type != "cpu")
        self.options = replace(options, mirror=mirror)
        self.clock = Stopwatch()
        self.notes = [*session.predictor.notes, *session.volume.warnings]
        if mirror and not mirrored:
            self.notes.append("these weights were never trained on mirrored images: mirroring makes them worse")
        for task in tasks:
            self.notes += [*doubts(task, session.volume), *self._overrides(task)]
            if task.caution and self.checkpoint.about.kind == "official":
                self.notes.append(f"{task.key}: {task.caution}")

    def recipe(self, task: Task) -> Recipe:
        """What the image becomes for a task."""
        return Recipe.of(task, self.options.spacing_mm, self.options.axes)

    def passes(self) -> Iterator[tuple[Prepared, list[Task]]]:
        """Tasks that share a prepared array, split where their class sums would take too much memory."""
        for recipe, group in self.groups().items():
            prepared = self.prepared(recipe)
            yield from ((prepared, part) for part in self.split(prepared.shape, group))

    def planned(self) -> Iterator[Pass]:
        """The same, before anything is done."""
        flips = 8 if self.options.mirror else 1
        for recipe, group in self.groups().items():
            shape, prepared = self.session.shape_under(recipe), self.session.known(recipe)
            saved = self._saved(prepared) if prepared else (0, 0)
            for part in self.split(shape, group):
                n_classes = sum(task.n_classes for task in part)
                yield Pass(shape, len(recipe.intensity), len(part), n_classes, flips, self.options.step, *saved)

    def groups(self) -> dict[Recipe, list[Task]]:
        """The tasks by what the image becomes for them."""
        groups: dict[Recipe, list[Task]] = {}
        for task in self.tasks:
            groups.setdefault(self.recipe(task), []).append(task)
        return groups

    def sweep(self, prepared: Prepared, tasks: list[Task], *, whole_head: bool) -> list[np.ndarray | Tensor]:
        """The class probabilities of each task; ``whole_head`` keeps classes beyond the task's."""
        focus = prepared.place_of(self.options.focus) if self.options.focus else None
        places = [self.checkpoint.place(task) for task in tasks]
        n_classes = [self.checkpoint.n_outputs(task) if whole_head else task.n_classes for task in tasks]
        sweep = replace(self.sweep_of(places, n_classes), focus=focus, body_share=self._body_share(prepared.recipe))

        def show(labels: list[np.ndarray]) -> dict[str, np.ndarray]:
            return {task.key: prepared.roughly_restored(found) for task, found in zip(tasks, labels, strict=True)}

        probabilities = self.answers(prepared, sweep, show)
        self._measure(prepared, sweep)
        return probabilities

    def sweep_of(self, prompts: Sequence[PromptChoice], n_classes: Sequence[int], layout: Layout | None = None) -> Sweep:
        """A sweep under the run's options; layout: its windows, in place of all."""
        mirror = bool(self.options.mirror)
        return Sweep(tuple(prompts), tuple(n_classes), self.options.step, mirror, self.options.batch, layout=layout)

    def layout(self, prepared: Prepared) -> Layout:
        """All windows over a prepared array, as segmenting takes them."""
        return Layout.over(prepared.shape, self.engine.window, self.options.step)

    def answers(
        self, prepared: Prepared, sweep: Sweep, show: Callable[[list[np.ndarray]], Mapping[str, np.ndarray]] | None = None
    ) -> list[np.ndarray | Tensor]:
        """The class probabilities of a sweep; see ``sliding.sweep_windows``."""
        with self.clock("predict"):
            probabilities, notes = sweep_windows(self.engine, prepared.array, sweep, self.progress, show)
        self.notes += notes
        return probabilities

    def restored(self, prepared: Prepared, probabilities: np.ndarray | Tensor) -> Restored:
        """The answer of one task on the image's own grid."""

        def restore(values: np.ndarray | Tensor) -> Restored:
            return prepared.restore(values, confidence=self.options.confidence)

        with self.clock("restore"):
            if isinstance(probabilities, np.ndarray):
                return restore(probabilities)
            note = "memory ran out on the way back to the image's grid; it went on on the CPU"
            return or_on_cpu(lambda: restore(probabilities), lambda: restore(in_memory(probabilities)), note, self.notes)

    def through(
        self,
        stage: str,
        array: np.ndarray,
        layout: Layout,
        compute: Callable[[Tensor], Tensor],
        keep: Callable[[Shape, np.ndarray], None],
    ) -> None:
        """Take windows (B, C, Z, Y, X) through ``compute``, and hand ``keep`` what came of each, with its first voxel."""
        total = len(layout.starts)

        def computed(windows: Tensor, tick: Tick) -> list[Tensor]:
            tick(0)  # the last place where it can be cancelled before the batch is computed
            return [compute(windows)]

        with self.clock(stage):
            through_windows(
                array, layout, self.options.batch or self.engine.best_batch(), computed,
                lambda start, parts: keep(start, parts[0].cpu().numpy()), lambda batch, exc: halved(batch, self.notes, exc),
                lambda done: self.progress(Progress(stage, done, total)),
            )  # fmt: skip
        self.progress(Progress(stage, total, total))

    def _measure(self, prepared: Prepared, sweep: Sweep) -> None:
        """Remember how fast this device is."""
        flips = 8 if sweep.mirror else 1
        saved, n_classes = self._saved(prepared), sum(sweep.n_classes)
        done = Pass(prepared.shape, len(prepared.array), len(sweep.prompts), n_classes, flips, sweep.step, *saved)
        if work := done.decodings(self.engine.window, self.engine.encoding):
            self.session.predictor.decoding_s = self.clock.last_s / work

    def _saved(self, prepared: Prepared) -> tuple[int, int]:
        """How many windows of segmenting repeat others, and how many are left out."""
        asked = self.engine.window, self.options.step, self._body_share(prepared.recipe)
        if asked not in prepared.saved:  # the price is asked at each change of the form
            layout = self.layout(prepared)
            chosen = layout.with_body(prepared.array, asked[-1])
            prepared.saved[asked] = chosen.repeats(prepared.array), len(layout.starts) - len(chosen.starts)
        return prepared.saved[asked]

    def _body_share(self, recipe: Recipe) -> float:
        """The least share of body in a window that is computed: nobody knows what is body but in a CT."""
        return self.options.body_share if set(recipe.intensity) == {"hu"} else 0.0

    def tell_restored(self, task: Task, restored: Mapping[str, Restored]) -> None:
        """One task is finished."""
        self.progress(Progress("restore", len(restored), len(self.tasks), lambda: {task.key: restored[task.key].labels}))

    def record(self, **more: Any) -> RunRecord:
        """What was done so far; ``more`` stands among the options."""
        volume = self.session.volume
        memory = {"process": peak_memory_gb()}
        if self.engine.device.type == "cuda":
            memory["gpu"] = round(torch.cuda.max_memory_allocated(self.engine.device) / 1e9, 3)
        return RunRecord(
            weights=self._described(),
            image={
                "paths": list(volume.source.paths),
                "format": volume.source.format,
                "shape": list(volume.shape),
                "spacing_mm": list(volume.spacing_mm),
                "orientation": volume.orientation,
            },
            tasks=tuple({"key": task.key, **asdict(self.recipe(task))} for task in self.tasks),
            options={**asdict(self.options), **more},
            engine={
                "name": self.engine.name,
                "device": str(self.engine.device),
                "precision": self.engine.precision,
                "threads": torch.get_num_threads(),
            },
            seconds=dict(self.clock.seconds),
            peak_memory_gb=memory,
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _described(self) -> dict[str, Any]:
        first, *others = (describe_weights(one, packs) for one, packs in self.weights)
        return {**first, "averaged_with": others} if others else first

    def prepared(self, recipe: Recipe) -> Prepared:
        """The image under a recipe."""
        self.progress(Progress("prepare"))
        device, prepare = self.engine.device, self.session.prepare
        with self.clock("prepare"):
            if device.type == "cpu":
                return prepare(recipe)
            note = "the image did not fit into the GPU's memory and was resampled on the CPU"
            return or_on_cpu(lambda: prepare(recipe, device), lambda: prepare(recipe), note, self.notes)

    def split(self, shape: Shape, tasks: list[Task]) -> list[list[Task]]:
        """The tasks in parts whose class sums fit into memory together."""
        task_bytes = 4 * max(map(self.checkpoint.n_outputs, tasks)) * math.prod(shape)
        at_once = max(1, int(_SUMS_BYTES // task_bytes))
        return [tasks[i : i + at_once] for i in range(0, len(tasks), at_once)]

    def _overrides(self, task: Task) -> list[str]:
        recipe, own = self.recipe(task), Recipe.of(task)
        notes = []
        if recipe.spacing_mm != own.spacing_mm:
            notes.append(f"{task.key} was trained at {own.spacing_mm} mm and is run at {recipe.spacing_mm} mm, as asked for")
        affine = self.session.volume.affine
        if axes_for(affine, recipe.axes) != axes_for(affine, own.axes):
            notes.append(f"{task.key} is run with axes {recipe.axes!r} in place of {own.axes!r}")
        return notes


def _packs_of(checkpoint: Checkpoint, tasks: Sequence[Task]) -> list[Pack]:
    """The packs that have a part in these tasks."""
    return [pack for pack in map(checkpoint.pack_of, tasks) if pack]


def describe_weights(checkpoint: Checkpoint, packs: Sequence[Pack] = ()) -> dict[str, Any]:
    """Which weights these are, for records and screens; ``packs``: those that had a part in it."""
    about = checkpoint.about
    facts = {"name": about.name, "kind": about.kind, "sha256": checkpoint.sha256, "licence": about.licence}
    added = [{"task": pack.facts.task.key, "sha256": pack.sha256, "licence": pack.facts.licence} for pack in packs]
    return {**facts, "packs": added} if added else facts
