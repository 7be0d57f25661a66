"""One case: its answer appears whole or not at all, and whoever dies over it is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import batch_child
import pytest

from uniseg_app.batch.folder import CASE_FILE, HIDDEN, BatchFolder, CaseReport
from uniseg_app.batch.process import ModelProcess, SetupError
from uniseg_app.batch.request import Setup, Work
from uniseg_app.batch.work import work_on
from uniseg_model.errors import OutputError
from uniseg_model.options import Options
from uniseg_model.progress import Cancelled

SETUP = Setup(Path("w"), (), (), "cpu", "auto", None, Options(), "nifti", [])


def work(case: str, **facts: Any) -> Work:
    return Work(case, (), ("liver",), None, {"tasks": ["liver"], **facts})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BatchFolder]:
    folder = BatchFolder.opened(tmp_path / "out")
    yield folder
    folder.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ModelProcess]:
    process = ModelProcess(SETUP, command(tmp_path))
    yield process
    process.close()


def command(notes: Path) -> tuple[str, ...]:
    return (sys.executable, batch_child.__file__, str(notes))


def pids(notes: Path, case: str) -> list[int]:
    path = notes / f"{case}.pids"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(what: Callable[[], Any]) -> Any:
    until_s = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < until_s
        time.sleep(0.02)
    return found


def written(folder: BatchFolder) -> list[str]:
    return sorted(path.relative_to(folder.out).as_posix() for path in folder.out.rglob("*") if path.is_file())


def made(folder: BatchFolder, one: Work, text: str = "labels", **more: Any) -> CaseReport:
    """An answer as a process leaves it, committed."""
    part = folder.part(one)
    part.mkdir(parents=True)
    (part / "labels.txt").write_text(text)
    return folder.commit(one, part, CaseReport(one.case, "done", 1.0, 1), overwrite=False, **more)


def test_an_answer_is_found_again_by_the_same_question_only(folder: BatchFolder) -> None:
    assert folder.find(work("a")) is None
    made(folder, work("a"))
    assert folder.find(work("a")) == CaseReport("a", "done", 1.0, 1)
    assert folder.find(work("a", precision="bfloat16")) is None
    assert folder.differs(work("a", precision="bfloat16")) == ["precision"]
    assert (folder.differs(work("a")), folder.differs(work("b"))) == ([], [])


def test_an_answer_of_another_request_is_replaced(folder: BatchFolder) -> None:
    made(folder, work("a"), "old")
    made(folder, work("a", step=0.25), "new")
    assert (folder.out / "a" / "labels.txt").read_text() == "new"
    assert written(folder) == ["a/case.json", "a/labels.txt"]


def test_edited_and_foreign_files_are_not_replaced(folder: BatchFolder) -> None:
    made(folder, work("a"))
    (folder.out / "a" / "labels.txt").write_text("corrected by hand")
    assert folder.find(work("a")) is None
    with pytest.raises(OutputError, match=r"a/labels\.txt was edited .* add --overwrite"):
        folder.check(work("a"), overwrite=False)
    folder.check(work("a"), overwrite=True)
    (folder.out / "a" / "notes.txt").write_text("look here")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"a/notes\.txt was not written by this batch"):
            folder.check(work("a"), overwrite=overwrite)
    (folder.out / "b").mkdir()
    (folder.out / "b" / "liver.nii.gz").write_text("of somebody else")
    with pytest.raises(OutputError, match=r"b/liver\.nii\.gz was not written by this batch"):
        folder.check(work("b"), overwrite=True)


def test_a_missing_file_is_made_again_and_a_note_does_no_harm(folder: BatchFolder) -> None:
    made(folder, work("a"))
    (folder.out / "a" / "labels.txt").unlink()
    assert folder.find(work("a")) is None
    folder.check(work("a"), overwrite=False)
    made(folder, work("b"))
    (folder.out / "b" / "notes.txt").write_text("look here")
    assert folder.find(work("b")) is not None


def test_whoever_comes_second_drops_his_own(folder: BatchFolder) -> None:
    first = made(folder, work("a"), "first")
    assert made(folder, work("a"), "second") == first
    assert (folder.out / "a" / "labels.txt").read_text() == "first"


def test_what_killed_runs_left_is_deleted_and_what_runs_is_not(tmp_path: Path) -> None:
    running = BatchFolder.opened(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / HIDDEN / running.run.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    (left / "a-1").mkdir(parents=True)
    other = BatchFolder.opened(tmp_path)
    assert sorted(path.name for path in (tmp_path / HIDDEN).iterdir()) == sorted([running.run, other.run])
    running.close()
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_one_process_computes_all_cases(folder: BatchFolder, process: ModelProcess, tmp_path: Path) -> None:
    for case in ("a", "b"):
        report = work_on(work(case), folder, process, timeout_s=60, overwrite=False)
        assert report == CaseReport(case, "done", 0.5, 1, {"liver": {"liver": 1200.0}})
    assert pids(tmp_path, "a") == pids(tmp_path, "b") == [process.pid]
    assert written(folder) == [f"{case}/{name}" for case in "ab" for name in ("case.json", "labels.txt")]
    again = work_on(work("a"), folder, process, timeout_s=60, overwrite=False)
    assert (again.state, len(pids(tmp_path, "a"))) == ("done", 1)


def test_a_case_whose_process_is_killed_is_computed_again(folder: BatchFolder, process: ModelProcess, tmp_path: Path) -> None:
    reports: list[CaseReport] = []
    thread = threading.Thread(
        target=lambda: reports.append(work_on(work("waits"), folder, process, timeout_s=60, overwrite=False))
    )
    thread.start()
    [pid] = wait_for(lambda: pids(tmp_path, "waits"))
    os.kill(pid, signal.SIGKILL)
    thread.join(60)
    [report] = reports
    assert (report.state, report.attempts, len(set(pids(tmp_path, "waits")))) == ("done", 2, 2)
    assert written(folder) == ["waits/case.json", "waits/labels.txt"]


@pytest.mark.parametrize(
    ("case", "attempts", "match"),
    [
        ("dies", 2, "crashed 2 times: its process was ended by the signal SIGKILL"),
        ("segfaults", 2, "crashed 2 times: its process was ended by the signal SIGSEGV and said last: Fatal Python error: Segmentation fault"),
        ("raises", 2, "crashed 2 times: its process ended with the code 1 and said last: ValueError: nobody foresaw this"),
        ("hangs", 2, "crashed 2 times: it was not finished after 0.5 s"),
        ("refuses", 1, "the image is upside down"),
    ],
)  # fmt: skip
def test_a_case_that_fails_is_reported_and_the_next_one_is_right(
    folder: BatchFolder, process: ModelProcess, tmp_path: Path, case: str, attempts: int, match: str
) -> None:
    report = work_on(work(case), folder, process, timeout_s=0.5 if case == "hangs" else 60, overwrite=False)
    assert (report.state, report.attempts, report.error) == ("failed", attempts, match)
    assert len(pids(tmp_path, case)) == attempts
    assert folder.report(work(case)) == report
    assert work_on(work("a"), folder, process, timeout_s=60, overwrite=False).state == "done"
    assert written(folder) == [f"{HIDDEN}/failed/{case}.json", "a/case.json", "a/labels.txt"]


def test_a_failure_is_forgotten_when_the_case_goes_well(folder: BatchFolder) -> None:
    folder.fail(CaseReport("a", "failed", error="no luck"))
    assert folder.report(work("a")).error == "no luck"
    made(folder, work("a"))
    assert written(folder) == ["a/case.json", "a/labels.txt"]
    assert folder.report(work("b")).state == "waiting"


def test_an_edited_answer_is_told_before_anything_is_computed(folder: BatchFolder, process: ModelProcess) -> None:
    made(folder, work("a"))
    facts = json.loads((folder.out / "a" / CASE_FILE).read_text())
    assert sorted(facts["files"]) == ["labels.txt"]
    (folder.out / "a" / "labels.txt").write_text("mine")
    report = work_on(work("a"), folder, process, timeout_s=None, overwrite=False)
    assert (report.state, process.pid) == ("failed", None)
    assert "was edited since" in report.error
    assert work_on(work("a"), folder, process, timeout_s=60, overwrite=True).state == "done"


def test_a_model_that_cannot_be_loaded_is_nobodys_fault(folder: BatchFolder, tmp_path: Path) -> None:
    process = ModelProcess(replace(SETUP, device="cuda"), command(tmp_path))
    with pytest.raises(SetupError, match=r"the model cannot be loaded: the device 'cuda' is not here\. Use --device cpu"):
        work_on(work("a"), folder, process, timeout_s=60, overwrite=False)
    assert (written(folder), process.pid) == ([], None)


def test_closing_ends_a_case_in_the_middle(folder: BatchFolder, process: ModelProcess, tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def compute() -> None:
        try:
            work_on(work("hangs"), folder, process, timeout_s=None, overwrite=False)
        except Cancelled as exc:
            raised.append(exc)

    thread = threading.Thread(target=compute)
    thread.start()
    [pid] = wait_for(lambda: pids(tmp_path, "hangs"))
    process.close()
    thread.join(60)
    assert len(raised) == 1
    assert not is_running(pid)
    assert written(folder) == []


def test_a_process_ends_with_its_owner(tmp_path: Path) -> None:
    code = "import sys, test_batch_work as t\nfrom pathlib import Path\n"
    code += (
        "p = t.ModelProcess(t.SETUP, t.command(Path(sys.argv[1])))\np.compute({'case': 'hangs', 'out': sys.argv[1] + '/part'})"
    )
    path = os.pathsep.join([
        str(Path(__file__).parent),
        str(Path(batch_child.__file__).parent),
        os.environ.get("PYTHONPATH", ""),
    ])
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    [pid] = wait_for(lambda: pids(tmp_path, "hangs"))
    owner.kill()
    owner.wait()
    wait_for(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
