"""What every front end says, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uniseg_app.jobs import Job, State
from uniseg_model.cost import Cost
from uniseg_model.errors import UniSegError
from uniseg_model.record import RunRecord
from uniseg_model.volume import Volume

DEMO_ON_A_FILE = (
    "Demo weights know synthetic phantoms only: on a scan of your own these labels mean nothing. Import the authors' weights."
)
CUT = "touches the edge of the image: at least this much"

_STAGES = {
    "wait": "Waiting", "start": "Starting", "load weights": "Loading the weights",
    "measure": "Measuring this device", "prepare": "Preparing the image",
    "prompts": "Reading the prompts", "gradients": "Working out gradients",
    "predict": "Segmenting", "compare": "Comparing with the other mirroring", "restore": "Bringing labels back to the image's grid",
    "unpack": "Unpacking", "examine": "Looking at the cases", "suggest": "Reading the first cases", "mend": "Writing the copy",
    "price": "Doing two steps", "keep data": "Keeping the data set", "prepare cases": "Preparing the cases", "train": "Training",
}  # fmt: skip
_BY_WINDOW = ("predict", "prompts", "gradients")
_KINDS = {
    "demo": "demo weights, trained on synthetic phantoms only: of no use on patients",
    "official": "the UniSeg authors' weights",
    "trained": "weights trained by a user",
    "untrained": "untrained weights: answers are noise",
}


def weights_and_device(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Which weights, under which licence, on which device and, other than torch, in what; of ``Backend.facts``."""
    kind = _KINDS.get(str(facts["kind"]), str(facts["kind"]))
    device = {"cpu": "CPU"}.get(str(facts["device"]), str(facts["device"]).replace("cuda", "GPU"))
    computed = " with OpenVINO" if str(facts.get("engine")).startswith("openvino") else ""
    return f"{facts['name']}: {kind}", f"Licence: {facts['licence']}", f"Device: {device}{computed}"


def size(volume: Volume) -> str:
    """Voxels, voxel size and orientation, x first as people say it."""
    z, y, x = volume.shape
    lengths = " × ".join(f"{mm:.3g}" for mm in reversed(volume.spacing_mm))
    channels = f", {volume.n_channels} channels" if volume.n_channels > 1 else ""
    return f"{x} × {y} × {z} voxels of {lengths} mm{channels}, {volume.orientation}"


def cost(told: Cost) -> str:
    """What a run will take."""
    time = "" if told.seconds is None else f", about {duration(told.seconds)}"
    free = "" if told.free_gb is None else f" of {told.free_gb:.1f}"
    return f"{told.windows} windows{time}, up to {told.memory_gb:.1f}{free} GB"


def done(record: RunRecord) -> str:
    """That a run is over, how long it took, and how much work it was."""
    return f"Done in {duration(sum(record.seconds.values()))}, {work(record.options)}."


def work(options: Mapping[str, Any]) -> str:
    """How much work a run was, by the options of its record."""
    return f"{'with' if options['mirror'] else 'without'} mirroring, step {options['step']:g}"


def duration(seconds: float) -> str:
    """Seconds in words: ``8 s``, ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def stage(name: str) -> str:
    """What goes on, in words."""
    return _STAGES.get(name, name)


def progress(job: Job[Any]) -> tuple[float | None, str]:
    """How far a job is: a share in [0, 1], None where nothing is known, and words."""
    now = job.progress
    if job.state is State.QUEUED:
        n = job.ahead()
        return None, f"Waiting for {n} other {'run' if n == 1 else 'runs'}" if n else "Waiting"
    share = now.done / now.total if now.total else None
    words = stage(now.stage)
    if now.stage in _BY_WINDOW:
        words += f": window {min(int(now.done) + 1, now.total)} of {now.total}"
    if job.left_s is not None and now.stage in _BY_WINDOW:
        words += f", about {duration(job.left_s)} left"
    return share, words


def trouble(error: BaseException | None, log: str) -> tuple[str, str]:
    """What went wrong, and what to do about it. log: where more is told of what nobody foresaw."""
    if isinstance(error, UniSegError):
        return error.message, error.hint
    return f"Something went wrong inside: {type(error).__name__}", f"{log} says more. You can go on."
