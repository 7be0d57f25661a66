"""Who is on the page: each open tab has its own folder, image, answers and job, and takes them away when it leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_app.backend import Look
from uniseg_app.jobs import Job, State
from uniseg_app.web_demo.copies import forget_copies
from uniseg_app.web_demo.private import PrivateFolder
from uniseg_app.web_demo.scenes import Stage
from uniseg_app.web_demo.seen import Seen
from uniseg_app.web_demo.training_seen import TrainingSeen
from uniseg_model.errors import OptionError
from uniseg_model.segmentation import Segmentation
from uniseg_model.volume import Volume


@dataclass
class Visit:
    """One tab.

    folder: its files. volume: the image that is shown. answers: by task key, finished. growing: labels so far by task key,
    while a job runs. version: another number whenever something else is to be seen. stage: the copy that is shown.
    seen: of prompts. training: a data set and a run. asked_s: when something was last asked for, on the monotonic clock. has_left: its folder is gone. is_plain: its browser can show slices only, ``number`` of ``plane``.
    """

    key: str
    folder: Path
    title: str = ""
    volume: Volume | None = None
    answers: dict[str, Segmentation] = field(default_factory=dict)
    growing: dict[str, np.ndarray] = field(default_factory=dict)
    job: Job[Any] | None = None
    version: int = 0
    stage: Stage | None = None
    is_plain: bool = False
    plane: str = "axial"
    number: int = 0
    seen: Seen = field(default_factory=Seen)
    training: TrainingSeen = field(default_factory=TrainingSeen)
    has_left: bool = False
    asked_s: float = field(default_factory=time.monotonic)

    def show(self, volume: Volume, title: str, answers: Sequence[Segmentation] = ()) -> None:
        """Another image."""
        self.cancel()
        self.job = None
        self.volume, self.title = volume, title
        self.answers = {answer.task.key: answer for answer in answers}
        self.stage = None
        self.seen.forget_image()
        self.version += 1

    def image(self) -> Volume:
        """The image.

        Raises:
            OptionError: there is none.
        """
        if self.volume is None:
            raise OptionError(
                "the scan is not here any more: the server was started anew", hint="Drop it again, or choose an example."
            )
        return self.volume

    def staged(self) -> Stage | None:
        """The stage of the image, made when first needed; nothing before there is an image."""
        if self.volume is not None and self.stage is None:
            self.stage = Stage(self.volume, self.folder)
        return self.stage

    def looker(self) -> Look:
        """Takes the labels of this image so far; once another image is shown, it ignores them."""
        volume = self.volume

        def look(labels: Mapping[str, np.ndarray]) -> None:
            if self.volume is volume:
                self.growing = {**self.growing, **labels}
                self.version += 1

        return look

    def keep(self, answers: Sequence[Segmentation]) -> None:
        """Finished labels, which come first from now on."""
        new = {answer.task.key: answer for answer in answers}
        self.answers = {**new, **{key: answer for key, answer in self.answers.items() if key not in new}}
        self.growing = {}
        self.version += 1

    def finish(self, job: Job[list[Segmentation]]) -> None:
        """A job is over: keep what it found, forget what it has not finished. Nothing happens if it was for another image."""
        if job is not self.job:
            return
        if job.state is State.DONE:
            self.keep(job.result())
        else:
            self.cancel()

    def labels(self) -> dict[str, np.ndarray]:
        """What is to be seen over the image, (Z, Y, X) uint8 by task key; what grows covers what was."""
        return {**{key: answer.labels for key, answer in self.answers.items()}, **self.growing}

    @property
    def is_busy(self) -> bool:
        """Whether a job of its own runs or waits."""
        return self.job is not None and not self.job.done()

    @property
    def is_at_work(self) -> bool:
        """Whether anything of its own goes on, a look at a data set included."""
        job = self.training.job
        return self.is_busy or (job is not None and not job.done())

    def cancel(self) -> None:
        """Stop what is going on and forget what it has not finished."""
        if self.job:
            self.job.cancel()
        self.growing = {}
        self.version += 1


class Visits:
    """All open tabs, by Gradio's ``session_hash``."""

    def __init__(self, private: PrivateFolder) -> None:
        self._private = private
        self._all: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def of(self, key: str) -> Visit:
        """The visit of that key, a new one where there is none."""
        with self._lock:
            if key not in self._all:
                self._all[key] = Visit(key, self._private.of(key))
            visit = self._all[key]
            visit.asked_s = time.monotonic()
            return visit

    def leave(self, key: str) -> None:
        """The tab is closed: its job is cancelled and its files are gone."""
        with self._lock:
            visit = self._all.pop(key, None)
        if visit:
            visit.has_left = True
            visit.cancel()
            visit.training.cancel()
            forget_copies(visit.folder, self._private.uploads)
        self._private.forget(key)

    def leave_idle(self, after_s: float) -> None:
        """All who have asked for nothing for so long, and for whom nothing runs, leave."""
        now = time.monotonic()
        with self._lock:
            idle = [key for key, visit in self._all.items() if now - visit.asked_s > after_s and not visit.is_at_work]
        for key in idle:
            self.leave(key)

    def __len__(self) -> int:
        return len(self._all)
