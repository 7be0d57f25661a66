"""Dice and cross-entropy, as in nnU-Net v1: MONAI's loss, whose numbers equal the original's (plus one: 1 - Dice)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch.nn import functional

_SMOOTH = 1e-5


class TaskLoss:
    """The loss of one step: Dice (no background) and cross-entropy over the task's classes, at all scales.

    Full resolution counts 1, each coarser one half of the one before, the coarsest nothing; the weights sum to 1.

    batch_dice: one Dice over all samples together, not one for each.
    """

    def __init__(self, *, batch_dice: bool = False) -> None:
        self._one_scale = DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=batch_dice, smooth_nr=_SMOOTH, smooth_dr=_SMOOTH
        )

    def __call__(self, scales: Sequence[Tensor], labels: Tensor, n_classes: int) -> Tensor:
        """The loss of logits (B, K, Z, Y, X) at each resolution, full resolution first.

        labels: (B, Z, Y, X), below ``n_classes``, the number of the task's classes; other logits are cut off first.
        """
        weights = scale_weights(len(scales))
        losses = [
            weight * self._one_scale(logits[:, :n_classes].float(), shrunk(labels, logits.shape[2:]))
            for weight, logits in zip(weights, scales, strict=True)
            if weight
        ]
        return torch.stack(losses).sum()


def scale_weights(n: int) -> list[float]:
    """What each of ``n`` resolutions counts: 1, 1/2, 1/4, ..., the last 0 (a lone one 1), divided by their sum."""
    halves = [0.5**i for i in range(n - 1)] + [0.0] if n > 1 else [1.0]
    return [half / sum(halves) for half in halves]


def shrunk(labels: Tensor, shape: torch.Size) -> Tensor:
    """Labels (B, Z, Y, X) at a coarser resolution, (B, 1, z, y, x): the nearest voxel counts."""
    coarse = labels.unsqueeze(1).float()
    return coarse if coarse.shape[2:] == shape else functional.interpolate(coarse, list(shape), mode="nearest-exact")
