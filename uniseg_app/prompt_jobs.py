"""Looking at prompts beside a window or a page: jobs in a backend's lane.

What is looked at, and how, stands in ``uniseg_model.prompts``; here is only who waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from uniseg_app.backend import Backend
from uniseg_app.jobs import Job
from uniseg_model.prompts.changes import Change, Foreign
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.sets import PromptSet
from uniseg_model.prompts.sheet import Sheet, draw_sheet
from uniseg_model.regions import WHOLE, Box, Region, WholeImage
from uniseg_model.volume import Triple, Volume

if TYPE_CHECKING:
    from uniseg_model.predictor import Options, Session
    from uniseg_model.progress import ProgressHook
    from uniseg_model.prompts.saliency import Saliency
    from uniseg_model.prompts.whatif import WhatIf

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """The mean prompt of another image, worked out when it is needed. said: what that image is called."""

    volume: Volume = field(repr=False)
    said: str


@dataclass(frozen=True)
class PromptJobs:
    """What can be looked at. Every job wants ``owner``: see :meth:`Lane.submit`."""

    backend: Backend

    def learned(self, owner: str = "") -> Job[PromptSet]:
        """A job that gives the universal prompt's channels, of all tasks.

        It fails with a WeightsError where the weights hold none.
        """
        return self.backend.lane.submit("learned prompts", lambda _: learned_prompts(self.backend.model().checkpoint), owner)

    def maps(
        self, volume: Volume, tasks: Sequence[str] | None, options: Options | None = None, *, owner: str = ""
    ) -> Job[list[PromptMaps]]:
        """A job that gives the tasks' prompts over this image, one set for each grid; see ``Session.prompt_maps``."""
        title = f"prompt maps of {', '.join(tasks)}" if tasks else "prompt maps"
        return self._submit(title, volume, lambda session, told: session.prompt_maps(tasks, options, told), owner)

    def what_if(
        self,
        volume: Volume,
        task: str,
        change: Change | Elsewhere,
        region: Region = WHOLE,
        options: Options | None = None,
        *,
        owner: str = "",
    ) -> Job[WhatIf]:
        """A job that gives a task's answer before and after a change of its prompt; see ``Session.what_if``.

        It refuses the whole image, before it begins, where that cannot fit into memory.
        """

        def work(session: Session, told: ProgressHook) -> WhatIf:
            if isinstance(region, WholeImage):
                session.cost([task], options).check()
            return session.what_if(task, self._resolved(change, task, options, told), options, region, told)

        return self._submit(f"what if, {task}", volume, work, owner)

    def saliency(
        self,
        volume: Volume,
        task: str,
        structure: str,
        region: Region = WHOLE,
        options: Options | None = None,
        *,
        owner: str = "",
    ) -> Job[Saliency]:
        """A job that tells where the prompt matters for a structure; see ``Session.saliency``."""
        return self._submit(
            f"sensitivity, {task}",
            volume,
            lambda session, told: session.saliency(task, structure, options, region, told),
            owner,
        )

    def sheet(
        self,
        volume: Volume,
        tasks: Sequence[str],
        voxel: Triple | None = None,
        options: Options | None = None,
        *,
        owner: str = "",
    ) -> Job[Sheet]:
        """A job that segments and draws the image under each prompt; see :func:`~uniseg_model.prompts.sheet.draw_sheet`."""

        def work(session: Session, told: ProgressHook) -> Sheet:
            session.cost(tasks, options).check()
            return draw_sheet(session.segment(tasks, options, told), voxel)

        return self._submit(f"contact sheet of {', '.join(tasks)}", volume, work, owner)

    def _submit(self, title: str, volume: Volume, work: Callable[[Session, ProgressHook], T], owner: str) -> Job[T]:
        return self.backend.lane.submit(title, lambda told: work(self.backend.session(volume), told), owner)

    def _resolved(self, change: Change | Elsewhere, task: str, options: Options | None, told: ProgressHook) -> Change:
        if not isinstance(change, Elsewhere):
            return change
        [maps] = self.backend.session(change.volume).prompt_maps([task], options, told)
        return Foreign(maps.window_mean[0], change.said)


def box_around(volume: Volume, voxel: Triple, side_mm: float) -> Box:
    """A cube of about that side around a voxel Z, Y, X, as far as it lies in the image; at least one voxel."""
    start, stop = [], []
    for at, n, mm in zip(voxel, volume.shape, volume.spacing_mm, strict=True):
        middle, half = int(np.clip(round(at), 0, n - 1)), side_mm / mm / 2
        start.append(max(0, round(middle - half)))
        stop.append(min(n, max(round(middle + half), start[-1] + 1)))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
