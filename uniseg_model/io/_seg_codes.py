"""What structures are called in SNOMED CT (two lesions in the NCI Thesaurus), for DICOM-SEG.

Names that are not in the table, such as those of tasks of your own, are coded as tissue; the name itself stands beside
the code in either case.
"""

from __future__ import annotations

from typing import Any

# Name of a structure: keyword of its type and of the region it lies in, in pydicom's dictionary of codes.
_KEYWORDS = {
    "liver": ("Liver", ""),
    "liver tumour": ("Neoplasm", "Liver"),
    "kidney": ("Kidney", ""),
    "kidney tumour": ("Neoplasm", "Kidney"),
    "hepatic vessel": ("BloodVessel", "Liver"),
    "hepatic vessel tumour": ("Neoplasm", "Liver"),
    "pancreas": ("Pancreas", ""),
    "pancreas tumour": ("Neoplasm", "Pancreas"),
    "colon tumour": ("Neoplasm", "Colon"),
    "lung tumour": ("Neoplasm", "Lung"),
    "spleen": ("Spleen", ""),
    "vertebrae": ("Vertebra", ""),
    "prostate": ("Prostate", ""),
    "oedema": ("Edema", "Brain"),
    "non-enhancing tumour": ("NonEnhancingLesion", "Brain"),
    "enhancing tumour": ("EnhancingLesion", "Brain"),
    "tumour lesion": ("Neoplasm", ""),
}


def coded(name: str) -> tuple[Any, Any, Any | None]:
    """Codes of a structure: category, type and, where one is known, the region it lies in."""
    from pydicom.sr.codedict import codes

    kind, region = _KEYWORDS.get(name.lower(), ("Tissue", ""))
    where = getattr(codes.SCT, region) if region else None
    if kind == "Tissue":
        return codes.SCT.Tissue, codes.SCT.Tissue, where
    if kind in codes.cid7159.dir():  # the standard's list of lesions
        return codes.SCT.MorphologicallyAbnormalStructure, getattr(codes.cid7159, kind), where
    return codes.SCT.AnatomicalStructure, getattr(codes.SCT, kind), where
