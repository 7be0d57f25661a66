"""How alive the napari window stays: the longest time its event loop stood still while the panel opened and a scan was segmented.

Needs a screen; without one: xvfb-run -a -s "-screen 0 1280x1024x24" python benchmarks/window.py
Software drawing (no GPU) is part of every gap.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from uniseg_app.napari_plugin.segment import SegmentPanel

_TICK_MS = 5
_SETTLE_S = 1.0


class Pulse:
    """Ticks in the event loop; what lies between two of them is a gap."""

    def __init__(self) -> None:
        self._timer, self._ticks_s = QTimer(), [time.monotonic()]
        self._timer.timeout.connect(lambda: self._ticks_s.append(time.monotonic()))
        self._timer.start(_TICK_MS)

    def gaps_ms(self) -> np.ndarray:
        """The gaps since the last call."""
        gaps = np.diff([*self._ticks_s, time.monotonic()]) * 1000
        self._ticks_s = self._ticks_s[-1:]
        return gaps


def _until(done: Callable[[], bool]) -> None:
    while not done():
        QApplication.processEvents()
        time.sleep(0.001)


def _tell(what: str, pulse: Pulse, began_s: float) -> None:
    gaps = pulse.gaps_ms()
    print(
        f"{what:<44} {time.monotonic() - began_s:6.1f} s   longest gap {gaps.max():5.0f} ms   99th percentile {np.percentile(gaps, 99):5.0f} ms"
    )


def main() -> None:
    """Open, load, segment, twice; and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", type=Path, help="a scan; default: the synthetic CT")
    parser.add_argument("--tasks", default="liver,kidney,spleen")
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    if arguments.image:
        viewer.open(str(arguments.image), plugin="uniseg-app")
    else:
        viewer.open_sample("uniseg-app", "ct")
    drawn_s = time.monotonic() + _SETTLE_S
    _until(lambda: time.monotonic() > drawn_s)
    pulse, began_s = Pulse(), time.monotonic()
    panel = SegmentPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Segment")
    _tell("opening the panel", pulse, began_s)
    _until(lambda: panel.is_idle)
    _tell("loading torch and the weights", pulse, began_s)
    panel.tasks.tick(arguments.tasks.split(","))
    _until(lambda: panel.is_idle)
    for name in ("first run", "second run"):
        pulse.gaps_ms()
        began_s = time.monotonic()
        panel.run.start.click()
        _until(lambda: panel.is_idle)
        _tell(f"{name}: {arguments.tasks}, {panel._desk.preferences.threads} thread(s)", pulse, began_s)
    viewer.close()


if __name__ == "__main__":
    main()
