"""A process of a batch that needs no model: what it does to a case stands in the case's name. Started with a folder for its notes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from uniseg_app.batch import child
from uniseg_app.batch.request import Setup
from uniseg_model.errors import DeviceError, ImageError


def main() -> None:
    notes = Path(sys.argv[1])

    def load(setup: Setup) -> Any:
        if setup.device.startswith("cuda"):
            raise DeviceError("the device 'cuda' is not here", hint="Use --device cpu.")

    def compute(model: Any, setup: Setup, work: dict[str, Any]) -> dict[str, Any]:
        case, out = work["case"], Path(work["out"])
        began = notes / f"{case}.pids"
        is_first = not began.exists()
        with began.open("a") as file:
            file.write(f"{os.getpid()}\n")
        out.mkdir(parents=True)
        (out / "half.txt").write_text("half")
        if case.startswith("dies") or (case.startswith("once") and is_first):
            os.kill(os.getpid(), signal.SIGKILL)
        if case.startswith("segfaults"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if case.startswith("hangs") or (case.startswith("waits") and is_first):
            time.sleep(600)
        if case.startswith("raises"):
            raise ValueError("nobody foresaw this")
        if case.startswith("refuses"):
            raise ImageError("the image is upside down", hint="Turn it.")
        time.sleep(0.2 if case.startswith("slow") else 0)
        (out / "half.txt").rename(out / "labels.txt")
        print("what libraries print is no answer")
        return {"seconds": 0.5, "volumes_ml": {task: {"liver": 1200.0} for task in work["tasks"]}}

    child.load = load
    child.serve(compute)


if __name__ == "__main__":
    main()
