"""What a UniSeg network looks like. It travels inside every checkpoint, so no other file can disagree with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from uniseg_model.errors import WeightsError
from uniseg_model.volume import Shape

_Kernels = tuple[Shape, ...]


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; the defaults are the published ones. Triples are along z, y, x.

    n_tasks: channels of the universal prompt. n_classes: outputs of the shared head, background included.
    window: voxels of one input window. features: channels of each encoder stage, the bottleneck last.
    strides: from each stage to the next; also the kernels of the transposed convolutions on the way back.
    kernels: of the encoder's stages, the bottleneck last; the decoder's are 3 x 3 x 3 throughout.
    stems: channel counts for which there is a first convolution.

    Raises:
        WeightsError: sizes that contradict each other.
    """

    n_tasks: int = 11
    n_classes: int = 4
    window: Shape = (64, 192, 192)
    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    strides: _Kernels = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    kernels: _Kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    stems: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        stages = len(self.features)
        if not (stages >= 2 and len(self.strides) == stages - 1 and len(self.kernels) == stages):
            raise WeightsError(f"a network of {stages} stages needs as many kernels and one stride fewer; "
                               f"it has {len(self.kernels)} and {len(self.strides)}")  # fmt: skip
        if min(self.n_tasks, self.n_classes - 1, *self.features, *self.window, *self.total_stride) < 1:
            raise WeightsError("a network needs at least 1 task, 2 classes, and features, window and strides above 0")
        if any(side % stride for side, stride in zip(self.window, self.total_stride, strict=True)):
            raise WeightsError(f"the window {self.window} must be a multiple of the network's total stride {self.total_stride}")
        if math.prod(self.prompt_shape) < 2:
            raise WeightsError(f"the window {self.window} leaves a bottleneck of one voxel, which cannot be normalised")

    @property
    def total_stride(self) -> Shape:
        """Input voxels per bottleneck voxel."""
        return tuple(math.prod(steps) for steps in zip(*self.strides, strict=True))

    @property
    def prompt_shape(self) -> Shape:
        """Voxels of the bottleneck, which are the prompt's too."""
        return tuple(side // step for side, step in zip(self.window, self.total_stride, strict=True))  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> NetworkConfig:
        """A configuration from plain values.

        Raises:
            WeightsError: a field is missing, unknown or wrong.
        """
        names = {f.name for f in fields(cls)}
        if set(facts) != names:
            raise WeightsError(f"a network is described by {sorted(names)}, the file gives {sorted(facts)}")
        try:
            return cls(**{name: _frozen(value) for name, value in facts.items()})
        except TypeError as exc:
            raise WeightsError(f"the network is described wrongly: {exc}") from exc


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
