"""What a window and a page stand on: one model on one device, images with their answers on the way, jobs in a lane.

Everything that takes time is a job. A front end asks, looks at the job, and is never waited for.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.commands import load_found_model
from uniseg_app.job_log import JobLog
from uniseg_app.jobs import Job, Lane
from uniseg_model.errors import ModalityError
from uniseg_model.progress import Progress, ProgressHook
from uniseg_model.segmentation import Segmentation
from uniseg_model.suitability import check_channels, doubts
from uniseg_model.tasks import Task
from uniseg_model.volume import Volume

if TYPE_CHECKING:
    import numpy as np

    from uniseg_model.cost import Cost
    from uniseg_model.predictor import Options, Predictor, Session
    from uniseg_model.preprocess import Prepared, Recipe

Look = Callable[["Mapping[str, np.ndarray]"], None]
_IMAGES = 4  # images whose prepared arrays are kept


@dataclass(frozen=True)
class Choice:
    """A task beside an image.

    refused: why it cannot be asked for; empty when it can. doubts: why its answer deserves distrust.
    """

    task: Task
    refused: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def suits(self) -> bool:
        """Whether nothing speaks against it."""
        return not (self.refused or self.doubts)


@dataclass
class Backend:
    """One model, kept; any number of images and people.

    weights: named, or None for those the settings say, else the embedded ones. device, threads, precision: see ``load_model``.
    look_every_s: how often somebody who looks is shown a preview, at most.
    """

    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    log: JobLog | None = None
    look_every_s: float = 1.0
    precision: str = "auto"
    lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.lane = Lane("device", self.log)
        self._model: Predictor | None = None
        self._loading = threading.Lock()
        self._prepared: OrderedDict[str, dict[Recipe, Prepared]] = OrderedDict()

    def model(self) -> Predictor:
        """The model, loaded once. Slow the first time: call it in a job, or see :meth:`warm_up`.

        Raises:
            WeightsError, DeviceError: it cannot be loaded.
        """
        with self._loading:
            if self._model is None:
                self._model = load_found_model(self.weights, device=self.device, precision=self.precision, threads=self.threads)
            return self._model

    def reload(self) -> None:
        """Forget the model, so that the next use loads it again, with the packs that are installed then."""
        with self._loading:
            self._model = None

    def warm_up(self) -> Job[Predictor]:
        """A job that loads the model and learns how fast this device is."""

        def work(progress: ProgressHook) -> Predictor:
            progress(Progress("load weights"))
            model = self.model()
            progress(Progress("measure"))
            model.measure_speed()
            return model

        return self.lane.submit("load weights", work)

    def facts(self) -> dict[str, Any]:
        """Which weights on which device, for the screen."""
        from uniseg_model.predictor import describe_weights

        model = self.model()
        engine = model.engine
        how = {"device": str(engine.device), "engine": engine.name, "precision": engine.precision}
        return {**describe_weights(model.checkpoint), **how}

    def choices(self, volume: Volume) -> list[Choice]:
        """All tasks that the weights know, in prompt order, and what speaks against each on this image."""
        return [_choice(task, volume) for task in self.model().checkpoint.tasks.values()]

    def cost(self, volume: Volume, tasks: Sequence[str], options: Options | None = None) -> Cost:
        """What a run will take.

        Raises:
            TaskError, ModalityError, OptionError: as the run itself.
        """
        return self.session(volume).cost(tasks, options)

    def segment(
        self, volume: Volume, tasks: Sequence[str], options: Options | None = None, *, owner: str = "", look: Look | None = None
    ) -> Job[list[Segmentation]]:
        """A job that segments; it refuses what cannot fit into memory before it begins.

        look: is shown the labels so far, in the lane's thread, at most every ``look_every_s`` and at each finished task.
        """

        def work(progress: ProgressHook) -> list[Segmentation]:
            progress(Progress("load weights"))
            session = self.session(volume)
            session.cost(tasks, options).check()
            return session.segment(tasks, options, _looking(progress, look, self.look_every_s))

        return self.lane.submit(", ".join(tasks), work, owner)

    def close(self, timeout_s: float = 10.0) -> None:
        """Cancel all jobs and end; wait so long at most for the one that runs."""
        self.lane.close(timeout_s)
        self._prepared.clear()

    def session(self, volume: Volume) -> Session:
        """A session that shares what was prepared with all on images of the same voxels in the same place, and nothing else.

        For work in the lane: see :mod:`uniseg_app.prompt_jobs`. Slow as :meth:`model` is.
        """
        key, model = volume.fingerprint, self.model()
        with self._loading:
            prepared = self._prepared.pop(key, {})
            self._prepared[key] = prepared
            while len(self._prepared) > _IMAGES:
                self._prepared.popitem(last=False)
        return model.open(volume, prepared)


def _choice(task: Task, volume: Volume) -> Choice:
    try:
        check_channels(task, volume)
    except ModalityError as exc:
        return Choice(task, refused=exc.message)
    return Choice(task, doubts=tuple(doubts(task, volume)))


def _looking(progress: ProgressHook, look: Look | None, every_s: float) -> ProgressHook:
    """The hook that also shows previews: now and then, and whenever a task is finished."""
    last_s = time.monotonic()

    def hook(now: Progress) -> None:
        nonlocal last_s
        progress(now)
        if look is None or now.preview is None:
            return
        if now.stage == "restore" or time.monotonic() - last_s >= every_s:
            look(now.preview())
            last_s = time.monotonic()

    return hook
