"""What the page says: every number of an answer, and nothing from outside as HTML."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import ct_volume, tiny_checkpoint

from uniseg_app import wording
from uniseg_app.answers import StructureRow
from uniseg_app.backend import Choice
from uniseg_app.job_log import JobRecord
from uniseg_app.web_demo import texts
from uniseg_model.cost import Cost
from uniseg_model.errors import OptionError
from uniseg_model.predictor import Predictor
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Source, Volume

EVIL = "<script>alert(1)</script>"


def test_what_comes_from_outside_is_escaped() -> None:
    volume = ct_volume(np.random.default_rng(1))
    said = [
        texts.image_facts(Volume(volume.array, volume.affine, Source(), warnings=(EVIL,)), EVIL),
        texts.trouble(OptionError(EVIL, hint=EVIL)),
        texts.done(EVIL),
        texts.structures([StructureRow("liver", EVIL, "#000000", 1.0, False)], [EVIL]),
        texts.header({"name": EVIL, "kind": EVIL, "licence": EVIL, "device": EVIL}),
    ]
    assert all("<script" not in text and "&lt;script" in text for text in said)


def test_the_header_names_weights_licence_device_and_what_it_is_not() -> None:
    facts = {"name": "UniSeg App demo", "kind": "demo", "licence": "Apache-2.0", "device": "cuda:1"}
    text = texts.header(facts)
    for wanted in ("Not a medical device", "synthetic phantoms only", "Licence: Apache-2.0", "Device: GPU:1"):
        assert wanted in text
    assert "Device: CPU with OpenVINO" in texts.header({**facts, "device": "cpu", "engine": "openvino"})


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (Cost(8, 1.25, 20.0, 31.0), "8 windows, about 31 s, up to 1.2 of 20.0 GB"),
        (Cost(8, 1.25, None, None), "8 windows, up to 1.2 GB"),
        (Cost(800, 1.25, 20.0, 600.0), "800 windows, about 10 min, up to 1.2 of 20.0 GB"),
    ],
)
def test_the_cost_is_told_as_far_as_it_is_known(cost: Cost, said: str) -> None:
    assert said in texts.cost(cost)


def test_the_table_has_a_column_for_what_was_asked_for_only() -> None:
    plain = StructureRow("liver", "liver", "#0072B2", 1234.56, True)
    sure = StructureRow(
        "liver", "liver", "#0072B2", 1234.56, False, mean_probability=0.956, uncertain_share=0.034, agreement=0.9
    )
    assert "Mean probability" not in texts.structures([plain])
    assert "1,234.6" in texts.structures([plain])
    assert "at least this much" in texts.structures([plain])
    text = texts.structures([sure, StructureRow("liver", "liver tumour", "#F0E442", 0.0, False)])
    for wanted in ("Mean probability", ">0.96<", ">3%<", "Agreement", ">0.90", "not found"):
        assert wanted in text
    assert texts.structures([]) == ""


def test_every_task_says_what_it_finds_and_why_it_does_not_suit() -> None:
    tasks = builtin_tasks()
    choices = [Choice(tasks["liver"]), Choice(tasks["brain"], refused="4 channels are needed"),
               Choice(tasks["prostate"], doubts=("looks like CT",))]  # fmt: skip
    text = texts.about_tasks(choices)
    for wanted in ("1 of 3 tasks suit", "liver tumour", "1.5 × 1.5 × 3", "4 channels are needed", "looks like CT"):
        assert wanted in text


def test_what_a_crash_has_lost_is_told_by_its_tasks() -> None:
    jobs = [JobRecord("1", "liver", "lost", "", 0, 0, 1), JobRecord("2", "liver", "lost", "", 0, 0, 1)]
    assert texts.lost(jobs).count("liver") == 1
    assert texts.lost([]) == ""


def test_an_error_inside_names_its_kind_and_none_of_its_words() -> None:
    assert "ZeroDivisionError" in texts.trouble(ZeroDivisionError("/home/somebody/secret"))
    assert "secret" not in texts.trouble(ZeroDivisionError("/home/somebody/secret"))


def test_demo_weights_on_a_scan_of_ones_own_are_called_what_they_are() -> None:
    pytest.importorskip("gradio")
    from uniseg_app.web_demo.showing import _notes

    ct = ct_volume(np.random.default_rng(1))
    own = Volume(ct.array, ct.affine, Source(paths=("ct.nii.gz",), format="nifti"))
    model = Predictor(tiny_checkpoint(), device="cpu")
    for volume, kind, said in ((own, "demo", True), (ct, "demo", False), (own, "official", False)):
        [answer] = model.open(volume).segment(["liver"])
        answer.record.weights["kind"] = kind  # type: ignore[index]
        assert (wording.DEMO_ON_A_FILE in _notes([answer])) is said
