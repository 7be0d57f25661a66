"""The sentences and rows that both front ends show of data sets and trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniseg_app.training_runs import Comparison, RunInfo
from uniseg_app.training_words import (
    STATES,
    FindingRow,
    before_and_after,
    comparison_rows,
    curve_points,
    dice_change,
    difference_rows,
    eta,
    finding_rows,
    history_rows,
    mending,
    price_rows,
    price_tag,
    run_title,
    share,
    state_sentence,
)
from uniseg_model.doctor.findings import Expected, Finding, Report

RUN = RunInfo("20261129-060000-abc", "My gland", "pack", 0.0, "running", stage="train", done=99, total=400, left_s=240.0)
PRICE = {"depth": "pack", "steps": 400, "seconds_a_step": 1.456, "minutes": 9.7, "memory_gb": 1.234, "disk_gb": 0.0123, "risk": "none for the old tasks"}  # fmt: skip


def report(*findings: Finding) -> Report:
    return Report(Path("data"), "nnU-Net", Expected(), (), findings)


def test_findings_are_rows_and_mending_says_what_changes() -> None:
    found = report(
        Finding("error", "b", "unreadable", "b.nii.gz is truncated", "Copy it again."),
        Finding("error", "a", "grid", "the label map lies 0.1 mm away", "Take the image's geometry.", "give the labels the image's geometry"),
        Finding("note", "", "description", "there is no dataset.json", "Name the task."),
    )  # fmt: skip
    rows = finding_rows(found)
    assert rows[0] == FindingRow("Error", "b", "B.nii.gz is truncated.", "Copy it again.", "")
    assert (rows[1].fix, rows[2].case, rows[2].severity) == ("give the labels the image's geometry", "All", "Note")
    assert mending(found) == ["a: give the labels the image's geometry", "b: left out"]
    assert mending(report()) == []


def test_a_run_is_told_in_a_sentence() -> None:
    assert state_sentence(RUN) == "Training: step 100 of 400, about 4 min left."
    assert (eta(RUN), share(RUN)) == ("about 4 min left", 0.2475)
    assert state_sentence(replace(RUN, stage="load weights", total=0, left_s=None)) == "Loading the weights."
    waiting = replace(RUN, state="waiting", message="it waits for 20261128-01 (process 7)")
    assert state_sentence(waiting, {"20261128-01": "Ribs"}) == "Waiting: it waits for “Ribs” (process 7)."
    assert (eta(waiting), share(waiting)) == ("", None)
    done = replace(RUN, state="done", message="Better than its start: validation Dice of gland 0.10 -> 0.45.")
    assert state_sentence(done) == "Done: Better than its start: validation Dice of gland 0.10 -> 0.45."
    assert state_sentence(replace(RUN, state="paused")) == "Paused."
    early = replace(RUN, state="stopped", message="it was stopped before anything was learned")
    assert state_sentence(early) == "Stopped: it was stopped before anything was learned."
    assert state_sentence(replace(early, message="", result={"verdict": {}})) == "Stopped, best kept."


def test_every_state_has_a_name() -> None:
    assert set(STATES) == {"starting", "waiting", "running", "paused", "stopped", "done", "failed", "interrupted"}


def test_a_price_has_time_memory_disk_and_risk() -> None:
    assert price_rows(PRICE) == [
        ("Time", "about 10 min: 400 steps of about 1.5 s"), ("Memory", "1.2 GB"), ("Disk", "12 MB"), ("Risk", "None for the old tasks."),
    ]  # fmt: skip
    assert price_tag(PRICE) == "about 10 min, 1.2 GB of memory, 12 MB on the disk"


def test_a_curve_has_losses_and_dice_by_step() -> None:
    lines = [
        {"step": 0, "mean_dice": 0.1, "dice": {"gland": {"wall": 0.2, "core": None}}},
        {"step": 50, "rate": 0.1, "seconds_a_step": 1.0, "loss": {"gland": 0.5, "liver": 0.7}},
        {"step": 50, "mean_dice": 0.4, "dice": {"gland": {"wall": 0.3, "core": 0.5}}},
        {"step": 100, "rate": 0.1, "seconds_a_step": 1.0, "loss": {"gland": None}},
    ]
    curve = curve_points(lines)
    assert curve.loss == ((50, 0.6),)
    assert curve.dice == ((0, 0.1), (50, 0.4))
    assert curve.structures == {"wall": ((0, 0.2), (50, 0.3)), "core": ((50, 0.5),)}
    assert curve_points([]).loss == ()


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    lines = [{"step": step, "loss": {"a": 1.0}} for step in range(10)]
    assert [step for step, _ in curve_points(lines, most=4).loss] == [0, 3, 6, 9]
    assert [step for step, _ in curve_points(lines, most=5).loss] == [0, 2, 4, 6, 8, 9]


def test_what_became_of_replayed_tasks_is_a_row_of_each() -> None:
    verdict = {
        "task": "my_gland",
        "start_dice": 0.1,
        "best_dice": 0.456,
        "old_tasks": {"spleen": {"before": 0.9, "after": 0.85}},
    }
    done = replace(RUN, depth="full", state="done", result={"verdict": verdict})
    assert before_and_after(done) == [("my gland", "0.10", "0.46"), ("spleen", "0.90", "0.85")]
    assert before_and_after(replace(done, result={"verdict": {**verdict, "old_tasks": {}}})) == []
    assert before_and_after(RUN) == []


def test_history_and_comparison_are_rows() -> None:
    done = replace(RUN, state="done", note="a note", result={"verdict": {"start_dice": 0.1, "best_dice": 0.456}})
    [row] = history_rows([done])
    assert (row.title, row.depth, row.state, row.dice, row.note) == ("My gland", "pack", "Done", "0.10 → 0.46", "a note")
    assert run_title(done) == f"My gland, {row.begun} (done)"
    assert dice_change(RUN) == ""
    found = Comparison(
        ((0, 0.1, None), (50, None, 0.25)),
        {"minutes": (10.0, 2.5), "changes": ({}, {"rate": 0.1}), "pack": (None, "/a/packs/p"), "task_file": (None, "t")},
    )
    assert comparison_rows(found) == [("0", "0.100", ""), ("50", "", "0.250")]
    assert difference_rows(found) == [
        ("Minutes", "10", "2.5"),
        ("Went on from", "as usual", "packs/p"),
        ("Settings", "as usual", "rate = 0.1"),
    ]
