"""The face of the engine: a ``Predictor`` holds loaded weights, a ``Session`` one opened image.

Tasks with the same recipe share one prepared array and, window by window, one encoding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniseg_model.checkpoint import Checkpoint, load_checkpoint
from uniseg_model.cost import Cost, Pass
from uniseg_model.engines import Engine
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.errors import OptionError, TaskError
from uniseg_model.preprocess import Prepared, Recipe, Restored, axes_for, largest_shape, prepare
from uniseg_model.progress import Progress, ProgressHook, ignore_progress
from uniseg_model.record import RunRecord, Stopwatch, peak_memory_gb
from uniseg_model.segmentation import MergedMap, Segmentation, agreement
from uniseg_model.sliding import Sweep, out_of_memory_named, sweep_windows
from uniseg_model.suitability import check_channels, doubts
from uniseg_model.tasks import Task, check_axes
from uniseg_model.volume import Shape, Triple, Volume
from uniseg_model.windows import check_step

_SUMS_BYTES = 4e9  # of class sums in one pass; more tasks than fit take another pass, and encode again


@dataclass(frozen=True)
class Options:
    """How to segment. The defaults equal the original, but for mirroring on a CPU.

    mirror: average over the eight flips; eight times the work. None: on a GPU yes, on a CPU no,
        and never with weights that were not trained on mirrored images.
    step: distance of windows as a share of their side, in (0, 1].
    spacing_mm, axes: in place of the tasks' own.
    batch: windows at once; None: as the device allows.
    confidence: keep how probable the best class was, and how far it led.
    agreement: segment once more, with mirroring if the answer is without and the other way round, and keep the Dice of the two.
    focus: a voxel Z, Y, X of the image; windows near it are computed first, for those who look at the preview.
    """

    mirror: bool | None = None
    step: float = 0.5
    spacing_mm: Triple | None = None
    axes: str | None = None
    batch: int | None = None
    confidence: bool = False
    agreement: bool = False
    focus: Triple | None = None

    def __post_init__(self) -> None:
        check_step(self.step)
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", tuple(self.spacing_mm))
        if self.spacing_mm is not None and not (len(self.spacing_mm) == 3 and all(0.1 <= s <= 100 for s in self.spacing_mm)):
            raise OptionError(f"the spacing must be three numbers between 0.1 and 100 mm (z, y, x), not {self.spacing_mm}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"the batch must be at least 1 window, not {self.batch}")
        if self.axes is not None:
            check_axes(self.axes)

    def focused_on(self, voxel: Triple) -> Options:
        """The same, but windows near a voxel Z, Y, X come first."""
        return replace(self, focus=voxel)


class Predictor:
    """Weights on a device, ready for any number of images.

    device, precision: see :class:`TorchEngine`. threads: of the CPU; None leaves torch's choice.

    Raises:
        DeviceError, OptionError, WeightsError: as the parts do.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        if threads is not None:
            most = 4 * (os.cpu_count() or 1)
            if not 1 <= threads <= most:
                raise OptionError(f"threads must be between 1 and {most} here, not {threads}")
            torch.set_num_threads(threads)
        self.checkpoint = checkpoint
        self.engine: Engine = TorchEngine(checkpoint.network(), device, precision)
        self.decoding_s: float | None = None  # measured by the last run

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
        self._predictor = predictor
        self._prepared = prepared

    def segment(
        self, tasks: Sequence[str | Task], options: Options | None = None, progress: ProgressHook = ignore_progress
    ) -> list[Segmentation]:
        """The labels of each task, in the order asked for, each once.

        Raises:
            TaskError: the weights do not know a task. ModalityError: the image has not the task's channels.
            OutOfMemoryError: even the smallest plan does not fit. Cancelled: the hook wanted it so.
        """
        run = _Run(self, self._tasks(tasks), options or Options(), progress)
        restored: dict[str, Restored] = {}
        with out_of_memory_named():
            for prepared, group in run.passes():
                probabilities = run.sweep(prepared, group, whole_head=False)
                for task in group:
                    progress(Progress("restore", len(restored), len(run.tasks)))
                    with run.clock("restore"):
                        restored[task.key] = prepared.restore(probabilities.pop(0), confidence=run.options.confidence)
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
        run = _Run(self, self._tasks(tasks), replace(options, axes=options.axes or "stored"), progress)
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
                best = probabilities.pop(0).argmax(axis=0)
                for i, label in enumerate(task.labels, start=1):
                    fused[best == i] = values[task.key, label.name]
        with run.clock("restore"):
            one_hot = fused == np.arange(max(structures) + 1, dtype=np.uint8)[:, None, None, None]
            labels = prepared.restore(one_hot).labels
        return MergedMap(labels, self.volume, structures, "original: later tasks overwrite on the network's grid"), run.record()

    def cost(self, tasks: Sequence[str | Task], options: Options | None = None) -> Cost:
        """What :meth:`segment` will take at most; exact once the image is prepared.

        Raises:
            TaskError, ModalityError: as :meth:`segment`. GeometryError: the spacing would make an array beyond any machine.
        """
        run = _Run(self, self._tasks(tasks), options or Options(), ignore_progress)
        passes = list(run.planned())
        if run.options.agreement:
            passes += _Run(self, run.tasks, _other_way(run.options), ignore_progress).planned()
        engine, window_s = self._predictor.engine, self._predictor.decoding_s
        largest = max(one.bytes() for one in passes)
        is_gpu = engine.device.type == "cuda"  # where sums that do not fit move to the CPU
        return Cost(
            windows=sum(one.windows(engine.window) for one in passes),
            memory_gb=(engine.window_bytes() + (0 if is_gpu else largest)) / 1e9,
            free_gb=engine.free_gb(),
            seconds=None if window_s is None else window_s * sum(one.decodings(engine.window) for one in passes),
        )

    def prepare(self, recipe: Recipe) -> Prepared:
        """The image under a recipe, prepared once."""
        if recipe not in self._prepared:
            self._prepared[recipe] = prepare(self.volume, recipe)
        return self._prepared[recipe]

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


