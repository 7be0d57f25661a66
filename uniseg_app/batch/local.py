"""Many cases on this machine: threads that only wait, each with a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, Queue

from uniseg_app.batch.folder import BatchFolder, CaseReport
from uniseg_app.batch.process import CHILD, ModelProcess
from uniseg_app.batch.request import BatchRequest, Setup, Work
from uniseg_app.batch.work import work_on

Tell = Callable[[Work, "CaseReport | BaseException"], None]


def run_local(
    works: Sequence[Work], folder: BatchFolder, request: BatchRequest, setup: Setup, tell: Tell, command: Sequence[str] = CHILD
) -> None:
    """Compute cases and tell of each. When ``tell`` or Ctrl-C raises, all processes end at once and nothing is half there."""
    n_workers = min(request.workers or n_gpus(request.device) or 1, len(works))
    setup = replace(setup, threads=setup.threads or fair_threads(request.device, n_workers))
    processes = [ModelProcess(replace(setup, slot=slot), command) for slot in range(n_workers)]
    todo, ended = Queue[Work](), Queue[tuple[Work, CaseReport | BaseException]]()
    for work in works:
        todo.put(work)
    threads = [threading.Thread(target=_work_through, args=(todo, ended, folder, process, request)) for process in processes]
    try:
        for thread in threads:
            thread.start()
        for _ in works:
            tell(*ended.get())
    finally:
        for process in processes:
            process.close()
        for thread in threads:
            thread.join()


def n_gpus(device: str) -> int:
    """CUDA GPUs that a batch on ``auto`` or ``cuda`` may spread over; 0 with a device that is named."""
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


def fair_threads(device: str, n_workers: int) -> int | None:
    """CPU threads of one of several processes, so that together they have one a core; None leaves torch's choice."""
    if n_workers == 1 or own_threads() or n_gpus(device):
        return None
    return max(1, n_cores() // n_workers)


def own_threads() -> int | None:
    """CPU threads that ``$OMP_NUM_THREADS`` asks for."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else None


def n_cores() -> int:
    """CPU cores that this process may use, which in a cluster's job are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work_through(
    todo: Queue[Work], ended: Queue[tuple[Work, CaseReport | BaseException]], folder: BatchFolder, process: ModelProcess, request: BatchRequest
) -> None:  # fmt: skip
    while True:
        try:
            work = todo.get_nowait()
        except Empty:
            return
        try:
            ended.put((work, work_on(work, folder, process, timeout_s=request.timeout_s, overwrite=request.overwrite)))
        except BaseException as exc:  # whatever it was, who waits must hear of it
            ended.put((work, exc))
