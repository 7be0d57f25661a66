"""Many cases on a Dask cluster: a task is a case, each worker owns one process with the model, and answers go to the shared disk.

Only small reports travel. A task may run twice, because its worker died or its report was lost with one: it then finds the answer
there. A task whose workers die again and again is blamed by Dask, perhaps wrongly, and gets a second chance when it is told so.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from uniseg_app.batch.folder import FAILED, BatchFolder, CaseReport
from uniseg_app.batch.local import Tell, fair_threads, n_cores, n_gpus, own_threads
from uniseg_app.batch.process import CHILD, ModelProcess
from uniseg_app.batch.request import BatchRequest, Setup, Work
from uniseg_app.batch.work import work_on
from uniseg_model.errors import FileFormatError, MissingPackageError, OptionError, UniSegError

try:
    import dask
    from distributed import Client, LocalCluster, get_worker, wait
    from distributed.diagnostics.plugin import WorkerPlugin
    from distributed.scheduler import KilledWorker
except ImportError as exc:
    raise MissingPackageError(
        f"a cluster needs the package {exc.name!r}, which is not installed", hint='Run: pip install "uniseg-app[cluster]".'
    ) from exc

if TYPE_CHECKING:
    from distributed import Future

_CONNECT_S, _LOOK_EVERY_S = 10.0, 2.0
_LONELY_S = 180.0  # without any worker in a cluster of our own, which starts them again by itself
_RETRIES, _CHANCES = 2, 2


class ModelPlugin(WorkerPlugin):
    """What each worker keeps: a process with the model."""

    def __init__(self, setup: Setup, command: Sequence[str]) -> None:
        self._setup, self._command = setup, tuple(command)

    def setup(self, worker: object) -> None:
        """Begin to own a process; it starts with the first case."""
        name = getattr(worker, "name", 0)  # a number in a cluster of our own
        threads = self._setup.threads or n_cores()  # of the job; Dask tells its workers to use one
        self.process = ModelProcess(
            replace(self._setup, slot=name if isinstance(name, int) else 0, threads=threads), self._command
        )

    def teardown(self, worker: object) -> None:
        """End the process."""
        self.process.close()


def run_on_cluster(
    works: Sequence[Work], folder: BatchFolder, request: BatchRequest, setup: Setup, tell: Tell,
    note: Callable[[str], None], command: Sequence[str] = CHILD,
) -> None:  # fmt: skip
    """Compute cases on a Dask cluster and tell of each. note: is told what is worth a line, such as where the dashboard is.

    Raises:
        OptionError: no scheduler answers at that address. UniSegError: the connection is lost for good. Otherwise what ``tell`` raises.
    """
    with _client(request) as client, client.as_current():  # which `wait` asks for
        if not setup.threads and (n_local := _n_local(request)):
            setup = replace(setup, threads=own_threads() or fair_threads(request.device, n_local))
        note(_dashboard(client))
        try:
            client.register_plugin(ModelPlugin(setup, command), name=folder.run)
        except Exception as exc:  # whatever a worker says
            raise UniSegError(
                f"the workers cannot be set up: {type(exc).__name__}: {exc}",
                hint="They need the same version of uniseg-app in their environment.",
            ) from exc
        try:
            _Tasks(client, works, folder, request, tell, note).work_off()
        except CancelledError as exc:
            raise UniSegError(
                f"the connection to the scheduler {_name(request)} is lost",
                hint="Run the same command again: it goes on from here.",
            ) from exc
        finally:
            with suppress(Exception):  # the cluster may be gone
                client.unregister_worker_plugin(folder.run)


class _Tasks:
    """The cases that are not told of yet."""

    def __init__(
        self, client: Client, works: Sequence[Work], folder: BatchFolder, request: BatchRequest, tell: Tell, note: Callable[[str], None]
    ) -> None:  # fmt: skip
        self._client, self._folder, self._request = client, folder, request
        self._tell, self._note = tell, note
        self._chances: dict[str, int] = {}
        self._works: dict[Future, Work] = {self._submit(work): work for work in works}
        self._last_s, self._is_alone = time.monotonic(), False

    def work_off(self) -> None:
        """Tell of each case as it ends."""
        try:
            while self._works:
                try:
                    ended = wait(list(self._works), timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    self._look()
                    continue
                self._last_s = time.monotonic()
                for future in ended:
                    self._end(future)
        finally:
            self._client.cancel(list(self._works))

    def _submit(self, work: Work) -> Future:
        self._chances[work.case] = self._chances.get(work.case, 0) + 1
        return self._client.submit(
            compute_task, work, self._folder, self._request.timeout_s, self._request.overwrite,
            key=f"case {work.case} {self._folder.run} {self._chances[work.case]}", pure=False, retries=_RETRIES,
        )  # fmt: skip

    def _end(self, future: Future) -> None:
        try:
            outcome: CaseReport | BaseException = future.result(timeout=_LOOK_EVERY_S)
        except TimeoutError:  # its worker died with the report: the task runs again
            return
        except CancelledError:
            raise
        except Exception as exc:
            outcome = exc
        work = self._works.pop(future)
        if isinstance(outcome, KilledWorker) and self._chances[work.case] < _CHANCES:
            self._works[self._submit(work)] = work
            return
        if isinstance(outcome, KilledWorker):
            error = f"{outcome.allowed_failures + 1} workers died, twice, while they had this case"
            outcome = self._folder.fail(CaseReport(work.case, FAILED, error=error, hint="See the workers' logs."))
        self._tell(work, outcome)

    def _look(self) -> None:
        """Say when there is no worker; give up where nobody can bring one."""
        is_alone = not self._client.scheduler_info()["workers"]
        if is_alone and not self._is_alone:
            self._note("No worker is there; the cases wait for one.")
        self._is_alone = is_alone
        if not is_alone:
            self._last_s = time.monotonic()
        elif _n_local(self._request) and time.monotonic() - self._last_s > _LONELY_S:
            raise UniSegError(
                f"all workers are gone, for {_LONELY_S:g} s", hint="Run the same command again: it goes on from here."
            )


def compute_task(work: Work, folder: BatchFolder, timeout_s: float | None, overwrite: bool) -> CaseReport:
    """One case, on a worker that has the plugin."""
    plugin: ModelPlugin = get_worker().plugins[folder.run]
    return work_on(work, folder, plugin.process, timeout_s=timeout_s, overwrite=overwrite)


@contextmanager
def _client(request: BatchRequest) -> Iterator[Client]:
    if (n := _n_local(request)) is None:
        with _connected(request) as client:
            yield client
        return
    with dask.config.set({"distributed.scheduler.worker-saturation": 1.0}), LocalCluster(
        n_workers=n, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as cluster:  # fmt: skip
        cluster.adapt(minimum=n, maximum=n)  # brings back workers that die for good
        with Client(cluster) as client:
            yield client


def _connected(request: BatchRequest) -> Client:
    given = {"scheduler_file": str(request.scheduler_file)} if request.scheduler_file else {"address": request.cluster}
    if request.scheduler_file and not Path(request.scheduler_file).is_file():
        raise FileFormatError(
            f"there is no scheduler file {request.scheduler_file}", hint="Start: dask scheduler --scheduler-file FILE."
        )
    try:
        return Client(**given, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError, KeyError) as exc:
        raise OptionError(
            f"no Dask scheduler answers at {_name(request)} within {_CONNECT_S:g} s",
            hint="Start one with `dask scheduler`, check the address and the firewall, or leave --cluster out.",
        ) from exc


def _n_local(request: BatchRequest) -> int | None:
    """Workers of a cluster of our own; None for one that is there.

    Raises:
        OptionError: not a number.
    """
    name, _, number = (request.cluster or "").partition(":")
    if name != "local":
        return None
    if number and not (number.isdigit() and int(number)):
        raise OptionError(f"--cluster local:N needs a number of workers, not {number!r}")
    return int(number or n_gpus(request.device) or 1)


def _name(request: BatchRequest) -> str:
    return str(request.scheduler_file or request.cluster)


def _dashboard(client: Client) -> str:
    if importlib.util.find_spec("bokeh") is None:
        return "No dashboard: it needs the package bokeh."
    return f"Dashboard: {client.dashboard_link}" if client.dashboard_link else "The scheduler has no dashboard."
