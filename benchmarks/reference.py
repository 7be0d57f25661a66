"""The steps of the original, written plainly from their description: what the ratios in the tables are ratios to.

scikit-image in float64 for every resampling, the whole volume at once; instance norm as such; all five heads of the
decoder; sums of all the head's classes; eight flips where it mirrors. Nothing is shared between tasks.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional

from uniseg_model.network.blocks import SLOPE, Block, Stem
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.windows import Layout

HU_LIMIT = 325


def cubic(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image (Z, Y, X) on another grid."""
    return resize(image.astype(float), shape, 3, mode="edge", anti_aliasing=False).astype(np.float32)


def prepare(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The way in for a CT (Z, Y, X) that is not to be cropped."""
    ndimage.binary_fill_holes(image != 0)
    return np.asarray((np.clip(cubic(image, shape), -HU_LIMIT, HU_LIMIT) + HU_LIMIT) / (2 * HU_LIMIT), np.float32)


def restore(probabilities: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The way back: class probabilities (K, z, y, x) to labels (Z, Y, X)."""
    large = [resize(p.astype(float), shape, 1, mode="edge", anti_aliasing=False).astype(np.float32) for p in probabilities]
    return np.stack(large).argmax(0).astype(np.uint8)


def normed(block: Block | Stem, x: Tensor) -> Tensor:
    """Instance norm and activation of a block, after its convolution."""
    x = functional.instance_norm(x, weight=block.norm.weight, bias=block.norm.bias, eps=block.norm.eps)
    return functional.leaky_relu_(x, SLOPE)


def logits(net: UniSegNet, x: Tensor, place: int) -> Tensor:
    """Class logits (B, K, Z, Y, X) of windows (B, C, Z, Y, X) for the task at a place."""
    skips = []
    for stage in net.encoder:
        for block in stage.children():
            x = normed(block, (block.convs[str(x.shape[1])] if isinstance(block, Stem) else block.conv)(x))  # type: ignore[union-attr,operator]
        skips.append(x)
    prompts = torch.cat([x, net.universal_prompt.expand(len(x), -1, -1, -1, -1)], dim=1)
    for block in net.fusion:
        prompts = normed(block, block.conv(prompts))  # type: ignore[arg-type,operator,union-attr]
    x = torch.cat([x, prompts[:, place : place + 1]], dim=1)
    for up, blocks, head, skip in zip(net.upsample, net.decoder, net.heads, skips[-2::-1], strict=True):
        x = torch.cat([up(x), skip], dim=1)
        for block in blocks:  # type: ignore[union-attr]
            x = normed(block, block.conv(x))
        out: Tensor = head(x)  # the coarser heads' answers are computed and not used, as in the original
    return out


def sweep(net: UniSegNet, array: np.ndarray, place: int, *, mirror: bool) -> np.ndarray:
    """Class probabilities (K, z, y, x) of a prepared array (C, z, y, x), all classes of the head."""
    layout = Layout.over(array.shape[1:], net.config.window)
    padded = torch.from_numpy(np.pad(array, [(0, 0), *layout.pads]))
    sums = np.zeros((net.config.n_classes, *padded.shape[1:]), np.float32)
    weights = np.zeros(padded.shape[1:], np.float32)
    flips = list(product((False, True), repeat=3)) if mirror else [(False,) * 3]
    for start in layout.starts:
        cut = tuple(slice(at, at + side) for at, side in zip(start, net.config.window, strict=True))
        window, mean = padded[(slice(None), *cut)][None], 0
        for flip in flips:
            axes = [2 + axis for axis, flipped in enumerate(flip) if flipped]
            with torch.no_grad():
                mean = mean + logits(net, window.flip(axes), place).softmax(1).flip(axes) / len(flips)
        sums[(slice(None), *cut)] += np.asarray(mean)[0] * layout.weight
        weights[cut] += layout.weight
    return layout.on_grid(sums / weights)


def segment(net: UniSegNet, image: np.ndarray, shape: tuple[int, ...], place: int, n_classes: int, *, mirror: bool) -> Any:
    """Labels (Z, Y, X) of a CT whose grid becomes ``shape``."""
    return restore(sweep(net, prepare(image, shape)[None], place, mirror=mirror)[:n_classes], image.shape)
