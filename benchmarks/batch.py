"""Does a batch on a cluster lose a case when workers die, or compute one twice?

    python -m benchmarks.batch -o DIR [--cases 200] [--every 20]

So many small phantoms (pieces of eight painted patients, each with a place and noise of its own) under the demo weights, on two
local Dask workers, of which one is ended by kill -9 whenever so many more cases have ended. Two of the cases are poisoned: one
file is cut off, and one case kills the process that computes it each time. A case is right when its labels are those that
the same model gives in one piece, without any batch. What is printed stands in docs/batch.md. DIR keeps images and truths.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from uniseg_app.batch.child import compute_case, serve
from uniseg_app.batch.request import BatchRequest, Setup
from uniseg_app.batch.run import run_batch
from uniseg_app.batch.summary import Summary
from uniseg_model import load_model, read_volume
from uniseg_model.files import make_folder
from uniseg_model.io import read_labels, write_image
from uniseg_model.options import Options
from uniseg_model.phantom import make_phantom
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Progress
from uniseg_model.volume import Volume

N_PATIENTS, SEED, PIECE, N_WORKERS = 8, 5000, (32, 64, 64), 2
OPTIONS = Options(spacing_mm=(8.0, 8.0, 8.0), mirror=False)  # one window a case
CUT_OFF, KILLER = "cut_off", "killer"


def main() -> None:
    """Make what is missing, run, count, print the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--cases", type=int, default=200, help="poisoned ones included")
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--child", type=Path, metavar="LOG", help="be a process of the batch")
    given = parser.parse_args()
    if given.child:
        serve(Poisoned(given.child))
        return
    images = given.out / f"images_{given.cases}"
    paint(images, given.cases - 2)
    truths = given.out / "truths"
    find_truths(images, truths)
    answers, log = given.out / "answers", given.out / "begun_and_ended.txt"
    shutil.rmtree(answers, ignore_errors=True)
    log.unlink(missing_ok=True)
    summary, n_kills, seconds = run(images, answers, log, given.every)
    report(summary, truths, log, n_kills, seconds)


class Poisoned:
    """Computes a case, writes down its begin and end, and dies of the poisoned one."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, model: Predictor, setup: Setup, work: dict[str, Any]) -> dict[str, Any]:
        """See ``compute_case``."""
        self._write("begun", work["case"])
        if work["case"] == KILLER:
            os.kill(os.getpid(), signal.SIGKILL)
        found = compute_case(model, setup, work)
        self._write("ended", work["case"])
        return found

    def _write(self, what: str, case: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{what} {case}\n")


def paint(folder: Path, n: int) -> None:
    """So many good cases and the two poisoned ones; those that are there are kept."""
    make_folder(folder)
    patients: list[Volume] = []
    for number in range(n):
        path = folder / f"piece_{number:03d}.nii.gz"
        if not path.exists():
            patients = patients or [make_phantom("liver", SEED + k).volume for k in range(N_PATIENTS)]
            piece = cut(patients[number % N_PATIENTS], np.random.default_rng(number))
            write_image(path, piece.array[0], piece)
    good = (folder / "piece_000.nii.gz").read_bytes()
    (folder / f"{KILLER}.nii.gz").write_bytes(good)
    (folder / f"{CUT_OFF}.nii.gz").write_bytes(good[: len(good) // 2])


def cut(patient: Volume, rng: np.random.Generator) -> Volume:
    """A piece of a patient at a random place, with noise of 10 HU of its own."""
    start = [int(rng.integers(0, size - side + 1)) for size, side in zip(patient.shape, PIECE, strict=True)]
    piece = patient.array[:, *(slice(at, at + side) for at, side in zip(start, PIECE, strict=True))]
    affine = patient.affine.copy()
    affine[:3, 3] = (patient.affine @ [*start, 1])[:3]
    return Volume((piece + rng.normal(0, 10, piece.shape)).astype(np.float32), affine)


def find_truths(images: Path, truths: Path) -> None:
    """The labels of all good cases, by the model in this process."""
    make_folder(truths)
    model = load_model(device="cpu", threads=1)
    for path in sorted(images.glob("piece_*.nii.gz")):
        if not (truth := truths / f"{path.name[:-7]}.npy").exists():
            [answer] = model.open(read_volume(path)).segment(["liver"], OPTIONS)
            np.save(truth, answer.labels)


def run(images: Path, answers: Path, log: Path, every: int) -> tuple[Summary, int, float]:
    """The batch, with a worker killed whenever ``every`` more cases have ended; also how many were, and seconds."""
    from distributed import Client, LocalCluster

    command = (sys.executable, "-m", "benchmarks.batch", "--child", str(log))
    n_kills, began_s = 0, time.monotonic()
    with LocalCluster(
        n_workers=N_WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as cluster, Client(cluster) as client:  # fmt: skip
        cluster.adapt(minimum=N_WORKERS, maximum=N_WORKERS)

        def hook(now: Progress) -> None:
            nonlocal n_kills
            if now.stage == "batch" and now.done and now.done % every == 0 and now.done < now.total:
                pids = sorted(client.run(os.getpid, on_error="ignore").values())
                os.kill(pids[n_kills % len(pids)], signal.SIGKILL)
                n_kills += 1

        request = BatchRequest(
            images, answers, ("liver",), OPTIONS, device="cpu", threads=1, cluster=cluster.scheduler_address, timeout_s=300
        )
        summary = run_batch(request, hook, lambda line: print(line, file=sys.stderr), command)
    return summary, n_kills, time.monotonic() - began_s


def report(summary: Summary, truths: Path, log: Path, n_kills: int, seconds: float) -> None:
    """Count, and print the row of docs/batch.md."""
    lines = log.read_text(encoding="utf-8").splitlines()
    begun, ended = (Counter(line.split(" ")[1] for line in lines if line.startswith(what)) for what in ("begun", "ended"))
    rows = Counter(case.case for case in summary.cases)
    right = [case.case for case in summary.cases if case.state == "done" and is_right(summary.out / case.case, truths)]
    reported = [case.case for case in summary.cases if case.state == "failed" and case.error]
    lost = set(rows) - set(right) - set(reported)
    twice = {case for case in rows if ended[case] > 1 or rows[case] > 1}
    again = sum(begun[case] - 1 for case in right)
    print("| cases | workers killed | right | reported | lost | computed twice | begun again after a kill | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {len(summary.cases)} | {n_kills} | {len(right)} | {len(reported)} | {len(lost)} | {len(twice)} | {again} | {seconds:.0f} |"
    )
    for case in summary.cases:
        if case.state != "done":
            print(f"{case.case}: {case.state}: {case.error}")
    for name, odd in (("lost", lost), ("twice", twice)):
        if odd:
            print(f"{name}: {', '.join(sorted(odd))}")


def is_right(answer: Path, truths: Path) -> bool:
    """Whether the labels are those of the model in one piece, to the voxel."""
    truth = truths / f"{answer.name}.npy"
    return truth.exists() and np.array_equal(read_labels(answer / "liver.nii.gz")[0], np.load(truth))


if __name__ == "__main__":
    main()
