"""What changes if: before is the usual prediction to the bit, and what is told of the difference can be counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.errors import OptionError, OutOfMemoryError, TaskError
from uniseg_model.evaluation import dice
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor, Session
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.prompts.changes import Blend, Change, Foreign, Own, Shuffle, Swap, Zero
from uniseg_model.regions import Box, OneWindow
from uniseg_model.volume import Volume

ALONE = Options(batch=1)  # so that windows meet the same kernels whatever stands beside them
OTHERS: list[Change] = [Swap("spleen"), Swap("brain"), Zero(), Blend("spleen", 0.5), Shuffle(1), Foreign(np.ones((2, 2, 2)))]


@pytest.fixture
def session(model: Predictor, rng: np.random.Generator) -> Session:
    """Four windows."""
    return model.open(ct_volume(rng, (40, 40, 28)))


def test_own_prompt_changes_nothing_and_equals_the_usual_prediction(session: Session) -> None:
    found = session.what_if("liver", Own())
    [usual] = session.segment(["liver"])
    assert np.array_equal(found.before.labels, usual.labels)
    assert np.array_equal(found.after.labels, usual.labels)
    assert not found.difference.any()
    assert not found.probability_change.any()
    assert set(found.mean_change.values()) == {0}
    assert found.volume_change_ml() == {"liver": 0, "liver tumour": 0}


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: change.to_dict()["prompt"])
def test_every_other_prompt_changes_the_answer_and_not_the_one_before(session: Session, change: Change) -> None:
    found = session.what_if("liver", change)
    [usual] = session.segment(["liver"])
    assert np.array_equal(found.before.labels, usual.labels)
    assert found.probability_change.any()


@pytest.mark.parametrize(("share", "same_as"), [(0.0, Own()), (1.0, Swap("spleen"))])
def test_the_ends_of_a_blend_are_the_two_prompts_to_the_bit(session: Session, share: float, same_as: Change) -> None:
    blended, end = (session.what_if("liver", change) for change in (Blend("spleen", share), same_as))
    assert np.array_equal(blended.probability_change, end.probability_change)
    assert np.array_equal(blended.after.labels, end.after.labels)


@pytest.mark.parametrize("change", [Swap("spleen"), Shuffle(7)])
def test_the_same_question_gets_the_same_bits(session: Session, change: Change) -> None:
    one, two = (session.what_if("liver", change) for _ in range(2))
    assert np.array_equal(one.probability_change, two.probability_change)


def test_numbers_of_the_difference_are_those_of_the_labels(session: Session) -> None:
    found = session.what_if("liver", Swap("spleen"))
    before, after = found.before.labels, found.after.labels
    counts = [
        np.sum((before > 0) & (after == 0)),
        np.sum((before == 0) & (after > 0)),
        np.sum((before != after) & (before * after > 0)),
    ]
    assert [np.sum(found.difference == value) for value in (1, 2, 3)] == counts
    assert found.dice()["liver"] == pytest.approx(dice(before == 1, after == 1), nan_ok=True)
    ml = found.before.volume.voxel_ml
    assert found.volume_change_ml()["liver"] == pytest.approx((np.sum(after == 1) - np.sum(before == 1)) * ml)
    assert found.probability_change.mean() == pytest.approx(sum(found.mean_change.values()), abs=1e-6)


def test_difference_by_hand(session: Session) -> None:
    import dataclasses

    found = session.what_if("liver", Own())
    labels = [np.zeros(found.before.labels.shape, np.uint8) for _ in range(2)]
    labels[0][0, 0, :4], labels[1][0, 0, :4] = [1, 1, 0, 2], [1, 0, 1, 1]
    made = dataclasses.replace(
        found,
        before=dataclasses.replace(found.before, labels=labels[0]),
        after=dataclasses.replace(found.after, labels=labels[1]),
    )
    assert made.difference[0, 0, :5].tolist() == [0, 1, 2, 3, 0]
    assert made.to_dict()["voxels"] == {"only before": 1, "only after": 1, "another structure": 1}


def test_inside_a_box_the_answer_is_that_of_the_whole_image(session: Session) -> None:
    box = Box((2, 3, 4), (9, 20, 12))
    whole, part = (session.what_if("liver", Swap("spleen"), ALONE, region) for region in (Box((0, 0, 0), (40, 40, 28)), box))
    assert part.valid == (slice(2, 9), slice(3, 20), slice(4, 12))
    inside = np.zeros(whole.before.labels.shape, bool)
    inside[part.valid] = True
    for name in ("before", "after"):
        assert np.array_equal(getattr(part, name).labels[inside], getattr(whole, name).labels[inside])
        assert not getattr(part, name).labels[~inside].any()
    assert np.array_equal(part.probability_change[inside], whole.probability_change[inside])
    assert not part.probability_change[~inside].any()


def test_only_windows_of_the_region_are_computed_once_for_both_answers(
    model: Predictor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, encoded, decoded = model.engine._net, [], []  # type: ignore[attr-defined]
    encode, decode = net.encode, net.decode
    monkeypatch.setattr(net, "encode", lambda x: encoded.append(len(x)) or encode(x))
    monkeypatch.setattr(net, "decode", lambda f, p: decoded.append(len(p)) or decode(f, p))
    session.what_if("liver", Zero(), region=OneWindow((1, 1, 1)))
    assert (sum(encoded), sum(decoded)) == (1, 2)


def test_one_window_tells_its_own_answer(session: Session, model: Predictor) -> None:
    """By hand: softmax of the lone window, without any weights, brought back to the image's grid."""
    found = session.what_if("liver", Own(), region=OneWindow((1, 1, 1)))
    prepared = next(iter(session._prepared.values()))
    window = torch.from_numpy(np.pad(prepared.array, [(0, 0), (0, 0), (0, 0), (4, 4)])[:, :32, :64, :64])[None]
    assert prepared.shape == (40, 80, 56)
    [usual] = model.engine.run(window, [0], mirror=False, tick=lambda share: None)
    whole = np.zeros((3, 40, 80, 56), np.float32)
    whole[:, :32, :64] = usual[0, :3, :, :, 4:-4].numpy()
    labels = prepared.restore(whole).labels
    assert np.array_equal(found.before.labels[found.valid], labels[found.valid])
    assert found.valid[0] == slice(0, 32)


