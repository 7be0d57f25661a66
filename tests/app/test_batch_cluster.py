"""Cases on Dask workers of this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import batch_child
import pytest

pytest.importorskip("distributed", reason="batches on a cluster need the package distributed")

from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from uniseg_app.batch import cluster as module
from uniseg_app.batch.cluster import run_on_cluster
from uniseg_app.batch.folder import BatchFolder, CaseReport
from uniseg_app.batch.process import SetupError
from uniseg_app.batch.request import BatchRequest, Setup, Work
from uniseg_model.errors import FileFormatError, OptionError, UniSegError
from uniseg_model.options import Options

SETUP = Setup(Path("w"), (), (), "cpu", "auto", 1, Options(), "nifti", [])


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as cluster:
        yield cluster


def work(case: str) -> Work:
    return Work(case, (), ("liver",), None, {"tasks": ["liver"]})


def asked(tmp_path: Path, **more: Any) -> BatchRequest:
    return BatchRequest(tmp_path, tmp_path / "out", ("liver",), Options(), **more)


def computed(
    tmp_path: Path, cases: list[str], address: str, at: dict[int, Any] | None = None, setup: Setup = SETUP
) -> list[Any]:
    """How the cases went, in the order in which that was told. at: what to do after so many."""
    folder, told = BatchFolder.opened(tmp_path / "out"), list[Any]()

    def tell(work: Work, outcome: Any) -> None:
        told.append(outcome)
        if at and len(told) in at:
            at[len(told)]()

    command = (sys.executable, batch_child.__file__, str(tmp_path))
    try:
        run_on_cluster(
            list(map(work, cases)), folder, asked(tmp_path, cluster=address), setup, tell, lambda line: None, command
        )
    finally:
        folder.close()
    return told


def test_a_worker_is_killed_and_no_case_is_lost_or_told_twice(two_workers: LocalCluster, tmp_path: Path) -> None:
    cases = [*(f"slow{number}" for number in range(8)), "dies", "refuses", "once"]
    with Client(two_workers, set_as_default=False) as client:

        def kill() -> None:
            os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)

        told = computed(tmp_path, cases, two_workers.scheduler_address, {3: kill})
    reports = {report.case: report for report in told}
    assert (len(told), set(reports)) == (11, set(cases))
    assert {case for case, report in reports.items() if report.state == "failed"} == {"dies", "refuses"}
    assert reports["dies"].error.startswith("crashed 2 times: its process was ended by the signal SIGKILL")
    assert reports["refuses"].error == "the image is upside down"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*cases, ".uniseg-batch"} - {"dies", "refuses"}


def test_a_task_that_runs_twice_computes_once(two_workers: LocalCluster, tmp_path: Path) -> None:
    for _ in range(2):
        [report] = computed(tmp_path, ["a"], two_workers.scheduler_address)
        assert report == CaseReport("a", "done", 0.5, 1, {"liver": {"liver": 1200.0}})
    assert len((tmp_path / "a.pids").read_text().splitlines()) == 1


def test_processes_end_with_the_batch_though_the_workers_go_on(two_workers: LocalCluster, tmp_path: Path) -> None:
    computed(tmp_path, ["a", "b", "c"], two_workers.scheduler_address)
    for case in "abc":
        assert not Path(f"/proc/{(tmp_path / f'{case}.pids').read_text().strip()}").exists()


def test_a_model_that_no_worker_can_load_is_told_as_such(two_workers: LocalCluster, tmp_path: Path) -> None:
    setup = Setup(Path("w"), (), (), "cuda:7", "auto", 1, Options(), "nifti", [])
    [outcome] = computed(tmp_path, ["a"], two_workers.scheduler_address, setup=setup)
    assert isinstance(outcome, SetupError)
    assert (outcome.message, outcome.hint) == ("the model cannot be loaded: the device 'cuda' is not here", "Use --device cpu.")


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_S", 0.5)
    with pytest.raises(OptionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 0\.5 s\. Start one"):
        computed(tmp_path, ["a"], "tcp://127.0.0.1:9")
    with pytest.raises(OptionError, match="no Dask scheduler answers at nonsense"):
        computed(tmp_path, ["a"], "nonsense")
    with pytest.raises(OptionError, match="--cluster local:N needs a number of workers, not 'two'"):
        computed(tmp_path, ["a"], "local:two")


def test_a_scheduler_file_that_is_not_there(tmp_path: Path) -> None:
    request = asked(tmp_path, scheduler_file=tmp_path / "s.json")
    with pytest.raises(FileFormatError, match=r"there is no scheduler file .*s\.json\. Start: dask scheduler"):
        run_on_cluster([], BatchFolder(tmp_path, "r"), request, SETUP, lambda work, outcome: None, lambda line: None)


def test_a_scheduler_that_goes_away_is_told(tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as one:
        with pytest.raises(UniSegError, match=r"the connection to the scheduler tcp://.* is lost\. Run the same command again"):
            computed(tmp_path, ["a", "hangs"], one.scheduler_address, {1: one.close})


class Scripted:
    """A client that computes nothing: each task of a case ends as the script says."""

    def __init__(self, script: dict[str, list[Any]]) -> None:
        self.script, self.cancelled = script, list[Any]()
        self.cancel = self.cancelled.extend

    def submit(self, function: Any, work: Work, *_: Any, **__: Any) -> Any:
        outcome = self.script[work.case].pop(0)

        class Ended:
            def result(self, timeout: float) -> Any:
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

        return Ended()


def test_a_case_that_dask_blames_gets_a_second_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, told = CaseReport("a", "done", 1.0, 1), list[Any]()
    client = Scripted({"a": [KilledWorker("a", None, 3), right], "b": [KilledWorker("b", None, 3), KilledWorker("b", None, 3)]})
    monkeypatch.setattr(module, "wait", lambda futures, **_: SimpleNamespace(done=futures))
    folder = BatchFolder(tmp_path, "run")
    tell = lambda work, outcome: told.append(outcome)  # noqa: E731
    module._Tasks(client, [work("a"), work("b")], folder, asked(tmp_path), tell, lambda line: None).work_off()
    blamed = CaseReport("b", "failed", error="4 workers died, twice, while they had this case", hint="See the workers' logs.")
    assert (told, client.script, client.cancelled) == ([right, blamed], {"a": [], "b": []}, [])
    assert folder.report(work("b")) == blamed
