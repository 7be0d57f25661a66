"""How an answer would change with its prompt: the gradient of a structure's mean probability.

A gradient is local: it tells of small changes only, not of those that ``what_if`` makes, and it is no explanation of why
the network found something. Signs and places can be compared within one window; sizes depend on how loud the prompts are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uniseg_model.network.uniseg import Decoder, Features


def mean_probability(net: Decoder, features: Features, prompt: Tensor, value: int) -> Tensor:
    """Mean over a whole window of the probability of class ``value``, (B,), under a prompt (B, 1, z, y, x).

    Over all voxels, those that padded a small image included, and not over those predicted: so it is a smooth function of the
    prompt, and tells what could bring a structure that was not found.
    """
    logits = net.decode(features, prompt)
    probabilities = logits.softmax(
        dim=1, dtype=torch.promote_types(logits.dtype, torch.float32)
    )  # half is too coarse for a mean
    return probabilities[:, value].mean(dim=(1, 2, 3))


def sensitivity(net: Decoder, features: Features, prompt: Tensor, value: int) -> Tensor:
    """Gradient of :func:`mean_probability` with respect to each window's own prompt, (B, 1, z, y, x): probability per unit."""
    with torch.enable_grad():
        prompt = prompt.detach().requires_grad_()
        # Windows do not see each other, so the gradient of the sum holds each window's own.
        [gradient] = torch.autograd.grad(mean_probability(net, features, prompt, value).sum(), prompt)
    return gradient
