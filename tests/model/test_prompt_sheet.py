"""The contact sheet: which slice, which colours, and files that other programs open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import ct_volume, tiny_checkpoint

from uniseg_model.errors import OptionError, OutputError
from uniseg_model.evaluation.pictures import PICTURE_SIDE
from uniseg_model.predictor import Predictor
from uniseg_model.prompts.sheet import draw_sheet
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import builtin_tasks

LIVER_BLUE = (0x00, 0x72, 0xB2)


@pytest.fixture
def answers(rng: np.random.Generator) -> list[Segmentation]:
    """A liver in slices 4 to 7, largest in 6; a spleen that was not found."""
    volume = ct_volume(rng)
    record = Predictor(tiny_checkpoint(), device="cpu").open(volume).segment(["liver"])[0].record
    liver = np.zeros(volume.shape, np.uint8)
    liver[4:8, 8:12, 6:20] = 1
    liver[6, 6:18, 6:20] = 1
    tasks = builtin_tasks()
    return [
        Segmentation(tasks["liver"], liver, volume, record),
        Segmentation(tasks["spleen"], np.zeros_like(liver), volume, record),
    ]


def count(pixels: np.ndarray, color: tuple[int, int, int]) -> int:
    return int(np.count_nonzero((pixels == color).all(axis=-1)))


def test_each_structure_is_shown_where_it_is_largest(answers: list[Segmentation]) -> None:
    """28 x 24 voxels in a picture of 360 pixels: 14 x 12 of them are outlined in slice 6, 14 x 4 in the others."""
    best, small, without = draw_sheet(answers), draw_sheet(answers, (4, 0, 0)), draw_sheet(answers, (0, 0, 0))
    assert count(best.pixels, LIVER_BLUE) > count(small.pixels, LIVER_BLUE) + 2 * 2 * 8 * 360 / 28.56 * 0.9
    assert count(without.pixels, LIVER_BLUE) < 200  # only the legend's square


def test_there_is_a_picture_for_each_structure_or_for_each_task(answers: list[Segmentation]) -> None:
    """Liver, liver tumour, spleen: two rows of two; with a voxel two tasks beside each other."""
    by_structure, by_task = draw_sheet(answers).pixels, draw_sheet(answers, (1, 1, 1)).pixels
    assert by_structure.shape[0] > 2 * PICTURE_SIDE > by_task.shape[0] > PICTURE_SIDE
    assert by_structure.shape[1] == by_task.shape[1] > 2 * PICTURE_SIDE


def test_png_and_pdf_open_elsewhere(answers: list[Segmentation], tmp_path: Path) -> None:
    sheet = draw_sheet(answers)
    sheet.save(tmp_path / "sheet.png")
    sheet.save(tmp_path / "sheet.pdf")
    with Image.open(tmp_path / "sheet.png") as written:
        assert np.array_equal(np.asarray(written), sheet.pixels)
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.pdf", "sheet.png"]


def test_other_formats_voxels_outside_and_nothing_at_all_are_refused(answers: list[Segmentation], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"written as \.png or \.pdf, not as sheet\.gif"):
        draw_sheet(answers).save(tmp_path / "sheet.gif")
    with pytest.raises(OptionError, match=r"the voxel \(20, 0, 0\) lies outside"):
        draw_sheet(answers, (20, 0, 0))
    with pytest.raises(OptionError, match="at least one segmentation"):
        draw_sheet([])
