"""The face of the engine: a ``Predictor`` holds loaded weights, a ``Session`` one opened image.

Tasks with the same recipe share one prepared array and, window by window, one encoding.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.cost import Cost, room_for_sums_gb
from uniseg_model.embedded import embedded_weights
from uniseg_model.engines import Engine
from uniseg_model.engines.choice import make_engine
from uniseg_model.engines.ensemble import Ensemble
from uniseg_model.errors import OptionError, TaskError, WeightsError
from uniseg_model.memory import out_of_memory_named
from uniseg_model.options import Options
from uniseg_model.packs.file import load_pack
from uniseg_model.preprocess import Prepared, Recipe, Restored, best_class, largest_shape, prepare
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.record import RunRecord
from uniseg_model.regions import WHOLE, Region
from uniseg_model.run import Run, describe_weights
from uniseg_model.segmentation import MergedMap, Segmentation, agreement
from uniseg_model.suitability import check_channels, suitable_tasks
from uniseg_model.tasks import Task
from uniseg_model.tensors import as_bytes
from uniseg_model.volume import Shape, Volume

if TYPE_CHECKING:
    from uniseg_model.prompts.changes import Change
    from uniseg_model.prompts.maps import PromptMaps
    from uniseg_model.prompts.saliency import Saliency
    from uniseg_model.prompts.whatif import WhatIf

__all__ = ["Options", "Predictor", "Session", "describe_weights", "embedded_weights", "load_model"]

_SHORT_S = 3.0


class Predictor:
    """Weights on a device, ready for any number of images.

    folds: other weights with the same tasks, whose class probabilities are averaged with the first's.
    engine: see :func:`make_engine`. device, precision: see :class:`TorchEngine`. threads: of the CPU; None leaves torch's choice.
    notes: what is to be said of the engine in every record.

    Raises:
        WeightsError: the folds have other tasks or another network. DeviceError, OptionError, MissingPackageError: as the parts do.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, folds: Sequence[Checkpoint] = (), device: str = "auto", precision: str = "auto",
        threads: int | None = None, engine: str = "auto",
    ) -> None:  # fmt: skip
        if threads is not None:
            most = 4 * (os.cpu_count() or 1)
            if not 1 <= threads <= most:
                raise OptionError(f"threads must be between 1 and {most} here, not {threads}")
            torch.set_num_threads(threads)
        self.checkpoint, self.folds = checkpoint, tuple(folds)
        for fold in folds:
            _check_fold(checkpoint, fold)
        made = [make_engine(one, engine, device, precision) for one in (checkpoint, *folds)]
        self.engine: Engine = Ensemble([one for one, _ in made]) if folds else made[0][0]
        self.notes = tuple(dict.fromkeys(note for _, note in made if note))
        self.decoding_s: float | None = None  # measured by the last run

    def measure_speed(self) -> None:
        """Compute windows of nothing, so that what a run will take is known before the first; at once where it is known already."""
        if self.decoding_s is None:
            first_s = self._computed_nothing_s()  # caches are cold: the second tells more, where it does not take long
            again_s = self._computed_nothing_s() if first_s < _SHORT_S else first_s
            self.decoding_s = min(first_s, again_s) / (self.engine.best_batch() * (1 + self.engine.encoding))

    def _computed_nothing_s(self) -> float:
        windows = torch.zeros(self.engine.best_batch(), self.checkpoint.config.stems[0], *self.engine.window)
        began_s = time.monotonic()
        [answer] = self.engine.run(windows, [0], mirror=False, tick=lambda share: None)
        answer[0, 0, 0, 0, 0].item()  # a GPU answers before it is done, but not with a number
        return time.monotonic() - began_s

    def open(self, volume: Volume, prepared: dict[Recipe, Prepared] | None = None) -> Session:
        """A session on one image.

        prepared: what is known of an image with the same voxels in the same place; the session adds to it.
        """
        return Session(self, volume, {} if prepared is None else prepared)


