"""What training left in the universal prompt: one channel a task, the same for every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uniseg_model.errors import WeightsError
from uniseg_model.prompts.sets import PromptSet

if TYPE_CHECKING:
    from uniseg_model.checkpoint import Checkpoint


def learned_prompts(checkpoint: Checkpoint, tasks: Sequence[str] | None = None) -> PromptSet:
    """The universal prompt's channels, (T, z, y, x), of these tasks; None: of all, in prompt order.

    What the decoder gets is not these but what the fusion makes of them and an image: see ``Session.prompt_maps``.

    Raises:
        TaskError: the weights do not know a task. WeightsError: they hold no universal prompt.
    """
    if "universal_prompt" not in checkpoint.weights:
        raise WeightsError(
            f"the weights {checkpoint.about.name!r} hold no universal prompt",
            hint="A backbone alone has no prompts to look at.",
        )
    chosen = [checkpoint.tasks[key] for key in (checkpoint.tasks if tasks is None else dict.fromkeys(tasks))]
    parts = [checkpoint.weights["universal_prompt"][0], *(pack.weights["prompt"][0] for pack in checkpoint.packs)]
    channels = np.concatenate([part.detach().float().cpu().numpy() for part in parts])
    return PromptSet(tuple(chosen), np.ascontiguousarray(channels[[checkpoint.place(task) for task in chosen]]))
