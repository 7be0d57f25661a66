"""Images to try, in File > Open Sample: a synthetic patient of each kind, painted on this machine."""

from __future__ import annotations

from uniseg_app.examples import EXAMPLES
from uniseg_app.napari_plugin.reader import LayerData, image_layers
from uniseg_model.tasks import builtin_tasks


def trunk_ct() -> list[LayerData]:
    """A CT of the trunk, which eight tasks suit."""
    return _layers(0)


def prostate_mr() -> list[LayerData]:
    """A T2 image of the prostate."""
    return _layers(1)


def brain_mr() -> list[LayerData]:
    """Four images of a brain with a tumour, in the order in which the task wants them."""
    return _layers(2)


def pet_ct() -> list[LayerData]:
    """A CT and a PET of the whole body."""
    return _layers(3)


def _layers(number: int) -> list[LayerData]:
    example = EXAMPLES[number]
    modalities = builtin_tasks()[example.task].modalities
    names = tuple(f"{example.title}, {modality} (synthetic)" for modality in modalities) if len(modalities) > 1 else ()
    return image_layers(example.volume(), f"{example.title} (synthetic)", names)
