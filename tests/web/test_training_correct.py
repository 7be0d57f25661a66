"""A person corrects labels in an editor and drops them: they become a case, if they lie where the scan lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packs_made import made_pack
from tiny import ct_volume, tiny_checkpoint

pytest.importorskip("gradio")

from uniseg_app.web_demo.training_correct import add_correction
from uniseg_app.web_demo.visits import Visit
from uniseg_model.errors import GeometryError, OptionError
from uniseg_model.io import read_labels, write_labels
from uniseg_model.predictor import Predictor
from uniseg_model.volume import Volume


@pytest.fixture(scope="module")
def shown() -> Callable[[Path], Visit]:
    base, volume = tiny_checkpoint(), ct_volume(np.random.default_rng(0))
    answers = Predictor(base.with_packs([made_pack(base)]), device="cpu").open(volume).segment(["gland"])

    def visit(folder: Path) -> Visit:
        visit = Visit("key", folder)
        visit.show(volume, "a scan", answers)
        return visit

    return visit


def test_corrected_labels_become_a_case(shown: Callable[[Path], Visit], tmp_path: Path) -> None:
    visit = shown(tmp_path)
    answer = visit.answers["gland"]
    corrected = answer.labels.copy()
    corrected[2, 3, 4] = (corrected[2, 3, 4] + 1) % 3
    write_labels(tmp_path / "corrected.nii.gz", corrected, answer.volume)
    case, found = add_correction(tmp_path / "data", visit, answer, tmp_path / "corrected.nii.gz")
    assert (case, found.n_changed) == ("gland_0000", 1)
    assert np.array_equal(read_labels(tmp_path / "data" / "labelsTr" / "gland_0000.nii.gz")[0], corrected)


def test_labels_that_lie_elsewhere_are_refused(shown: Callable[[Path], Visit], tmp_path: Path) -> None:
    visit = shown(tmp_path)
    answer, shift = visit.answers["gland"], np.eye(4)
    shift[2, 3] = 3.0  # one voxel up
    moved = Volume(answer.volume.array, shift @ answer.volume.affine)
    write_labels(tmp_path / "moved.nii.gz", answer.labels, moved)
    with pytest.raises(GeometryError, match=r"the label map lies 3 mm away from the scan, 0\.15 mm are allowed") as caught:
        add_correction(tmp_path / "data", visit, answer, tmp_path / "moved.nii.gz")
    assert "on its own grid" in caught.value.hint
    visit.volume = None
    with pytest.raises(OptionError, match="the scan is not here any more"):
        add_correction(tmp_path / "data", visit, answer, tmp_path / "moved.nii.gz")
    assert not (tmp_path / "data").exists()
