"""What a tab has looked at of prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.prompts.saliency import Saliency
from uniseg_model.prompts.sheet import Sheet
from uniseg_model.prompts.whatif import WhatIf


@dataclass
class Seen:
    """Of the image that is shown; all of it is gone with the image, but for mean prompts.

    means: mean prompts of a window, by the image's title and by task key, which outlive their image: they are small, and a later
    image can be told them. ready: names of files that are written already.
    """

    maps: tuple[PromptMaps, ...] = ()
    what_if: WhatIf | None = None
    saliency: Saliency | None = None
    sheet: Sheet | None = None
    means: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    def keep(self, title: str, found: object) -> None:
        """What a job gave. title: the image's."""
        self.ready.clear()
        if isinstance(found, WhatIf):
            self.what_if = found
        elif isinstance(found, Saliency):
            self.saliency = found
        elif isinstance(found, Sheet):
            self.sheet = found
        elif isinstance(found, list):
            self.maps = tuple(found)
            self.means[title] = {
                task.key: mean for maps in self.maps for task, mean in zip(maps.tasks, maps.window_mean, strict=True)
            }

    def forget_image(self) -> None:
        """Another image is shown."""
        self.ready.clear()
        self.maps, self.what_if, self.saliency, self.sheet = (), None, None, None

    def maps_of(self, key: str) -> PromptMaps | None:
        """The set that holds a task's map."""
        return next((maps for maps in self.maps if key in [task.key for task in maps.tasks]), None)
