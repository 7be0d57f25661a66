"""The benchmarks of tasks of one's own: which parts are held still, what is refused, what is drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.correct_and_learn import draw, report
from benchmarks.own_real import read_pair
from benchmarks.pack_parts import VARIANTS, part_of
from uniseg_model.errors import GeometryError, OptionError
from uniseg_model.io import write_image, write_labels
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import own_shapes
from uniseg_model.volume import Volume


def test_every_weight_of_a_pack_belongs_to_one_part() -> None:
    shapes = own_shapes(NetworkConfig(window=(32, 96, 96), features=(8, 16, 32, 64, 80, 80)), 2, 4)
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        sizes[part_of(name)] = sizes.get(part_of(name), 0) + int(np.prod(shape))
    assert sizes.keys() == {"prompt", "fusion", "heads", "norms", "updates"}
    assert sizes["heads"] == 2 * (8 + 16 + 32 + 64 + 80)  # a 1x1x1 convolution to two classes at each resolution
    assert sizes["norms"] == 2 * 2 * (8 + 16 + 32 + 64 + 80)  # scale and shift, two blocks a stage
    assert {part for _, held in VARIANTS.values() for part in held} < sizes.keys()


def test_a_pair_that_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    volume = Volume(
        np.zeros((1, 4, 5, 6), np.float32) + np.arange(6, dtype=np.float32), np.diag([3.0, 3.0, 3.0, 1.0])[[2, 1, 0, 3]]
    )
    image, labels, elsewhere = (tmp_path / f"{name}.nii.gz" for name in ("image", "labels", "elsewhere"))
    truth = np.zeros(volume.shape, np.uint8)
    truth[1, 2, 3] = 5
    write_image(image, volume.array[0], volume)
    write_labels(labels, truth, volume)
    assert np.argwhere(read_pair(image, labels, 5)[1]).tolist() == [[1, 2, 3]]
    with pytest.raises(OptionError, match=r"labels\.nii\.gz does not hold the value 7, it holds \[0, 5\]"):
        read_pair(image, labels, 7)
    moved = volume.affine.copy()
    moved[0, 3] += 50
    write_labels(elsewhere, truth, Volume(volume.array, moved))
    with pytest.raises(GeometryError, match=r"the label map"):
        read_pair(image, elsewhere, 5)


def test_the_curve_of_correct_and_learn_is_drawn_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    stages = [
        {"cases": n, "next": 0.1 * n, "changed": 50, "voxels": 200, "dice": [0.2 * n, 0.4 * n], "cpu_seconds": 90}
        for n in (0, 1)
    ]
    found = {"corrected": stages, "alone": stages[:1]}
    root = ElementTree.fromstring(draw(found))
    assert root.get("aria-label") == "Mean Dice, with the corrected cases: 0.00, 0.30; same steps, no new case: 0.00"
    assert len([mark for mark in root if mark.tag.endswith("circle")]) == 1 + 4  # the legend's, and two scans a stage
    report(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["| 0 | 0.000 | 0.25 | 0.000 | 0.000 | 1.5 |", "| 1 | 0.100 | 0.25 | 0.300 |  | 1.5 |"]
