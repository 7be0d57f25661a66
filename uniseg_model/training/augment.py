"""Windows made different, as nnU-Net v1's "more DA" does, in its order and with its chances.

One generator decides everything, so a seed and a step say what a window will look like; MONAI does the pixels. Three
things differ from the original, for speed: images are turned with linear interpolation instead of cubic, labels with the
nearest voxel instead of linear, and low resolution is blown up again linearly instead of cubic. ``light`` leaves out
turning, scaling, blur, low resolution and mirroring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import AdjustContrast, Affine, GaussianSmooth
from monai.utils import convert_to_tensor
from torch import Tensor
from torch.nn import functional

from uniseg_model.volume import Shape

_LARGEST_TURN = np.deg2rad(30)
_ZOOM = (0.7, 1.4)


@dataclass(frozen=True)
class Turn:
    """A rotation about the three axes in radians and a scaling; a factor above 1 shows more of the image."""

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    factor: float = 1.0

    def extent(self, window: Shape) -> Shape:
        """Voxels that a turned window reaches over along Z, Y, X: what has to be cut before turning."""
        if self == Turn():
            return window
        a, b, c = self.angles
        about_z = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        about_x = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        reach = np.abs(about_z @ about_y @ about_x) @ np.array(window) * self.factor
        return tuple(int(np.ceil(n)) + 2 for n in reach)  # type: ignore[return-value]

    def apply(self, image: Tensor, labels: Tensor, window: Shape) -> tuple[Tensor, Tensor]:
        """The turned window of an image (C, ...) and labels (...) that were cut as large as :meth:`extent` says."""
        if self == Turn():
            return image, labels
        turned = [
            Affine(self.angles, scale_params=(self.factor,) * 3, spatial_size=window, mode=mode, padding_mode="zeros", image_only=True)(array)
            for array, mode in ((image, "bilinear"), (labels.unsqueeze(0).float(), "nearest"))
        ]  # fmt: skip
        return _plain(turned[0]), _plain(turned[1])[0].to(labels.dtype)


def draw_turn(rng: np.random.Generator) -> Turn:
    """A rotation of up to 30 degrees about each axis for one window in five, a scaling for one in five."""
    angles = rng.uniform(-_LARGEST_TURN, _LARGEST_TURN, 3) if rng.random() < 0.2 else np.zeros(3)
    factor = _two_sided(rng, *_ZOOM) if rng.random() < 0.2 else 1.0
    return Turn(tuple(angles.tolist()), factor)


def change_intensities(image: Tensor, rng: np.random.Generator, *, slow_ones: bool) -> Tensor:
    """Noise, blur, brightness, contrast, low resolution and gamma for (C, Z, Y, X), each by its own chance.

    slow_ones: blur and low resolution, too.
    """
    if rng.random() < 0.1:
        image = image + rng.uniform(0, 0.1) * torch.from_numpy(rng.standard_normal(image.shape, np.float32))
    if slow_ones and rng.random() < 0.2:
        image = _some_channels(image, rng, lambda x: GaussianSmooth(float(rng.uniform(0.5, 1)))(x[None])[0])
    if rng.random() < 0.15:
        image = _each(image, lambda x: x * float(rng.uniform(0.75, 1.25)))
    if rng.random() < 0.15:
        image = _each(image, lambda x: _contrast(x, _two_sided(rng, 0.75, 1.25)))
    if slow_ones and rng.random() < 0.25:
        image = _some_channels(image, rng, lambda x: _low_resolution(x, float(rng.uniform(0.5, 1))))
    if rng.random() < 0.1:
        image = _each(image, lambda x: AdjustContrast(_two_sided(rng, 0.7, 1.5), invert_image=True, retain_stats=True)(x))
    if rng.random() < 0.3:
        image = _each(image, lambda x: AdjustContrast(_two_sided(rng, 0.7, 1.5), retain_stats=True)(x))
    return image


def mirror(image: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each axis of (C, Z, Y, X) and (Z, Y, X) is turned round or not, by chance."""
    axes = [axis for axis in (-3, -2, -1) if rng.random() < 0.5]
    return image.flip(axes), labels.flip(axes)


def _two_sided(rng: np.random.Generator, low: float, high: float) -> float:
    """Below 1 as often as above."""
    return float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))


def _each(image: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([_plain(change(channel)) for channel in image])


def _plain(tensor: Tensor) -> Tensor:
    """Without the notes that MONAI hangs on its tensors."""
    plain: Tensor = convert_to_tensor(tensor, track_meta=False)
    return plain


def _some_channels(image: Tensor, rng: np.random.Generator, change: Callable[[Tensor], Tensor]) -> Tensor:
    return _each(image, lambda channel: change(channel) if rng.random() < 0.5 else channel)


def _contrast(channel: Tensor, factor: float) -> Tensor:
    mean, low, high = channel.mean(), channel.min(), channel.max()
    return ((channel - mean) * factor + mean).clamp(low, high)


def _low_resolution(channel: Tensor, zoom: float) -> Tensor:
    shape = [max(1, round(n * zoom)) for n in channel.shape]
    coarse = functional.interpolate(channel[None, None], shape, mode="nearest-exact")
    return functional.interpolate(coarse, list(channel.shape), mode="trilinear", align_corners=False)[0, 0]