class Session:
    """One image; prepared arrays are kept, so the next task with the same recipe starts at once.

    tasks: what the weights know, in prompt order.
    """

    def __init__(self, predictor: Predictor, volume: Volume, prepared: dict[Recipe, Prepared]) -> None:
        self.volume = volume
        self.tasks = predictor.checkpoint.tasks
        self.predictor = predictor
        self._prepared = prepared

    def segment(
        self, tasks: Sequence[str | Task], options: Options | None = None, progress: ProgressHook = ignore_progress
    ) -> list[Segmentation]:
        """The labels of each task, in the order asked for, each once.

        Raises:
            TaskError: the weights do not know a task. ModalityError: the image has not the task's channels.
            OutOfMemoryError: even the smallest plan does not fit. Cancelled: the hook wanted it so.
        """
        run = Run(self, self._tasks(tasks), options or Options(), progress)
        restored: dict[str, Restored] = {}
        with out_of_memory_named():
            for prepared, group in run.passes():
                probabilities = run.sweep(prepared, group, whole_head=False)
                for task in group:
                    progress(Progress("restore", len(restored), len(run.tasks)))
                    restored[task.key] = run.restored(prepared, probabilities.pop(0))
                    run.tell_restored(task, restored)
        record = run.record()
        answers = [Segmentation(task=t, volume=self.volume, record=record, **vars(restored[t.key])) for t in run.tasks]
        return self._compared(answers, run.options, progress) if run.options.agreement else answers

    def _compared(self, answers: list[Segmentation], options: Options, progress: ProgressHook) -> list[Segmentation]:
        """The same answers, knowing how far they agree with those under the other mirroring."""

        def compare(now: Progress) -> None:
            progress(Progress("compare" if now.stage == "predict" else now.stage, now.done, now.total))

        others = self.segment([answer.task for answer in answers], _other_way(options), compare)
        return [replace(a, agreement=agreement(a, other)) for a, other in zip(answers, others, strict=True)]

    def segment_as_original(
        self, tasks: Sequence[str | Task], options: Options | None = None, progress: ProgressHook = ignore_progress
    ) -> tuple[MergedMap, RunRecord]:
        """One map of all tasks, fused as the original's "all tasks" mode does it.

        On the network's grid, the best of all the head's classes counts if the task has it, and later tasks overwrite
        earlier ones; the fused labels are then resampled as one-hot classes. Axes are as stored unless asked otherwise.

        Raises:
            OptionError: the tasks stand on different grids. Otherwise as :meth:`segment`.
        """
        with out_of_memory_named():
            return self._fuse(tasks, options, progress)

    def _fuse(
        self, tasks: Sequence[str | Task], options: Options | None, progress: ProgressHook
    ) -> tuple[MergedMap, RunRecord]:
        options = options or Options()
        run = Run(self, self._tasks(tasks), replace(options, axes=options.axes or "stored"), progress)
        recipes = {run.recipe(task) for task in run.tasks}
        if len(recipes) > 1:
            raise OptionError(f"the original's merge needs one grid for all tasks, these stand at {sorted({r.spacing_mm for r in recipes})} mm",
                              hint="Add --spacing 3,1.5,1.5, as the original does.")  # fmt: skip
        values = self.tasks.label_values
        structures = {values[task.key, label.name]: (task, label) for task in run.tasks for label in task.labels}
        prepared = run.prepared(recipes.pop())
        fused = np.zeros(prepared.shape, np.uint8)
        for group in run.split(prepared.shape, run.tasks):
            probabilities = run.sweep(prepared, group, whole_head=True)
            for task in group:
                best = as_bytes(best_class(probabilities.pop(0)))
                for i, label in enumerate(task.labels, start=1):
                    fused[best == i] = values[task.key, label.name]
        with run.clock("restore"):
            one_hot = fused == np.arange(max(structures) + 1, dtype=np.uint8)[:, None, None, None]
            labels = prepared.restore(one_hot).labels
        return MergedMap(labels, self.volume, structures, "original: later tasks overwrite on the network's grid"), run.record()

    def prompt_maps(
        self,
        tasks: Sequence[str | Task] | None = None,
        options: Options | None = None,
        progress: ProgressHook = ignore_progress,
    ) -> list[PromptMaps]:
        """What the decoder is told about this image: one set of maps for each grid on which its tasks stand.

        tasks: None for those that suit the image. Tasks with one recipe share one encoding, and nothing is decoded.

        Raises:
            TaskError, ModalityError, OutOfMemoryError, Cancelled: as :meth:`segment`.
        """
        from uniseg_model.prompts.maps import make_prompt_maps

        chosen = self._tasks(suitable_tasks(self.tasks, self.volume) if tasks is None else tasks)
        run = Run(self, chosen, replace(options or Options(), mirror=False), progress)
        with out_of_memory_named():
            return [make_prompt_maps(run, run.prepared(recipe), group) for recipe, group in run.groups().items()]

    def what_if(
        self,
        task: str | Task,
        change: Change,
        options: Options | None = None,
        region: Region = WHOLE,
        progress: ProgressHook = ignore_progress,
    ) -> WhatIf:
        """The answer of one task before and after its prompt is replaced; only the windows of the region are computed.

        Confidence and agreement are not looked at.

        Raises:
            TaskError, ModalityError, OutOfMemoryError, Cancelled: as :meth:`segment`.
            OptionError: the region or the change does not fit.
        """
        from uniseg_model.prompts.whatif import make_what_if

        run = Run(self, self._tasks([task]), options or Options(), progress)
        with out_of_memory_named():
            return make_what_if(run, change, region)

    def saliency(
        self,
        task: str | Task,
        structure: str,
        options: Options | None = None,
        region: Region = WHOLE,
        progress: ProgressHook = ignore_progress,
    ) -> Saliency:
        """How the probability of a task's structure answers to small changes of the task's prompt, place by place.

        Raises:
            TaskError, ModalityError, OutOfMemoryError, Cancelled: as :meth:`segment`.
            OptionError: the task has no such structure, or the region does not fit.
        """
        from uniseg_model.prompts.saliency import make_saliency

        run = Run(self, self._tasks([task]), replace(options or Options(), mirror=False), progress)
        with out_of_memory_named():
            return make_saliency(run, structure, region)

    def cost(self, tasks: Sequence[str | Task], options: Options | None = None) -> Cost:
        """What :meth:`segment` will take at most; exact once the image is prepared.

        Raises:
            TaskError, ModalityError: as :meth:`segment`. GeometryError: the spacing would make an array beyond any machine.
        """
        run = Run(self, self._tasks(tasks), options or Options(), ignore_progress)
        passes = list(run.planned())
        if run.options.agreement:
            passes += Run(self, run.tasks, _other_way(run.options), ignore_progress).planned()
        engine, window_s = self.predictor.engine, self.predictor.decoding_s
        room_gb = room_for_sums_gb()
        largest = max(one.least_bytes(room_gb) for one in passes)
        is_gpu = engine.device.type == "cuda"  # where sums that do not fit move to the CPU
        return Cost(
            windows=sum(one.windows(engine.window) for one in passes),
            memory_gb=(engine.window_bytes() + (0 if is_gpu else largest)) / 1e9,
            free_gb=engine.free_gb(),
            seconds=None
            if window_s is None
            else window_s * sum(one.decodings(engine.window, engine.encoding) for one in passes),
        )

    def prepare(self, recipe: Recipe, device: torch.device | None = None) -> Prepared:
        """The image under a recipe, prepared once. device: see :func:`~uniseg_model.preprocess.prepare`."""
        if recipe not in self._prepared:
            self._prepared[recipe] = prepare(self.volume, recipe, device)
        return self._prepared[recipe]

    def known(self, recipe: Recipe) -> Prepared | None:
        """The image under a recipe if it was prepared before."""
        return self._prepared.get(recipe)

    def shape_under(self, recipe: Recipe) -> Shape:
        """Voxels of the prepared array under a recipe; before it is prepared, the most there can be."""
        return self._prepared[recipe].shape if recipe in self._prepared else largest_shape(self.volume, recipe)

    def _tasks(self, tasks: Sequence[str | Task]) -> list[Task]:
        known = self.tasks
        tasks = [tasks] if isinstance(tasks, str) else tasks
        found = {task.key: task for task in (known[t] if isinstance(t, str) else t for t in tasks)}
        if not found:
            raise OptionError("no task was asked for", hint=f"Choose from {', '.join(known)}.")
        for task in found.values():
            if task.labels != known[task.key].labels:
                raise TaskError(
                    f"the weights know {task.key!r} with other structures: {[label.name for label in known[task.key].labels]}"
                )
            check_channels(known[task.key], self.volume)
        return list(found.values())


