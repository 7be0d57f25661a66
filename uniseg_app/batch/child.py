"""The process that holds the model and computes one case after the other. It may die of a case; nobody else does.

It speaks JSON lines: on stdin its setup and then one case a line, on what was stdout its answers. When stdin ends, whoever
started it is gone, and it ends at once, in the middle of a case, too: it writes only into hidden folders.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import IO, TYPE_CHECKING, Any

from uniseg_app.batch.request import Setup, identity_of
from uniseg_model.errors import UniSegError, WeightsError

if TYPE_CHECKING:
    from uniseg_model.predictor import Predictor

Compute = Callable[["Predictor", Setup, dict[str, Any]], dict[str, Any]]


def compute_case(model: Predictor, setup: Setup, work: dict[str, Any]) -> dict[str, Any]:
    """Segment one case into the folder ``work["out"]``; seconds and volumes.

    Raises:
        UniSegError: as ``commands.segment``.
    """
    from uniseg_app.commands import SegmentRequest, segment

    began_s = time.monotonic()
    images, tasks, out = tuple(map(Path, work["images"])), tuple(work["tasks"]), Path(work["out"])
    request = SegmentRequest(
        images, tasks, out, setup.options, weights=setup.weights, series=work["series"], format=setup.format
    )
    outcome = segment(request, model=model)
    volumes_ml = {answer.task.key: answer.volumes_ml() for answer in outcome.segmentations}
    return {"seconds": round(time.monotonic() - began_s, 3), "volumes_ml": volumes_ml}


def load(setup: Setup) -> Predictor:
    """The model.

    Raises:
        UniSegError: it cannot be loaded, or other weights lie there than the batch was asked for with.
    """
    from uniseg_app.commands import load_found_model

    model = load_found_model(
        setup.weights,
        device=_device(setup),
        precision=setup.precision,
        threads=setup.threads,
        folds=setup.folds,
        packs=setup.packs,
    )
    if (found := identity_of([model.checkpoint, *model.folds])) != list(setup.identity):
        raise WeightsError(
            f"{setup.weights} and its packs are others here than where the batch was started: {found}, asked for were {setup.identity}",
            hint="Put weights and packs where all workers see the same files, and name them with --weights and --pack.",
        )
    return model


def serve(compute: Compute = compute_case) -> None:
    """Load the model, then answer until nobody asks any more."""
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    lines = _lines()
    setup = Setup.from_json(next(lines))
    try:
        model = load(setup)
    except UniSegError as exc:
        _say(answers, _told(exc))
        return
    _say(answers, {"ready": True})
    for line in lines:
        try:
            _say(answers, compute(model, setup, json.loads(line)))
        except UniSegError as exc:
            _say(answers, _told(exc))


def _device(setup: Setup) -> str:
    """Of several GPUs the one that belongs to this process, unless a certain one was asked for."""
    if setup.device not in ("auto", "cuda"):
        return setup.device
    import torch

    n_gpus = torch.cuda.device_count()
    return f"cuda:{setup.slot % n_gpus}" if n_gpus > 1 else setup.device


def _lines() -> Iterator[str]:
    """The lines of stdin, read by a thread that ends the process when there are no more."""
    queue: Queue[str] = Queue()

    def listen() -> None:
        for line in sys.stdin:
            queue.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield queue.get()


def _told(exc: UniSegError) -> dict[str, Any]:
    return {"kind": type(exc).__name__, "error": exc.message, "hint": exc.hint}


def _say(answers: IO[str], facts: dict[str, Any]) -> None:
    answers.write(json.dumps(facts) + "\n")
    answers.flush()


if __name__ == "__main__":
    serve()
