"""How to segment: the options of a run, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from uniseg_model.errors import OptionError
from uniseg_model.tasks import check_axes
from uniseg_model.volume import Triple
from uniseg_model.windows import check_step


@dataclass(frozen=True)
class Options:
    """How to segment. The defaults equal the original, but for mirroring on a CPU.

    mirror: average over the eight flips; eight times the work. None: on a GPU yes, on a CPU no,
        and never with weights that were not trained on mirrored images.
    step: distance of windows as a share of their side, in (0, 1].
    spacing_mm, axes: in place of the tasks' own.
    batch: windows at once; None: as the device allows.
    confidence: keep how probable the best class was, and how far it led.
    agreement: segment once more, with mirroring if the answer is without and the other way round, and keep the Dice of the two.
    focus: a voxel Z, Y, X of the image; windows near it are computed first, for those who look at the preview.
    """

    mirror: bool | None = None
    step: float = 0.5
    spacing_mm: Triple | None = None
    axes: str | None = None
    batch: int | None = None
    confidence: bool = False
    agreement: bool = False
    focus: Triple | None = None

    def __post_init__(self) -> None:
        check_step(self.step)
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", tuple(self.spacing_mm))
        if self.spacing_mm is not None and not (len(self.spacing_mm) == 3 and all(0.1 <= s <= 100 for s in self.spacing_mm)):
            raise OptionError(f"the spacing must be three numbers between 0.1 and 100 mm (z, y, x), not {self.spacing_mm}")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"the batch must be at least 1 window, not {self.batch}")
        if self.axes is not None:
            check_axes(self.axes)

    def focused_on(self, voxel: Triple) -> Options:
        """The same, but windows near a voxel Z, Y, X come first."""
        return replace(self, focus=voxel)
