"""What the panels of one viewer share: the model, and two lanes.

Segmenting has a lane of its own in the backend; what a panel wants to know at once (an image's facts, what a run will take) is asked
for in a second one, and does not wait behind it.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QObject, QTimer, Signal

from uniseg_app.backend import Backend
from uniseg_app.jobs import Job, Lane
from uniseg_app.napari_plugin.preferences import Preferences, read_preferences, remember_weights
from uniseg_model.progress import ProgressHook

if TYPE_CHECKING:
    from uniseg_model.predictor import Predictor

T = TypeVar("T")
_EVERY_MS = 100
_FAREWELL_S = 10.0  # for a window of the network that is being computed when the program ends

# napari gives a panel nothing but its viewer, so this is where panels of one viewer find each other.
_DESKS: weakref.WeakKeyDictionary[Any, Desk] = weakref.WeakKeyDictionary()


class Desk(QObject):
    """One backend for all panels of a viewer. ``changed`` says that there is another one."""

    changed = Signal()

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.preferences = preferences
        self.backend = _backend(preferences)
        self._quick = Lane("quick")
        self._panels = 0
        atexit.register(self._quick.close, _FAREWELL_S)

    def warm_up(self) -> Job[Predictor]:
        """A job that loads the model, without holding up the window."""
        self.backend.lane.submit("open libraries", lambda progress: _open_libraries())
        return self.backend.warm_up()

    def ask(self, title: str, work: Callable[[ProgressHook], T]) -> Job[T]:
        """A short job beside the one that segments."""
        return self._quick.submit(title, work)

    def use_weights(self, path: Path | None) -> None:
        """From now on these; what runs with others is cancelled."""
        self._use(replace(self.preferences, weights=path))

    def keep_weights(self) -> None:
        """They can be loaded: use them the next time, too."""
        remember_weights(self.preferences.weights)

    def use_anew(self, *, forget_named: bool = False) -> None:
        """Load the weights again, with what is installed now. forget_named: those of the settings, not those named before."""
        if forget_named and self.preferences.weights is not None:
            self.use_weights(None)
            return
        self.backend.reload()
        self.changed.emit()

    def use_device(self, device: str, precision: str) -> None:
        """From now on there, and so; what runs elsewhere is cancelled."""
        self._use(replace(self.preferences, device=device, precision=precision))

    def _use(self, preferences: Preferences) -> None:
        self.backend.close(0)
        self.preferences, self.backend = preferences, _backend(preferences)
        self.changed.emit()

    def attach(self, panel: QObject) -> None:
        """A panel uses it. When the last one is gone, so is the model."""
        self._panels += 1
        panel.destroyed.connect(self._detach)

    def close(self, timeout_s: float = 0) -> None:
        """Cancel everything; wait so long at most for what is being computed."""
        self.backend.close(timeout_s)
        self._quick.close(timeout_s)

    def _detach(self) -> None:
        self._panels -= 1
        if self._panels == 0:
            self.close()
            for viewer in [viewer for viewer, desk in _DESKS.items() if desk is self]:
                del _DESKS[viewer]


def desk_of(viewer: Any) -> Desk:
    """The desk of a viewer, made when it is first asked for."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # panels are given a proxy, each its own
    if viewer not in _DESKS:
        _DESKS[viewer] = Desk(read_preferences())
    return _DESKS[viewer]


class Watch(QObject):
    """Looks at a job from the window's thread, now and then, until it has ended."""

    progressed = Signal(object)
    ended = Signal(object)

    def __init__(self, job: Job[Any], parent: QObject) -> None:
        super().__init__(parent)
        self._job, self._timer = job, QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_EVERY_MS)

    def _look(self) -> None:
        if not self._job.done():
            self.progressed.emit(self._job)
            return
        self._timer.stop()
        self.ended.emit(self._job)
        self.deleteLater()


def _open_libraries() -> None:
    """Open torch's largest library. ``import torch`` would do so while it holds Python's lock, and the window would stand still."""
    found = importlib.util.find_spec("torch")
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in Path(folder, "lib").glob("*torch_cpu.*"):
            with suppress(OSError):  # importing it will tell what is wrong with it
                ctypes.CDLL(str(path))


def _backend(preferences: Preferences) -> Backend:
    backend = Backend(
        preferences.weights, preferences.device, preferences.threads, None, preferences.preview_every_s, preferences.precision
    )
    atexit.register(backend.lane.close, _FAREWELL_S)  # a thread that is cut off in torch would end the program with a crash
    return backend
