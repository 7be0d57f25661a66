"""UniSeg: one promptable network for 3D medical images, without any front end.

>>> from uniseg_model import load_model, read_volume
>>> model = load_model("uniseg.safetensors", device="auto")
>>> session = model.open(read_volume("ct.nii.gz"))
>>> liver, spleen = session.segment(["liver", "spleen"])
>>> liver.save("liver.nii.gz")

Names that need torch are imported when first used, so ``import uniseg_model`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
DISCLAIMER = "Research use only. Not a medical device."

if TYPE_CHECKING:
    from uniseg_model.errors import UniSegError
    from uniseg_model.io import read_volume
    from uniseg_model.options import Options
    from uniseg_model.predictor import Predictor, Session, load_model
    from uniseg_model.progress import Cancelled, Progress
    from uniseg_model.prompts.changes import Blend, Foreign, Own, Shuffle, Swap, Zero
    from uniseg_model.prompts.learned import learned_prompts
    from uniseg_model.prompts.maps import PromptMaps
    from uniseg_model.prompts.saliency import Saliency
    from uniseg_model.prompts.whatif import WhatIf
    from uniseg_model.regions import Box, OneWindow, WholeImage
    from uniseg_model.segmentation import MergedMap, Segmentation, merge
    from uniseg_model.tasks import Label, Task, TaskRegistry, builtin_tasks
    from uniseg_model.volume import Volume

_HOME = {
    "UniSegError": "errors",
    "read_volume": "io",
    "Options": "options",
    "Predictor": "predictor",
    "Session": "predictor",
    "load_model": "predictor",
    "Cancelled": "progress",
    "Progress": "progress",
    "Blend": "prompts.changes",
    "Foreign": "prompts.changes",
    "Own": "prompts.changes",
    "Shuffle": "prompts.changes",
    "Swap": "prompts.changes",
    "Zero": "prompts.changes",
    "learned_prompts": "prompts.learned",
    "PromptMaps": "prompts.maps",
    "Saliency": "prompts.saliency",
    "WhatIf": "prompts.whatif",
    "Box": "regions",
    "OneWindow": "regions",
    "WholeImage": "regions",
    "MergedMap": "segmentation",
    "Segmentation": "segmentation",
    "merge": "segmentation",
    "Label": "tasks",
    "Task": "tasks",
    "TaskRegistry": "tasks",
    "builtin_tasks": "tasks",
    "Volume": "volume",
}
__all__ = [
    "Blend",
    "Box",
    "Cancelled",
    "Foreign",
    "Label",
    "MergedMap",
    "OneWindow",
    "Options",
    "Own",
    "Predictor",
    "Progress",
    "PromptMaps",
    "Saliency",
    "Segmentation",
    "Session",
    "Shuffle",
    "Swap",
    "Task",
    "TaskRegistry",
    "UniSegError",
    "Volume",
    "WhatIf",
    "WholeImage",
    "Zero",
    "builtin_tasks",
    "learned_prompts",
    "load_model",
    "merge",
    "read_volume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'uniseg_model' has no attribute {name!r}")
    return getattr(importlib.import_module(f"uniseg_model.{_HOME[name]}"), name)
