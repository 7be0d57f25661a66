"""The loss against numbers worked out by hand and against the original's definition, written out slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uniseg_model.training.losses import TaskLoss, scale_weights, shrunk


def original(logits: Tensor, labels: Tensor) -> float:
    """nnU-Net v1's DC_and_CE_loss: cross-entropy minus the mean Dice over samples and foreground classes."""
    shares = torch.softmax(logits, dim=1)
    dices = []
    for b in range(len(logits)):
        for k in range(1, logits.shape[1]):
            truth = (labels[b] == k).double()
            tp, fp, fn = (shares[b, k] * truth).sum(), (shares[b, k] * (1 - truth)).sum(), ((1 - shares[b, k]) * truth).sum()
            dices.append((2 * tp + 1e-5) / (2 * tp + fp + fn + 1e-5 + 1e-8))
    picked = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1).long())
    return float(-picked.mean() - torch.stack(dices).mean())


def test_the_loss_is_the_originals_plus_one(rng_torch: torch.Generator) -> None:
    logits = torch.randn((2, 3, 4, 5, 6), generator=rng_torch, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5, 6), generator=rng_torch)
    assert float(TaskLoss()([logits], labels, 3)) == pytest.approx(original(logits, labels) + 1, abs=1e-6)


def test_a_loss_worked_out_by_hand() -> None:
    """Two voxels, even odds: cross-entropy ln 2, Dice 2 * 0.5 / (1 + 1)."""
    labels = torch.tensor([[[[0, 1]]]])
    assert float(TaskLoss()([torch.zeros(1, 2, 1, 1, 2)], labels, 2)) == pytest.approx(math.log(2) + 1 - 0.5, abs=1e-5)


def test_a_perfect_answer_costs_nothing() -> None:
    labels = torch.tensor([[[[0, 1, 2]]]])
    logits = 50 * torch.nn.functional.one_hot(labels, 3).permute(0, 4, 1, 2, 3).float()
    assert float(TaskLoss()([logits], labels, 3)) == pytest.approx(0, abs=1e-4)


def test_classes_of_other_tasks_do_not_count(rng_torch: torch.Generator) -> None:
    logits = torch.randn((1, 4, 2, 2, 2), generator=rng_torch)
    labels = torch.randint(0, 2, (1, 2, 2, 2), generator=rng_torch)
    other = logits.clone()
    other[:, 2:] += 100
    assert torch.equal(TaskLoss()([logits], labels, 2), TaskLoss()([other], labels, 2))


def test_dice_of_the_batch_counts_what_is_found_where_nothing_is() -> None:
    """Two windows of two voxels, even odds; the second is empty. Alone: 1/2 and 0; together 2 * 0.5 / (2 + 1)."""
    labels = torch.tensor([[[[0, 1]]], [[[0, 0]]]])
    logits = torch.zeros(2, 2, 1, 1, 2)
    assert float(TaskLoss()([logits], labels, 2)) == pytest.approx(math.log(2) + 1 - 0.25, abs=1e-4)
    assert float(TaskLoss(batch_dice=True)([logits], labels, 2)) == pytest.approx(math.log(2) + 1 - 1 / 3, abs=1e-5)


def test_an_absent_structure_gives_a_finite_loss_and_gradient() -> None:
    logits = torch.zeros((1, 2, 2, 2, 2), requires_grad=True)
    loss = TaskLoss()([logits], torch.zeros((1, 2, 2, 2)), 2)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(logits.grad).all()


def test_scales_weigh_half_of_the_finer_one_and_the_coarsest_nothing() -> None:
    assert scale_weights(5) == pytest.approx([0.533, 0.267, 0.133, 0.067, 0], abs=5e-4)  # as published
    assert scale_weights(1) == [1]


def test_the_scales_are_weighted(rng_torch: torch.Generator) -> None:
    fine, middle, coarse = (torch.randn((1, 2, n, n, n), generator=rng_torch) for n in (8, 4, 2))
    labels = torch.randint(0, 2, (1, 8, 8, 8), generator=rng_torch)
    loss = TaskLoss()
    half = shrunk(labels, torch.Size((4, 4, 4)))[:, 0]
    expected = 2 / 3 * loss([fine], labels, 2) + 1 / 3 * loss([middle], half, 2)
    assert float(loss([fine, middle, coarse], labels, 2)) == pytest.approx(float(expected), abs=1e-6)


def test_coarse_labels_are_the_nearest_ones() -> None:
    labels = torch.arange(8).reshape(1, 1, 1, 8)
    assert shrunk(labels, torch.Size((1, 1, 4))).flatten().tolist() == [1, 3, 5, 7]