def _other_way(options: Options) -> Options:
    """The run to compare with: mirrored if this one is not, not mirrored if it is."""
    return replace(options, mirror=not options.mirror, confidence=False, agreement=False)


def _check_fold(first: Checkpoint, fold: Checkpoint) -> None:
    if fold.config != first.config or list(fold.tasks.values()) != list(first.tasks.values()):
        odd = sorted({*fold.tasks} ^ {*first.tasks})
        what = f"only one of them knows {odd[0]!r}" if odd else "their networks or tasks are described differently"
        raise WeightsError(f"weights whose answers are averaged must share network and tasks, {first.sha256[:12]} and "
                           f"{fold.sha256[:12]} do not: {what}", hint="Name the folds of one training.")  # fmt: skip


def load_model(
    path: str | Path | None = None,
    *,
    packs: Sequence[str | Path] = (),
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
) -> Predictor:
    """A predictor from a weights file. ``None``: the embedded demo weights.

    packs: files of tasks to add; each must have been trained on these weights.

    Raises:
        WeightsError: a file is missing, not a UniSeg checkpoint or no pack for it. TaskError: two tasks with one key.
        DeviceError, OptionError, MissingPackageError: as :class:`Predictor`.
    """
    checkpoint = load_checkpoint(Path(path) if path else embedded_weights())
    if packs:
        checkpoint = checkpoint.with_packs([load_pack(Path(pack)) for pack in packs])
    return Predictor(checkpoint, device=device, precision=precision, threads=threads, engine=engine)
