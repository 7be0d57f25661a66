"""Which run is looked at, and what may be done with it as it stands."""

from __future__ import annotations

import pytest

from uniseg_app.run_watch import INSTALL, PAUSE, REMOVE, RESUME, STOP, actions, watched
from uniseg_app.training_runs import RunInfo


def run(id: str, state: str, *, is_better: bool | None = None) -> RunInfo:
    result = None if is_better is None else {"result": "none", "verdict": {"is_better": is_better, "task": "gland"}}
    return RunInfo(id, id, "full", 0.0, state, result=result)


@pytest.mark.parametrize(
    ("info", "may"),
    [
        (run("a", "running"), {PAUSE, STOP}),
        (run("a", "paused"), {STOP, RESUME, REMOVE}),
        (run("a", "interrupted"), {STOP, RESUME, REMOVE}),
        (run("a", "failed"), {RESUME, REMOVE}),
        (run("a", "done", is_better=True), {INSTALL, REMOVE}),
        (run("a", "stopped", is_better=False), {REMOVE}),
    ],
)
def test_what_may_be_done(info: RunInfo, may: set[str]) -> None:
    assert actions(info) == may


def test_the_chosen_run_is_watched_else_one_under_way_else_the_newest() -> None:
    newest, running, first = run("c", "done"), run("b", "running"), run("a", "waiting")
    assert watched([newest, running, first], "c") is newest
    assert watched([newest, running, first]) is first  # it began before the other
    assert watched([newest]) is newest
    assert watched([]) is None
