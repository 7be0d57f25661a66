"""A whole batch: what there is to do, doing it here or on a cluster, the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniseg_app.batch.cases import Case, find_cases
from uniseg_app.batch.folder import FAILED, BatchFolder, CaseReport
from uniseg_app.batch.local import run_local
from uniseg_app.batch.manifest import MANIFEST_SUFFIXES, read_manifest
from uniseg_app.batch.process import CHILD, SetupError
from uniseg_app.batch.request import BatchRequest, Setup, Work, identity_of, work_of
from uniseg_app.batch.summary import Summary
from uniseg_app.batch.work import failed_setup
from uniseg_app.commands import asked_keys, find_weights, found_checkpoints
from uniseg_app.outputs import FORMATS
from uniseg_model.errors import OptionError, OutputError, UniSegError
from uniseg_model.progress import Progress, ProgressHook, ignore_progress

if TYPE_CHECKING:
    from uniseg_model.checkpoint import Checkpoint

Note = Callable[[str], None]


def run_batch(
    request: BatchRequest,
    progress: ProgressHook = ignore_progress,
    note: Note = lambda line: None,
    command: Sequence[str] = CHILD,
) -> Summary:
    """Segment all cases that have no answer yet; what came of all of them.

    An answer that is there, whole, untouched and of the same request is kept; one of another request is made anew; one that was
    edited is a failure unless ``overwrite``. note: is told each failure and what is worth a line. command: starts the processes
    that hold the model, see :class:`ModelProcess`.

    Raises:
        UniSegError: nothing can be computed at all: no cases, unknown tasks, no weights, nowhere to write, no cluster.
    """
    began_s = time.monotonic()
    cases = _cases(request)
    progress(Progress("load weights"))
    checkpoints = found_checkpoints(request.weights, folds=request.folds, packs=request.packs)
    _check(request, cases, checkpoints[0])
    identity = identity_of(checkpoints)
    progress(Progress("look"))
    every = [work_of(case, request, identity) for case in cases]
    number, n_shards = request.shard
    ours = every[number - 1 :: n_shards]
    folder = BatchFolder.opened(request.out)
    try:
        ended = _Ended(folder, len(ours), progress, note)
        todo = [work for work in ours if not ended.is_there(work)]
        ended.say_replaced(todo)
        if todo:
            _compute(todo, folder, request, _setup(request, identity), ended, note, command)
        return _summarised(request, folder, every, ended, checkpoints[0], began_s)
    finally:
        folder.close()


class _Ended:
    """The cases of this run that have ended."""

    def __init__(self, folder: BatchFolder, total: int, progress: ProgressHook, note: Note) -> None:
        self.reports: dict[str, CaseReport] = {}
        self.already = 0
        self._folder, self._total, self._progress, self._note = folder, total, progress, note

    def is_there(self, work: Work) -> bool:
        """Whether the case needs no work."""
        if (there := self._folder.find(work)) is None:
            return False
        self.reports[work.case] = there
        self.already += 1
        return True

    def say_replaced(self, todo: Sequence[Work]) -> None:
        """Tell that answers of another request are there."""
        differs = [names for work in todo if (names := self._folder.differs(work))]
        if differs:
            other = ", ".join(dict.fromkeys(name for names in differs for name in names))
            were, are = ("1 case was", "is") if len(differs) == 1 else (f"{len(differs)} cases were", "are")
            self._note(f"{were} made with another request ({other}) and {are} made anew")
        if self.already:
            self._note("1 case is there already" if self.already == 1 else f"{self.already} cases are there already")

    def tell(self, work: Work, outcome: CaseReport | BaseException) -> None:
        """Take how a case went.

        Raises:
            SetupError: the model could not be loaded, and no case has gone well before. Otherwise what is no case's own fault.
        """
        if isinstance(outcome, SetupError) and any(report.seconds is not None for report in self.reports.values()):
            outcome = failed_setup(work, self._folder, outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        self.reports[outcome.case] = outcome
        if outcome.state == FAILED:
            self._note(f"failed: {outcome.case}: {outcome.error}")
        self._progress(Progress("batch", len(self.reports), self._total))


def _cases(request: BatchRequest) -> list[Case]:
    source = request.source
    if source.resolve() == request.out.resolve():
        raise OutputError(f"the output {request.out} is the input", hint="Choose another folder.")
    if source.is_dir():
        return find_cases(source, request.out)
    if source.suffix.lower() in MANIFEST_SUFFIXES:
        return read_manifest(source)
    raise OptionError(
        f"{source} is neither a folder nor a list of cases ({', '.join(MANIFEST_SUFFIXES)})",
        hint="`uniseg segment` takes a single image." if source.exists() else "Check the path.",
    )


def _check(request: BatchRequest, cases: Sequence[Case], checkpoint: Checkpoint) -> None:
    if request.format not in FORMATS:
        raise OptionError(f"the format must be {' or '.join(FORMATS)}, not {request.format!r}")
    asked_keys(request.tasks, checkpoint.tasks)
    for case in cases:
        if case.tasks:
            try:
                asked_keys(case.tasks, checkpoint.tasks)
            except UniSegError as exc:
                raise type(exc)(f"the case {case.name!r}: {exc.message}", hint=exc.hint) from exc


def _setup(request: BatchRequest, identity: Sequence[dict[str, Any]]) -> Setup:
    def whole(paths: Sequence[Path]) -> tuple[Path, ...]:
        return tuple(path.absolute() for path in paths)

    weights = find_weights(request.weights).absolute()
    folds, packs, device = whole(request.folds), whole(request.packs), request.device.lower()
    return Setup(weights, folds, packs, device, request.precision, request.threads, request.options, request.format, identity)


def _compute(
    todo: Sequence[Work], folder: BatchFolder, request: BatchRequest, setup: Setup, ended: _Ended, note: Note, command: Sequence[str]
) -> None:  # fmt: skip
    if request.cluster or request.scheduler_file:
        from uniseg_app.batch.cluster import run_on_cluster

        run_on_cluster(todo, folder, request, setup, ended.tell, note, command)
    else:
        run_local(todo, folder, request, setup, ended.tell, command)


def _summarised(
    request: BatchRequest, folder: BatchFolder, every: Sequence[Work], ended: _Ended, checkpoint: Checkpoint, began_s: float
) -> Summary:  # fmt: skip
    """The table, written; again while other shards have ended meanwhile, so that the last to write has seen all."""
    from uniseg_model.predictor import describe_weights

    facts = every[0].facts
    asked = {name: facts[name] for name in ("weights", "options", "precision", "format")}
    asked |= {"source": str(request.source), "tasks": list(request.tasks), "model": describe_weights(checkpoint)}
    failed = sum(report.state == FAILED for report in ended.reports.values())
    while True:
        reports = tuple(ended.reports.get(work.case) or folder.report(work) for work in every)
        summary = Summary(folder.out, reports, ended.already, failed, time.monotonic() - began_s, asked)
        summary.save()
        if len(ended.reports) == len(every) or reports == tuple(ended.reports.get(w.case) or folder.report(w) for w in every):
            return summary
