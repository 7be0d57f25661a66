"""How good an answer is: metrics with units in their names, and one folder of label maps against another."""

from __future__ import annotations

from uniseg_model.evaluation.folders import CaseScores, Evaluation, Spread, StructureScores, evaluate_folders
from uniseg_model.evaluation.metrics import DEFINITIONS, dice, hd95_mm, surface_dice

__all__ = [
    "DEFINITIONS",
    "CaseScores",
    "Evaluation",
    "Spread",
    "StructureScores",
    "dice",
    "evaluate_folders",
    "hd95_mm",
    "surface_dice",
]
