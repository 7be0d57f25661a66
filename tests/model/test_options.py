"""Presets: what they stand for, what counts more, and where they do not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_checkpoint

from uniseg_model.errors import OptionError
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor, Session
from uniseg_model.presets import AS_THE_DEVICE_ALLOWS, AS_TRAINED, PRESETS
from uniseg_model.volume import Volume


def test_own_options_count_more_than_the_presets_unless_they_are_none() -> None:
    fast = Options.preset("fast", step=0.5, mirror=None, confidence=True)
    assert (fast.step, fast.mirror, fast.confidence) == (0.5, False, True)
    assert fast.body_share == PRESETS["fast"].options["body_share"]
    assert Options.preset("fast", mirror=True).mirror is True
    assert Options.preset(None) == Options()


def test_each_preset_is_told_in_one_sentence_of_its_own() -> None:
    told = [AS_THE_DEVICE_ALLOWS, *PRESETS.values()]
    for preset in told:
        assert preset.title
        assert preset.sentence.count(".") == 1
        assert preset.sentence.endswith(".")
    assert len({preset.title for preset in told}) == len({preset.sentence for preset in told}) == len(told)
    assert [preset.title.lower() for preset in PRESETS.values()] == list(PRESETS)


def test_what_is_no_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match="the preset must be exact, balanced, fast, not 'quick'"):
        Options.preset("quick")


@pytest.mark.parametrize(
    ("wrong", "said"), [({"mirror": "yes"}, "mirror must be"), ({"body_share": 1.0}, "share of body must be")]
)
def test_options_outside_their_range_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Options(**wrong)  # type: ignore[arg-type]


def half_air(n_channels: int, rng: np.random.Generator) -> Volume:
    """Five windows at the liver's spacing, three of them nothing but air."""
    array = np.full((n_channels, 32, 64, 192), -1000, np.float32)
    array[..., 140:] = rng.normal(40, 30, (n_channels, 32, 64, 52))
    return Volume(array, np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]]))


def test_a_ct_without_its_air_is_told_in_the_record_and_in_the_cost(model: Predictor, rng: np.random.Generator) -> None:
    session, options = model.open(half_air(1, rng)), Options(body_share=0.01)
    [found] = session.segment(["liver"], options)
    assert "3 of 5 windows hold almost no body and were not computed" in found.record.notes
    assert found.record.options["body_share"] == 0.01
    assert not found.labels[..., :60].any()
    assert session.cost(["liver"], options).windows == 2
    assert session.cost(["liver"]).windows == 5


def test_nobody_knows_what_is_body_in_an_mr(model: Predictor, rng: np.random.Generator) -> None:
    [found] = model.open(half_air(1, rng)).segment(["prostate"], Options(body_share=0.01))
    assert not [note for note in found.record.notes if "body" in note]


def session_with(volume: Volume, *, mirrored: bool) -> Session:
    """Under weights that were trained on mirrored images, or not; a decoding takes a second."""
    checkpoint = tiny_checkpoint()
    predictor = Predictor(replace(checkpoint, about=replace(checkpoint.about, mirrored=mirrored)), device="cpu")
    predictor.decoding_s = 1.0
    return predictor.open(volume)


def test_the_presets_are_told_to_take_less_and_less_and_the_record_holds_what_they_were(rng: np.random.Generator) -> None:
    session = session_with(half_air(1, rng), mirrored=True)
    exact, balanced, fast = (session.cost(["liver"], Options.preset(name)) for name in ("exact", "balanced", "fast"))
    assert [cost.windows for cost in (exact, balanced, fast)] == [5, 5, 4]
    assert [cost.seconds for cost in (exact, balanced, fast)] == pytest.approx([8 * 5 * 1.35, 5 * 1.35, 4 * 1.35])
    for name, options in (("exact", (True, 0.5, 0.0)), ("fast", (False, 0.75, 0.05))):
        [found] = session.segment(["liver"], Options.preset(name))
        assert tuple(found.record.options[key] for key in ("mirror", "step", "body_share")) == options
    known = session.cost(
        ["liver"], Options.preset("fast")
    )  # where there is body: all windows but one reach it with an edge at most
    assert known.windows == 1


@pytest.mark.parametrize(("trained", "factor"), [(True, 8), (False, 1)])
def test_the_originals_way_is_mirrored_only_where_the_weights_were_trained_so(
    trained: bool, factor: int, rng: np.random.Generator
) -> None:
    session = session_with(half_air(1, rng), mirrored=trained)
    exact, plain = (session.cost(["liver"], Options(mirror=mirror)).seconds for mirror in (AS_TRAINED, False))
    assert plain is not None
    assert exact == pytest.approx(factor * plain)
