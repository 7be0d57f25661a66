"""What the Training tab says and draws, with numbers one can check by hand."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio")
from PIL import Image

from uniseg_app.training_runs import Comparison, RunInfo
from uniseg_app.training_words import Curve
from uniseg_app.web_demo import training_texts
from uniseg_app.web_demo.training_chart import Series, line_chart, nice_top
from uniseg_app.web_demo.training_pictures import preview
from uniseg_app.web_demo.training_seen import TrainingSeen
from uniseg_model.doctor.findings import Expected, Finding, Report
from uniseg_model.errors import OptionError
from uniseg_model.tasks import Label, Task
from uniseg_model.training.preview import Preview

BAD = '<script>alert("x")</script>'
RUN = RunInfo("id", BAD, "pack", 0.0, "failed", BAD, BAD, note=BAD)


def test_nothing_from_outside_is_taken_for_html() -> None:
    report = Report(Path("d"), BAD, Expected(), (), (Finding("error", BAD, "grid", BAD, BAD, BAD),))
    said = [
        training_texts.report(report, BAD), training_texts.mending(report), training_texts.structures([Label(BAD, "#000000")]),
        training_texts.run(RUN, {"id": BAD}, None), training_texts.history([RUN]), training_texts.prices({"pack": BAD}, "pack"),
        training_texts.curves(Curve(dice=((0, 0.5),), structures={BAD: ((0, 0.5),), "b": ((0, 0.1),)})),
        training_texts.comparison(Comparison(((0, 0.1, 0.2),), {"depth": (BAD, "b")}), BAD, "b"),
    ]  # fmt: skip
    assert [text for text in said if "<script" in text] == []
    assert "&lt;script" in "".join(said)


def test_what_became_of_replayed_tasks_is_a_table() -> None:
    verdict = {"task": "rim", "start_dice": 0.65, "best_dice": 0.91, "old_tasks": {"spleen": {"before": 0.97, "after": 0.96}}}
    html = training_texts.run(replace(RUN, state="done", message="Better.", result={"verdict": verdict}), {}, None)
    assert re.findall(r"scope=row>(\w+)<td class=us-n>([\d.]+)<td class=us-n>([\d.]+)", html) == [
        ("rim", "0.65", "0.91"),
        ("spleen", "0.97", "0.96"),
    ]


def test_axes_end_at_round_numbers() -> None:
    assert [nice_top(value) for value in (0.0, 0.9, 1.0, 1.1, 1.6, 0.021, 42)] == [1.0, 1.0, 1.0, 1.5, 2.0, 0.03, 50]


def test_a_line_is_drawn_to_scale() -> None:
    """Half of the steps is half of the width; half of the highest value is half of the height, which counts downwards."""
    svg = line_chart("Dice", [Series("Mean", ((0, 0.0), (50, 0.5), (100, 1.0)))], 1.0)
    assert 'points="0.00,100.00 50.00,50.00 100.00,0.00"' in svg
    assert 'aria-label="Dice. Mean: 0 at step 0, 1 at step 100."' in svg
    assert re.findall(r">([^<>]+)</text>", svg) == ["0", "0", "0.5", "50", "1", "step 100"]
    assert "Nothing yet." in line_chart("Dice", [Series("Mean", ())])


def test_the_numbers_of_a_curve_can_be_taken_away() -> None:
    html = training_texts.curves(Curve(((50, 0.75),), ((0, 0.25),), {"gland": ((0, 0.25),)}))
    [data] = re.findall(r"data:text/csv;base64,([^\"]+)", html)
    assert base64.b64decode(data).decode().splitlines() == [
        "what,step,value", "loss,50,0.75", "mean Dice,0,0.25", "Dice of gland,0,0.25",
    ]  # fmt: skip


def test_a_preview_is_shown_as_radiologists_look_at_it() -> None:
    """Stored towards the right and the front, the patient's right comes to the left and the front up; voxels keep their shape."""
    image, labels = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.uint8)
    image[3, 7], labels[3, 7] = 100, 1  # front right
    found = Preview(image, labels, 0 * labels, 50, 0.5, "gland", "case 7")
    task = Task("gland", "Gland", ("T2",), (Label("gland", "#FF0000"),), (1.0, 2.0, 1.0), ("zscore",), "RAS")
    html = preview(found, task)
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", html)]
    assert [picture.shape for picture in pictures] == [(320, 320, 3)] * 3
    assert pictures[0][0, 0].tolist() == [255, 255, 255]
    assert pictures[1][0, 0].tolist() == [255, 102, 102]  # 0.4 of white and 0.6 of red
    assert pictures[2][0, 0].tolist() == [255, 255, 255]
    assert pictures[1][-1, -1].tolist() == [0, 0, 0]
    assert "case 7, after step 50: Dice of the whole validation 0.500" in html
    stored = re.findall(r"base64,([^\"]+)", preview(found, None))[0]
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(stored))))[-1, -1].tolist() == [255, 255, 255]


def test_the_page_is_told_what_is_new_and_once() -> None:
    seen = TrainingSeen()
    assert [seen.is_new("state", value) for value in ("a", "a", "b")] == [True, False, True]
    with pytest.raises(OptionError, match="no data set was looked at"):
        seen.looked_at()