class _Run:
    """What one call to a session gathers on its way: times and notes."""

    def __init__(self, session: Session, tasks: list[Task], options: Options, progress: ProgressHook) -> None:
        self.session, self.tasks, self.progress = session, tasks, progress
        self.engine, self.checkpoint = session._predictor.engine, session._predictor.checkpoint
        mirrored = self.checkpoint.about.mirrored
        mirror = self.engine.device.type != "cpu" and mirrored if options.mirror is None else options.mirror
        self.options = replace(options, mirror=mirror)
        self.clock = Stopwatch()
        self.notes = [*session.volume.warnings]
        if mirror and not mirrored:
            self.notes.append("these weights were never trained on mirrored images: mirroring makes them worse")
        for task in tasks:
            self.notes += [*doubts(task, session.volume), *self._overrides(task)]
            if task.caution and self.checkpoint.about.kind == "official":
                self.notes.append(f"{task.key}: {task.caution}")

    def recipe(self, task: Task) -> Recipe:
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
            shape = self.session.shape_under(recipe)
            for part in self.split(shape, group):
                n_classes = sum(task.n_classes for task in part)
                yield Pass(shape, len(recipe.intensity), len(part), n_classes, flips, self.options.step)

    def groups(self) -> dict[Recipe, list[Task]]:
        """The tasks by what the image becomes for them."""
        groups: dict[Recipe, list[Task]] = {}
        for task in self.tasks:
            groups.setdefault(self.recipe(task), []).append(task)
        return groups

    def sweep(self, prepared: Prepared, tasks: list[Task], *, whole_head: bool) -> list[np.ndarray]:
        """The class probabilities of each task; ``whole_head`` keeps classes beyond the task's."""
        sweep = Sweep(
            places=tuple(self.checkpoint.place(task) for task in tasks),
            n_classes=tuple(self.checkpoint.config.n_classes if whole_head else task.n_classes for task in tasks),
            step=self.options.step,
            mirror=bool(self.options.mirror),
            batch=self.options.batch,
            focus=prepared.place_of(self.options.focus) if self.options.focus else None,
        )

        def show(labels: list[np.ndarray]) -> dict[str, np.ndarray]:
            return {task.key: prepared.roughly_restored(found) for task, found in zip(tasks, labels, strict=True)}

        with self.clock("predict"):
            probabilities, notes = sweep_windows(self.engine, prepared.array, sweep, self.progress, show)
        self.notes += notes
        self._measure(prepared, sweep)
        return probabilities

    def _measure(self, prepared: Prepared, sweep: Sweep) -> None:
        """Remember how fast this device is."""
        flips = 8 if sweep.mirror else 1
        done = Pass(prepared.shape, len(prepared.array), len(sweep.places), sum(sweep.n_classes), flips, sweep.step)
        self.session._predictor.decoding_s = self.clock.last_s / done.decodings(self.engine.window)

    def tell_restored(self, task: Task, restored: Mapping[str, Restored]) -> None:
        """One task is finished."""
        self.progress(Progress("restore", len(restored), len(self.tasks), lambda: {task.key: restored[task.key].labels}))

    def record(self) -> RunRecord:
        volume = self.session.volume
        memory = {"process": peak_memory_gb()}
        if self.engine.device.type == "cuda":
            memory["gpu"] = round(torch.cuda.max_memory_allocated(self.engine.device) / 1e9, 3)
        return RunRecord(
            weights=describe_weights(self.checkpoint),
            image={
                "paths": list(volume.source.paths),
                "format": volume.source.format,
                "shape": list(volume.shape),
                "spacing_mm": list(volume.spacing_mm),
                "orientation": volume.orientation,
            },
            tasks=tuple({"key": task.key, **asdict(self.recipe(task))} for task in self.tasks),
            options=asdict(self.options),
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

    def prepared(self, recipe: Recipe) -> Prepared:
        self.progress(Progress("prepare"))
        with self.clock("prepare"):
            return self.session.prepare(recipe)

    def split(self, shape: Shape, tasks: list[Task]) -> list[list[Task]]:
        """The tasks in parts whose class sums fit into memory together."""
        task_bytes = 4 * self.checkpoint.config.n_classes * math.prod(shape)
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


def describe_weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """Which weights these are, for records and screens."""
    about = checkpoint.about
    return {"name": about.name, "kind": about.kind, "sha256": checkpoint.sha256, "licence": about.licence}


def load_model(
    path: str | Path | None = None, *, device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Predictor:
    """A predictor from a weights file. ``None``: the embedded demo weights.

    Raises:
        WeightsError: the file is missing or not a UniSeg checkpoint. DeviceError, OptionError: as :class:`Predictor`.
    """
    return Predictor(
        load_checkpoint(Path(path) if path else embedded_weights()), device=device, precision=precision, threads=threads
    )


def embedded_weights() -> Path:
    """Where the demo weights lie in an installation or a checkout."""
    package = Path(__file__).parent
    installed, checkout = (place / "assets" / "demo.safetensors" for place in (package, package.parent))
    return installed if installed.exists() else checkout
