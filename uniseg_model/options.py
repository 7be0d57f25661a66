"""How to segment: the options of a run, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from uniseg_model.errors import OptionError
from uniseg_model.presets import AS_THE_DEVICE_ALLOWS, AS_TRAINED, PRESETS
from uniseg_model.tasks import check_axes
from uniseg_model.volume import Triple
from uniseg_model.windows import check_step


@dataclass(frozen=True)
class Options:
    """How to segment. The defaults equal the original, but for mirroring on a CPU.

    mirror: average over the eight flips; eight times the work. None: on a GPU yes, on a CPU no,
        and never with weights that were not trained on mirrored images; ``AS_TRAINED``: on any device.
    step: distance of windows as a share of their side, in (0, 1].
    spacing_mm, axes: in place of the tasks' own.
    batch: windows at once; None: as the device allows.
    confidence: keep how probable the best class was, and how far it led.
    agreement: segment once more, with mirroring if the answer is without and the other way round, and keep the Dice of the two.
    body_share: leave out windows of which a smaller share is body, seen with a window's weights; [0, 1), of CT alone. What no other
        window holds then is background.
    focus: a voxel Z, Y, X of the image; windows near it are computed first, for those who look at the preview.
    """

    mirror: bool | str | None = None
    step: float = 0.5
    spacing_mm: Triple | None = None
    axes: str | None = None
    batch: int | None = None
    confidence: bool = False
    agreement: bool = False
    body_share: float = 0.0
    focus: Triple | None = None

    def __post_init__(self) -> None:
        check_step(self.step)
        if not (self.mirror is None or isinstance(self.mirror, bool) or self.mirror == AS_TRAINED):
            raise OptionError(f"mirror must be True, False, None or {AS_TRAINED!r}, not {self.mirror!r}")
        if not 0 <= self.body_share < 1:
            raise OptionError(f"the share of body must be at least 0 and below 1, not {self.body_share:g}")
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", tuple(self.spacing_mm))
        if self.spacing_mm is not None and not (len(self.spacing_mm) == 3 and all(0.1 <= s <= 100 for s in self.spacing_mm)):
            raise OptionError(f"the spacing must be three numbers between 0.1 and 100 mm (z, y, x), not {self.spacing_mm}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"the batch must be at least 1 window, not {self.batch}")
        if self.axes is not None:
            check_axes(self.axes)

    @classmethod
    def preset(cls, name: str | None, **own: Any) -> Options:
        """The options of a preset (None: the defaults); ``own`` ones count more, unless they are None.

        Raises:
            OptionError: there is no such preset, or an option outside its range.
        """
        if name is not None and name not in PRESETS:
            raise OptionError(f"the preset must be {', '.join(PRESETS)}, not {name!r}")
        preset = AS_THE_DEVICE_ALLOWS if name is None else PRESETS[name]
        return cls(**{**preset.options, **{key: value for key, value in own.items() if value is not None}})

    def focused_on(self, voxel: Triple) -> Options:
        """The same, but windows near a voxel Z, Y, X come first."""
        return replace(self, focus=voxel)
