"""The steps of the original, written plainly from their description: what the ratios in the tables are ratios to.

scikit-image in float64 for every resampling, the whole volume at once; instance norm as such; all five heads of the
decoder; sums of all the head's classes; eight flips where it mirrors. Nothing is shared between tasks.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional

from uniseg_model.network.blocks import SLOPE, Block, Stem
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.preprocess import new_shape
from uniseg_model.resample import coarse_axis
from uniseg_model.volume import Triple, Volume
from uniseg_model.windows import Layout

HU_LIMIT = 325


def resized(image: np.ndarray, shape: tuple[int, ...], order: int, apart: int | None) -> np.ndarray:
    """An image (Z, Y, X) on another grid, in float64; with ``apart`` slice by slice, and then the nearest slice along that axis."""
    if apart is None:
        return np.asarray(resize(image.astype(float), shape, order, mode="edge", anti_aliasing=False))
    moved, new = np.moveaxis(image, apart, 0), (shape[apart], *(n for axis, n in enumerate(shape) if axis != apart))
    flat = np.stack([resize(plane.astype(float), new[1:], order, mode="edge", anti_aliasing=False) for plane in moved])
    if len(flat) != new[0]:
        scale = np.array(flat.shape).reshape(-1, 1, 1, 1) / np.array(new).reshape(-1, 1, 1, 1)
        places = scale * (np.mgrid[: new[0], : new[1], : new[2]] + 0.5) - 0.5
        flat = ndimage.map_coordinates(flat, places, order=0, mode="nearest")
    return np.moveaxis(flat, 0, apart)


def prepare(image: np.ndarray, shape: tuple[int, ...], apart: int | None) -> np.ndarray:
    """The way in for a CT (Z, Y, X) that is not to be cropped."""
    ndimage.binary_fill_holes(image != 0)
    found = resized(image, shape, 3, apart).astype(np.float32)
    return np.asarray((np.clip(found, -HU_LIMIT, HU_LIMIT) + HU_LIMIT) / (2 * HU_LIMIT), np.float32)


def restore(probabilities: np.ndarray, shape: tuple[int, ...], apart: int | None) -> np.ndarray:
    """The way back: class probabilities (K, z, y, x) to labels (Z, Y, X)."""
    large = [resized(p, shape, 1, apart).astype(np.float32) for p in probabilities]
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
        window, mean = padded[(slice(None), *cut)][None].to(net.universal_prompt.device), torch.zeros(())
        for flip in flips:
            axes = [2 + axis for axis, flipped in enumerate(flip) if flipped]
            with torch.no_grad():
                mean = mean + logits(net, window.flip(axes), place).softmax(1).flip(axes) / len(flips)
        sums[(slice(None), *cut)] += mean.cpu().numpy()[0] * layout.weight
        weights[cut] += layout.weight
    return layout.on_grid(sums / weights)


def segment(net: UniSegNet, volume: Volume, spacing_mm: Triple, place: int, n_classes: int, *, mirror: bool) -> np.ndarray:
    """Labels (Z, Y, X) of a CT that is not to be cropped, computed at ``spacing_mm``."""
    apart, shape = coarse_axis(volume.spacing_mm, spacing_mm), new_shape(volume.shape, volume.spacing_mm, spacing_mm)
    probabilities = sweep(net, prepare(volume.array[0], shape, apart)[None], place, mirror=mirror)
    return restore(probabilities[:n_classes], volume.shape, apart)
