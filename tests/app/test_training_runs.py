"""Trainings as processes of their own: real ones, really killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from uniseg_app.pack_store import installed_packs
from uniseg_app.run_files import read_facts
from uniseg_app.settings import write_weights_setting
from uniseg_app.training_runs import RunInfo, TrainingRuns, is_alive
from uniseg_app.tuning import TuningRequest
from uniseg_model.checkpoint import untrained
from uniseg_model.dataset import write_case
from uniseg_model.errors import OptionError, OutputError, TrainingError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.packs.file import load_pack
from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import Label, Task, write_task

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
GLAND = Task("gland", "Gland", ("T2",), (Label("gland", "#0072B2"),), (6.0, 4.0, 4.0), ("zscore",))
LONG, SHORT = 100_000, 30
PATIENCE_S = 120


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    untrained(NARROW).save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gland")
    for seed in range(2):
        phantom = make_phantom("prostate", seed, spacing_mm=(6.0, 4.0, 4.0))
        write_case(folder, f"gland_{seed}", phantom.volume, phantom.labels["prostate"])
    write_task(folder / "task.toml", GLAND)
    return folder


@pytest.fixture
def runs(tmp_path: Path):  # type: ignore[no-untyped-def]
    """The runs of a test; what still trains when it ends is ended."""
    runs = TrainingRuns(tmp_path / "runs")
    yield runs
    for info in runs.history():
        if info.pid and is_alive(runs.root / info.id):
            os.kill(info.pid, signal.SIGKILL)


def asked(data: Path, base: Path, steps: int, **changes: object) -> TuningRequest:
    settings = {"epoch": 5, "save_every": 5, "validation_windows": 1, "augmentation": "none", "rate": 0.02, **changes}
    return TuningRequest(data, Path("unused"), "pack", weights=base, iterations=steps, changes=settings, device="cpu")


def wait(runs: TrainingRuns, id: str, wanted: Callable[[RunInfo], bool]) -> RunInfo:
    until_s = time.monotonic() + PATIENCE_S
    while not wanted(info := runs.info(id)):
        told = f"{info} {(runs.root / id / 'log.txt').read_text()}"
        assert info.state != "failed", told
        assert time.monotonic() < until_s, told
        time.sleep(0.1)
    return info


def has_learned(runs: TrainingRuns, id: str, steps: int = 10) -> Callable[[RunInfo], bool]:
    return lambda info: any("mean_dice" in line and line["step"] >= steps for line in runs.curve(id))


def test_kill_9_resume_pause_and_stop_and_keep(runs: TrainingRuns, data: Path, base: Path) -> None:
    id = runs.start(asked(data, base, LONG), "my gland")
    wait(runs, id, has_learned(runs, id))
    info = wait(runs, id, lambda info: info.stage == "train")  # the curve may be ahead of the status
    assert (info.state, info.stage, info.total, info.depth) == ("running", "train", LONG, "pack")
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    killed = wait(runs, id, lambda info: info.state == "interrupted")
    assert (killed.message, killed.may_resume) == ("its process is gone", True)
    reached = runs.curve(id)[-1]["step"]
    runs.resume(id)
    wait(runs, id, has_learned(runs, id, reached + 10))
    steps = [line["step"] for line in runs.curve(id) if "mean_dice" in line]
    assert steps == sorted(set(steps))  # it went on, and nothing is told twice
    with pytest.raises(OptionError, match=r"'my gland' is running, only one that is paused"):
        runs.resume(id)
    with pytest.raises(OptionError, match=r"is running. Stop it first"):
        runs.remove(id)
    runs.pause(id)
    paused = wait(runs, id, lambda info: info.state == "paused")
    assert not is_alive(runs.root / id)
    assert paused.result is None
    preview = runs.preview(id)
    assert preview is not None
    assert preview.image.shape == (32, 32)
    with pytest.raises(OptionError, match=r"is paused and has no result. Stop it"):
        runs.install(id)
    runs.stop(id)  # of a paused run: its best is judged and kept
    stopped = wait(runs, id, lambda info: info.state == "stopped")
    assert stopped.result is not None
    assert stopped.result["certificate"]["unchanged"] is True
    assert load_pack(Path(stopped.result["result"])).facts.task == GLAND
    if stopped.result["verdict"]["is_better"]:
        assert runs.install(id) == installed_packs()[0].path
    runs.remove(id)
    assert runs.history() == []


STARTED_ELSEWHERE = """
import sys
from pathlib import Path
from uniseg_app.training_runs import TrainingRuns
from uniseg_app.tuning import TuningRequest
root, data, base, steps = sys.argv[1:]
changes = {"epoch": 5, "save_every": 5, "validation_windows": 1, "augmentation": "none", "rate": 0.02}
request = TuningRequest(Path(data), Path("x"), "pack", weights=Path(base), iterations=int(steps), changes=changes, device="cpu")
print(TrainingRuns(Path(root)).start(request, "first"))
"""


def test_a_run_outlives_its_server_a_second_waits_and_both_end(runs: TrainingRuns, data: Path, base: Path) -> None:
    arguments = [sys.executable, "-c", STARTED_ELSEWHERE, runs.root, data, base, str(LONG)]
    first = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
    holder = wait(runs, first, lambda info: info.state == "running")
    second = runs.start(asked(data, base, SHORT), "second")
    waiting = wait(runs, second, lambda info: info.state == "waiting")
    assert waiting.message == f"it waits for {first} (process {holder.pid})"
    third = runs.start(asked(data, base, SHORT), "third")
    wait(runs, third, lambda info: info.state == "waiting")
    runs.stop(third)
    stopped = wait(runs, third, lambda info: not info.is_active)
    assert (stopped.state, stopped.message) == ("stopped", "it was stopped before anything was learned")
    runs.remove(third)
    wait(runs, first, has_learned(runs, first, 5))
    runs.stop(first)
    assert wait(runs, first, lambda info: not info.is_active).state == "stopped"
    done = wait(runs, second, lambda info: not info.is_active)
    assert done.state == "done", done
    assert [info.title for info in runs.history()] == ["second", "first"]
    runs.note(second, "with a note")
    assert runs.info(second).note == "with a note"
    found = runs.compare(first, second)
    assert found.differs == {"iterations": (LONG, SHORT)}
    assert next(row[0] for row in found.rows if row[1] is not None and row[2] is not None) == 0
    price = runs.price(second)
    assert price is not None
    assert price["steps"] == SHORT


def test_what_goes_wrong_is_told(runs: TrainingRuns, data: Path, base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for seed in range(2):
        phantom = make_phantom("prostate", seed, spacing_mm=(6.0, 4.0, 4.0))
        write_case(broken, f"gland_{seed}", phantom.volume, phantom.labels["prostate"])
    write_task(broken / "task.toml", GLAND)
    path = broken / "imagesTr" / "gland_1_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-100])
    id = runs.start(asked(broken, base, SHORT), "broken")
    until_s = time.monotonic() + PATIENCE_S
    while runs.info(id).is_active and time.monotonic() < until_s:
        time.sleep(0.1)
    failed = runs.info(id)
    assert failed.state == "failed"
    assert failed.message.startswith("case 'gland_1' of gland: gland_1_0000.nii.gz is truncated or damaged")
    assert failed.hint
    assert failed.may_resume  # once the file is mended


def ended(runs: TrainingRuns, id: str) -> RunInfo:
    until_s = time.monotonic() + PATIENCE_S
    while (info := runs.info(id)).is_active:
        assert time.monotonic() < until_s, info
        time.sleep(0.1)
    return info


def test_a_full_disk_ends_a_run_with_its_reason_and_it_goes_on_later(runs: TrainingRuns, data: Path, base: Path) -> None:
    """A process that is started under a quota: no file may grow beyond 8 kB, which a status is below and an array above."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
        id = runs.start(asked(data, base, LONG), "on a full disk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    full = ended(runs, id)
    assert (full.state, full.may_resume) == ("failed", True), full
    assert full.message.startswith(f"case 'gland_0' of gland: {runs.root / id / 'cache'}"), full
    assert "cannot be written: 27648 requested and 2016 written" in full.message  # numbers of 4 bytes, after the header
    assert full.hint == "Choose a folder with space and write permission."
    assert not list((runs.root / id).rglob(".*unfinished*"))
    runs.resume(id)
    wait(runs, id, has_learned(runs, id, 5))


def test_a_damaged_run_hides_no_other(runs: TrainingRuns, data: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uniseg_app.training_runs._LAUNCHER", "pass")
    monkeypatch.setattr("uniseg_app.training_runs._GRACE_S", 0.0)
    whole, cut, odd = (runs.start(asked(data, base, SHORT), title) for title in ("whole", "cut", "odd"))
    (runs.root / cut / "request.json").write_text('{"title": "cu')
    for status in ("", "[]", '{"state": 5}', '{"state": "done"}'):
        (runs.root / odd / "status.json").write_text(status)
        assert runs.info(odd).state == "interrupted"
    (runs.root / whole / "status.json").write_text('{"state": "done", "changed_s": 1.0}')
    (runs.root / whole / "result.json").write_text("{")
    (runs.root / whole / "note.txt").write_bytes(b"\xff")
    (runs.root / "no run").mkdir()
    found = {info.id: info for info in runs.history()}
    assert found.keys() == {whole, cut, odd}
    assert (found[whole].state, found[whole].result) == ("done", None)
    assert (found[cut].state, found[cut].title) == ("failed", cut)
    assert found[cut].message.startswith(f"{runs.root / cut / 'request.json'} is missing or damaged: ")
    assert found[cut].hint == "Remove the run, and start a new one."
    runs.remove(cut)
    assert {info.id for info in runs.history()} == {whole, odd}


def test_a_run_that_cannot_be_started_says_so(
    runs: TrainingRuns, data: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniseg_app.training_runs._LAUNCHER", "raise OSError(28, 'No space left on device')")
    with pytest.raises(TrainingError, match=r"cannot be started: OSError: .Errno 28. No space left on device. .*make space"):
        runs.start(asked(data, base, SHORT), "never")
    [info] = runs.history()
    assert (info.state, info.may_resume) == ("failed", True)
    assert info.message == "the process that trains cannot be started: OSError: [Errno 28] No space left on device"

    def full(*arguments: object) -> None:
        raise OutputError("no space", hint="Make some.")

    monkeypatch.setattr("uniseg_app.training_runs.write_request", full)
    with pytest.raises(OutputError, match=r"no space"):
        runs.start(asked(data, base, SHORT), "never")
    assert [path.name for path in runs.root.iterdir()] == [info.id]  # nothing is left of it


def test_a_run_whose_weights_are_in_use_is_not_removed(runs: TrainingRuns, data: Path, base: Path) -> None:
    id = runs.start(asked(data, base, SHORT), "used")
    runs.stop(id)
    wait(runs, id, lambda info: not info.is_active)
    write_weights_setting(runs.root / id / "best.safetensors")
    with pytest.raises(OptionError, match=r"the weights in use are those of the run 'used'. Take others into use first"):
        runs.remove(id)
    write_weights_setting(base)
    runs.remove(id)
    assert runs.history() == []


def test_runs_that_are_not_there(runs: TrainingRuns) -> None:
    assert runs.history() == []
    for id in ("none", "../../etc", ""):
        with pytest.raises(OptionError, match=r"there is no run"):
            runs.info(id)


def test_a_process_that_never_came_up_is_told(
    runs: TrainingRuns, data: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniseg_app.training_runs._LAUNCHER", "pass")
    id = runs.start(asked(data, base, SHORT), "never")
    assert runs.info(id).state == "starting"
    monkeypatch.setattr("uniseg_app.training_runs._GRACE_S", 0.0)
    assert (runs.info(id).state, runs.info(id).may_resume) == ("interrupted", True)
    assert read_facts(runs.root / id / "request.json")["title"] == "never"
