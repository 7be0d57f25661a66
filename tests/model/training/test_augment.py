"""Windows made different, each change against what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uniseg_model.training.augment import Turn, change_intensities, draw_turn, mirror

WINDOW = (8, 16, 16)


def test_a_quarter_turn_about_the_first_axis_is_a_transposition_and_a_flip() -> None:
    turn = Turn((np.pi / 2, 0.0, 0.0))
    image = torch.arange(8 * 16 * 16).reshape(1, 8, 16, 16).float()
    labels = (image[0] % 3).to(torch.uint8)
    turned, turned_labels = turn.apply(image, labels, WINDOW)
    assert any(torch.allclose(turned, image.transpose(2, 3).flip([axis]), atol=1e-2) for axis in (2, 3))
    assert torch.equal(turned_labels, (turned[0].round() % 3).to(torch.uint8))  # image and labels go together


def test_a_factor_of_two_shows_twice_as_much() -> None:
    turn = Turn(factor=2.0)
    assert all(n >= 2 * w for n, w in zip(turn.extent(WINDOW), WINDOW, strict=True))
    image = torch.zeros(1, *turn.extent(WINDOW))
    image[..., image.shape[-1] // 2 :] = 1
    small, _ = turn.apply(image, image[0].to(torch.uint8), WINDOW)
    assert tuple(small.shape) == (1, *WINDOW)
    assert float(small[0, 4, 8, :7].max()) == 0
    assert float(small[0, 4, 8, 9:].min()) == 1


@pytest.mark.parametrize("seed", range(20))
def test_what_was_cut_covers_the_turned_window(seed: int) -> None:
    """A constant image stays constant: no corner comes from outside."""
    turn = draw_turn(np.random.default_rng(seed))
    size = turn.extent(WINDOW)
    image, labels = turn.apply(torch.ones(1, *size), torch.ones(size, dtype=torch.uint8), WINDOW)
    assert torch.allclose(image, torch.ones(1, *WINDOW), atol=1e-5)
    assert labels.min() == 1


def test_chances_of_turning_and_scaling_are_one_in_five(rng: np.random.Generator) -> None:
    turns = [draw_turn(rng) for _ in range(3000)]
    assert np.mean([turn.angles != (0, 0, 0) for turn in turns]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([turn.factor != 1 for turn in turns]) == pytest.approx(0.2, abs=0.03)
    assert all(0.7 <= turn.factor <= 1.4 and np.abs(turn.angles).max() <= np.deg2rad(30) for turn in turns)


@pytest.mark.parametrize("slow_ones", [True, False])
def test_intensities_follow_the_generator_and_stay_finite(slow_ones: bool) -> None:
    image = torch.rand(2, *WINDOW)
    changed = 0
    for seed in range(40):
        a, b = (change_intensities(image, np.random.default_rng(seed), slow_ones=slow_ones) for _ in range(2))
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
        assert type(a) is torch.Tensor  # and not MONAI's
        changed += not torch.equal(a, image)
    assert 20 < changed < 40


def test_the_image_itself_is_never_changed() -> None:
    image = torch.rand(1, *WINDOW)
    before = image.clone()
    for seed in range(20):
        change_intensities(image, np.random.default_rng(seed), slow_ones=True)
        mirror(image, image[0], np.random.default_rng(seed))
    assert torch.equal(image, before)


def test_a_mirrored_image_keeps_its_labels(rng: np.random.Generator) -> None:
    image = torch.rand(1, *WINDOW)
    seen = set()
    for _ in range(100):
        a, b = mirror(image, image[0], rng)
        assert torch.equal(a[0], b)
        seen.add(tuple(a.flatten()[:4].tolist()))
    assert len(seen) == 8