def test_mirrored_windows_are_asked_under_the_mirrored_rule(session: Session) -> None:
    """A prompt from elsewhere that happens to be constant is its own mirror image; own prompts equal the usual mirrored run."""
    mirrored = Options(mirror=True)
    found = session.what_if("liver", Own(), mirrored)
    [usual] = session.segment(["liver"], mirrored)
    assert np.array_equal(found.after.labels, usual.labels)
    assert not found.probability_change.any()


def test_another_images_prompt_is_taken_from_its_maps(model: Predictor, session: Session, rng: np.random.Generator) -> None:
    other = model.open(ct_volume(rng, (20, 30, 30)))
    [maps] = other.prompt_maps(["liver"])
    found = session.what_if("liver", Foreign(maps.window_mean[0], "the other CT"))
    facts = found.after.record.options
    assert (facts["prompt"], facts["said"], len(facts["sha256"])) == ("foreign", "the other CT", 64)
    with pytest.raises(OptionError, match=r"has shape \(2, 2, 3\), these weights need \(2, 2, 2\)"):
        session.what_if("liver", Foreign(np.zeros((2, 2, 3))))


def test_the_record_tells_rule_weights_and_region(model: Predictor, session: Session) -> None:
    found = session.what_if("liver", Blend("spleen", 0.25), region=OneWindow((1, 2, 3)))
    before, after = (json.loads(json.dumps(answer.record.to_dict())) for answer in (found.before, found.after))
    assert after["weights"]["sha256"] == model.checkpoint.sha256
    assert {"prompt": "blend", "task": "spleen", "share": 0.25}.items() <= after["options"].items()
    assert {"region": "one window", "voxel": [1, 2, 3]}.items() <= after["options"].items()
    assert before["options"]["prompt"] == "own"
    assert json.loads(json.dumps(found.to_dict()))["change"] == {"prompt": "blend", "task": "spleen", "share": 0.25}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda: Blend("spleen", 1.5), OptionError, "must be between 0 and 1, not 1.5"),
        (lambda: Shuffle(-1), OptionError, "seed must be zero or more, not -1"),
        (lambda: Swap("splen"), TaskError, "Did you mean 'spleen'"),
    ],
)
def test_senseless_changes_are_refused(session: Session, change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        session.what_if("liver", change())


def test_cancel_ends_within_one_decoding(session: Session) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "predict" and progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.what_if("liver", Zero(), progress=stop)


# Saliency --------------------------------------------------------------------------------------------------------------


def test_gradients_equal_central_differences_in_float64() -> None:
    from uniseg_model.network.sensitivity import mean_probability, sensitivity

    net = tiny_checkpoint().network().double()
    x = torch.randn(2, 1, *TINY.window, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        features = net.encode(x)
        prompt = net.prompts(features)[:, 6:7]
        found = sensitivity(net, features, prompt, 1)
        assert found.shape == prompt.shape == (2, 1, 2, 2, 2)
        for index in [(0, 0, 0), (1, 0, 1), (1, 1, 1)]:
            moved = torch.zeros_like(prompt)
            moved[(slice(None), 0, *index)] = step
            ends = [mean_probability(net, features, prompt + sign * moved, 1) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert found[(slice(None), 0, *index)].tolist() == pytest.approx(slope.tolist(), rel=1e-4)
            assert abs(slope).min() > 1e-9


def test_saliency_of_a_known_engine_is_stitched_in_its_place(
    session: Session, monkeypatch: pytest.MonkeyPatch, model: Predictor
) -> None:
    monkeypatch.setattr(
        model.engine, "sensitivity", lambda windows, rule, value: torch.full((len(windows), 2, 2, 2), float(value))
    )
    whole = session.saliency("liver", "liver tumour")
    [maps] = session.prompt_maps(["liver"])
    assert (whole.array == 2).all()
    assert whole.array.shape == maps.array.shape[1:]
    assert np.array_equal(whole.affine, maps.affine)
    one = session.saliency("liver", "liver", region=OneWindow((0, 0, 0)))
    assert one.array.shape == (3, 3, 2)
    assert (one.array[:2, :2] == 1).all()
    assert np.isnan(one.array[2]).all()


def test_saliency_leaves_the_network_as_it_was(session: Session, model: Predictor) -> None:
    found = session.saliency("liver", "liver")
    assert np.isfinite(found.array).all()
    assert found.array.any()
    assert all(not p.requires_grad and p.grad is None for p in model.engine._net.parameters())  # type: ignore[attr-defined]
    assert found.record.options["structure"] == "liver"


def test_saliency_of_an_unknown_structure_is_refused(session: Session) -> None:
    with pytest.raises(OptionError, match=r"'Spleen' has no structure 'liver', only spleen"):
        session.saliency("spleen", "liver")


def test_out_of_memory_of_a_gradient_is_named(
    model: Predictor, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.engine, "sensitivity", lack)
    volume: Volume = ct_volume(rng)
    with pytest.raises(OutOfMemoryError, match="--device cpu"):
        model.open(volume).saliency("liver", "liver")
