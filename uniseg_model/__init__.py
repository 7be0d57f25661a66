"""UniSeg: one promptable network for 3D medical images, without any front end.

>>> from uniseg_model import load_model, read_volume
>>> model = load_model("uniseg.safetensors", device="auto")
>>> session = model.open(read_volume("ct.nii.gz"))
>>> liver, spleen = session.segment(["liver", "spleen"])
>>> liver.save("liver.nii.gz")

Names that need torch are imported when first used, so ``import uniseg_model`` stays cheap.
"""

from __future__ import annotations

__version__ = "0.1.0"
