"""How good an answer is: metrics with units in their names, and one folder of label maps against another.

metrics   two masks           folders   two folders         scores    what that brought, by case and over cases
tables    CSV                 report    one page of HTML, with box plots (charts) and the worst cases (worst, pictures)
"""

from __future__ import annotations

from uniseg_model.evaluation.bootstrap import INTERVAL, mean_interval
from uniseg_model.evaluation.folders import evaluate_folders
from uniseg_model.evaluation.metrics import (
    DEFINITIONS,
    METRICS,
    Metric,
    dice,
    hd95_mm,
    surface_dice,
    volume_error_percent,
)
from uniseg_model.evaluation.report import write_html
from uniseg_model.evaluation.scores import CaseScores, Evaluation, Spread, StructureScores
from uniseg_model.evaluation.tables import write_csv
from uniseg_model.evaluation.worst import check_images

__all__ = [
    "DEFINITIONS",
    "INTERVAL",
    "METRICS",
    "CaseScores",
    "Evaluation",
    "Metric",
    "Spread",
    "StructureScores",
    "check_images",
    "dice",
    "evaluate_folders",
    "hd95_mm",
    "mean_interval",
    "surface_dice",
    "volume_error_percent",
    "write_csv",
    "write_html",
]
