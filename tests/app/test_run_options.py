"""What both front ends ask of a run."""

from __future__ import annotations

import pytest

from uniseg_app import wording
from uniseg_app.run_options import STEPS, WORKS, asked_options
from uniseg_model.options import Options
from uniseg_model.presets import PRESETS

AS_CHOSEN = next(iter(STEPS))


def test_every_preset_is_offered_and_first_that_nothing_was_chosen() -> None:
    assert asked_options(next(iter(WORKS)), AS_CHOSEN) == Options()
    assert list(WORKS.values())[1:] == list(PRESETS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_a_choice_gives_the_options_that_it_promises(name: str) -> None:
    options = asked_options(PRESETS[name].title, AS_CHOSEN, confidence=True)
    assert options == Options.preset(name, confidence=True)
    assert {key: getattr(options, key) for key in PRESETS[name].options} == PRESETS[name].options


def test_a_step_set_by_hand_counts_more_than_the_choice() -> None:
    options = asked_options("Fast", "0.25")
    assert (options.step, options.mirror, options.body_share) == (0.25, False, 0.05)
    assert [step for word, step in STEPS.items() if word != AS_CHOSEN] == [float(word) for word in STEPS if word != AS_CHOSEN]


def test_a_run_says_how_much_work_it_was() -> None:
    assert wording.work({"mirror": True, "step": 0.5}) == "with mirroring, step 0.5"
    assert wording.work({"mirror": False, "step": 0.75}) == "without mirroring, step 0.75"
