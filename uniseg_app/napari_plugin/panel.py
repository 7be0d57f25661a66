"""What the panels have in common: the weights, the image, and jobs that are heard of when they have ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from uniseg_app import wording
from uniseg_app.backend import Backend, Choice
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin.desk import Watch, desk_of
from uniseg_app.napari_plugin.image_box import ImageBox
from uniseg_app.napari_plugin.layers import Given, Seen, look_at, placed, shown_askew
from uniseg_app.napari_plugin.style import STYLE
from uniseg_app.napari_plugin.weights_box import WeightsBox
from uniseg_app.napari_plugin.world import Placed
from uniseg_model.errors import UniSegError
from uniseg_model.progress import Cancelled

_LEAST_PX = 340  # of a panel's width
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Opened:
    """The chosen image as a volume, and the tasks beside it."""

    placed: Placed
    choices: tuple[Choice, ...]

    @classmethod
    def of(cls, backend: Backend, warm: Job[Any] | None, seen: Sequence[Seen], given: Given) -> Opened:
        """Takes a moment, for a job. Raises what :func:`layers.placed` and the model do. warm: the job that loads the model."""
        one = placed(seen, given)
        if warm is not None:
            warm.result()
        return cls(one, tuple(backend.choices(one.volume)))


class Panel(QWidget):
    """A dock widget on one image under one model. What is its own a panel says in ``_ready``, ``_show`` and ``_changed``."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer, self._desk = napari_viewer, desk_of(napari_viewer)
        self._opened: Opened | None = None
        self._run: Job[Any] | None = None
        self._has_begun = False
        # The newest job of each kind, until it is heard of; what an older one says is not heard.
        self._asked: dict[str, Job[Any]] = {}
        self._weights, self.image = WeightsBox(), ImageBox(napari_viewer)
        self._desk.attach(self)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing is asked for."""
        return self._has_begun and self._run is None and not self._asked

    def showEvent(self, event: Any) -> None:
        """Be as wide as what is inside, now that fonts are known; it scrolls downwards only."""
        inside_px = self._area.widget().minimumSizeHint().width() + self._area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(max(inside_px, _LEAST_PX))
        super().showEvent(event)

    def _begin_with(self, *widgets: QWidget) -> None:
        """Lay out the panel, these below the weights, and load those."""
        self._lay_out([self._weights, *widgets])
        self._desk.changed.connect(self._load)
        self._weights.chosen.connect(self._desk.use_weights)
        self.image.changed.connect(self._look)
        QTimer.singleShot(0, self._load)

    def _lay_out(self, widgets: Sequence[QWidget]) -> None:
        inside, outside = QWidget(), QVBoxLayout(self)
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 4, 4, 4)
        for widget in widgets:
            column.addWidget(widget)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(area)
        self.setStyleSheet(STYLE)
        self._area = area

    def _ask(self, kind: str, job: Job[Any], answered: Callable[[Job[Any]], None]) -> None:
        """Hear of a job when it has ended, unless another of its kind was asked since."""

        def hear(ended: Job[Any]) -> None:
            if self._asked.get(kind) is ended:
                del self._asked[kind]
                answered(ended)

        self._asked[kind] = job
        Watch(job, self).ended.connect(hear)

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()

    # Weights ----------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._has_begun = True
        self._weights.wait()
        self._ask("weights", self._desk.warm_up(), self._loaded)
        self._look()

    def _loaded(self, job: Job[Any]) -> None:
        if job.state is State.DONE:
            self._weights.tell(self._desk.backend.facts())
            self._desk.keep_weights()
            self._ready()
        elif not isinstance(job.error, Cancelled):
            self._weights.tell_trouble(told(job.error))

    # Image ------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._opened = None
        self._changed()
        if not self.image.layers:
            self._show(())
            return
        try:
            seen = [look_at(layer) for layer in self.image.layers]
        except UniSegError as exc:
            self._refuse(exc)
            return
        self.image.ask_about(seen)
        self.image.tell("Looking at the image")
        backend, given, warm = self._desk.backend, self.image.given, self._asked.get("weights")
        looking = self._desk.ask("look at an image", lambda progress: Opened.of(backend, warm, seen, given))
        self._ask("image", looking, self._looked)

    def _looked(self, job: Job[Opened]) -> None:
        if job.state is not State.DONE:
            self._refuse(job.error)
            return
        opened = self._opened = job.result()
        volume = opened.placed.volume
        self.image.tell(wording.size(volume), "\n".join(filter(None, [*volume.warnings, shown_askew(opened.placed)])))
        self._show(opened.choices)

    def _refuse(self, error: BaseException | None) -> None:
        self.image.tell("", told(error))
        self._show(())

    # What is a panel's own --------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """The weights are loaded."""

    def _changed(self) -> None:
        """The image is another one, which is not known yet."""

    def _show(self, choices: Sequence[Choice]) -> None:
        """The tasks beside the image; none where there is no image that can be segmented."""


def trouble(error: BaseException | None) -> tuple[str, str]:
    """What went wrong and the way out; what nobody foresaw is logged."""
    if not isinstance(error, UniSegError):
        _LOG.error("a job failed", exc_info=error)
    return wording.trouble(error, "napari's console")


def told(error: BaseException | None) -> str:
    """The same in one line."""
    return ". ".join(trouble(error))


def place_in(viewer: Any, layer: Any) -> tuple[float, float, float]:
    """Where in a layer's array the viewer looks."""
    u, v, w = layer.world_to_data(viewer.dims.point[-3:])
    return float(u), float(v), float(w)


def middle_of_view(viewer: Any, layer: Any) -> tuple[float, float, float]:
    """Where in a layer's array the middle of the canvas is, on the slice that is shown; no farther out than its last voxel."""
    point = list(viewer.dims.point)
    shown = viewer.dims.displayed
    for axis, at in zip(shown, viewer.scene.camera.center[-len(shown) :], strict=True):
        point[axis] = at
    u, v, w = np.clip(layer.world_to_data(point[-3:]), 0, np.array(layer.data.shape[-3:]) - 1)
    return float(u), float(v), float(w)
