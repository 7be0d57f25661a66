"""The benchmark of a GPU, on a CPU: every row is measured, what is compared agrees, and without a GPU it says what is lacking."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY, ct_volume, tiny_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import gpu
from uniseg_model.io import write_image


def test_every_row_is_measured_and_on_one_device_all_answers_agree(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 x 24 x 28 voxels: 13440. One device, so nothing may differ."""
    monkeypatch.setattr(gpu, "load_checkpoint", lambda path: tiny_checkpoint())
    volume = ct_volume(rng)
    write_image(tmp_path / "ct.nii.gz", volume.array[0], volume)
    setting = gpu.Setting("cpu", str(tmp_path / "ct.nii.gz"), ("float32",), TINY, (10, 24, 24))
    found = dict(gpu.rows(setting))
    assert list(found) == [
        "one window, float32", "a trunk CT, float32, no mirroring", "a trunk CT, float32, eight flips",
        "the way in", "the way back of three classes", "labels of the demo weights, float32",
    ]  # fmt: skip
    told = [row.note for row in found.values()]
    assert "0 of 131072 labels differ" in told[0]  # 32 x 64 x 64
    assert told[1].endswith("0 of 13440 voxels differ")
    assert told[2].endswith("0 of 13440 voxels differ")
    assert float(told[3].split()[-1]) < 1e-6
    assert told[4].endswith(", 0 of 5760 voxels differ")
    assert told[5] == "0 of 13440 voxels differ"


def test_without_a_gpu_it_says_in_one_sentence_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(
        SystemExit, match=r"^this measures a CUDA GPU, and torch .* sees none: install a CUDA build of torch and the driver\.$"
    ):
        gpu.main()
