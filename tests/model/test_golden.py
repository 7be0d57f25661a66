"""The original's own numbers: what its code printed on the same weights and images. Skipped where they are not at hand."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from shared_data import shared

from uniseg_model.checkpoint import Checkpoint, check_state
from uniseg_model.engines.openvino_quietly import is_installed
from uniseg_model.io import read_volume
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import pick
from uniseg_model.official import import_official, infer_config, our_name
from uniseg_model.predictor import Options, Predictor, Session
from uniseg_model.preprocess import Recipe, prepare
from uniseg_model.progress import ignore_progress
from uniseg_model.resample import resample_image, restored_slabs
from uniseg_model.run import Run
from uniseg_model.sliding import Sweep, sweep_windows
from uniseg_model.windows import importance, window_starts

AS_ORIGINAL = Options(spacing_mm=(3.0, 1.5, 1.5), axes="stored", mirror=False, confidence=True)

CASES = {
    "ct_sm_3_15_15": (["example_ct_sm"], ("hu",), (3.0, 1.5, 1.5)),
    "mr_sm_3_15_15": (["example_mr_sm"], ("zscore",), (3.0, 1.5, 1.5)),
    "four_channel_111": ([f"input_4ch_000{i}" for i in range(4)], ("zscore",) * 4, (1.0, 1.0, 1.0)),
    "ctpet_3_15_15": (["input_petct_0000", "input_petct_0001"], ("hu", "zscore"), (3.0, 1.5, 1.5)),
    "aniso_ct_3_15_15": (["input_aniso_ct_0000"], ("hu",), (3.0, 1.5, 1.5)),
    "sagittal_mr_3_15_15": (["input_sagittal_mr_0000"], ("zscore",), (3.0, 1.5, 1.5)),
    "twocoarse_mr_3_15_15": (["input_twocoarse_mr_0000"], ("zscore",), (3.0, 1.5, 1.5)),
}


@cache
def narrow() -> Checkpoint:
    return import_official(shared("golden/checkpoint/model_final_checkpoint.model"))


@cache
def predictor(engine: str = "torch") -> Predictor:
    if engine == "openvino" and not is_installed():
        pytest.skip('OpenVINO is not installed: pip install "uniseg-app[cpu]"')
    return Predictor(narrow(), device="cpu", engine=engine)


def golden_image(name: str) -> Path:
    return shared(f"golden/preprocess/{name}.nii.gz")


def test_full_size_network_has_the_originals_tensors() -> None:
    facts = json.loads(shared("golden/state_dict_full.json").read_text())
    weights = {our_name(name): torch.empty(shape, device="meta") for name, shape in facts["shapes"].items()}
    assert infer_config(weights) == NetworkConfig()
    check_state(NetworkConfig(), weights)
    assert len(weights) == facts["num_entries"] == 115
    assert sum(tensor.numel() for tensor in weights.values()) == facts["num_parameters"] == 32_114_381


@pytest.mark.parametrize(("file", "places"), [("1ch", range(9)), ("2ch", [10]), ("4ch", [9])])
def test_logits_and_prompts_equal_the_originals(file: str, places: list[int]) -> None:
    wanted = np.load(shared(f"golden/network/forward_{file}.npz"))
    net = narrow().network()
    with torch.inference_mode():
        features = net.encode(torch.from_numpy(wanted["input"].astype(np.float32)))
        prompts = net.prompts(features)
        assert np.abs(features.bottleneck.numpy() - wanted["bottleneck"]).max() < 2e-4
        assert np.abs(prompts.numpy() - wanted["dynamic_prompt"]).max() < 2e-4
        for level, skip in enumerate(features.skips):
            np.testing.assert_allclose(
                skip.double().mean((0, 2, 3, 4)), wanted[f"encoder_stage{level}_channel_mean"], atol=1e-4
            )
        for place in places:
            logits = net.decode(features, pick(prompts, torch.tensor([place]))).numpy()
            whole, part = f"logits_task{place}", f"logits_task{place}_stride2"
            difference = logits - wanted[whole] if whole in wanted else logits[..., ::2, ::2, ::2] - wanted[part]
            assert np.abs(difference).max() < 2e-4


def test_windows_start_where_the_originals_do() -> None:
    for case in json.loads(shared("golden/sliding/steps.json").read_text()):
        starts = window_starts(tuple(case["image_after_padding"]), tuple(case["patch"]), case["step"])
        assert starts == list(product(*case["steps"]))


def test_importance_equals_the_originals() -> None:
    small = np.load(shared("golden/sliding/gaussian_32_64_64.npz"))["gaussian"]
    np.testing.assert_allclose(importance((32, 64, 64)), small, rtol=1e-5)
    lines, weights = np.load(shared("golden/sliding/gaussian_64_192_192_lines.npz")), importance((64, 192, 192))
    i = np.arange(192)
    np.testing.assert_allclose(weights[:, 96, 96], lines["z"], rtol=1e-5)
    np.testing.assert_allclose(weights[32, :, 96], lines["y"], rtol=1e-5)
    np.testing.assert_allclose(weights[32, 96, :], lines["x"], rtol=1e-5)
    np.testing.assert_allclose(weights[i // 3, i, i], lines["diagonal"], rtol=1e-5)
    np.testing.assert_allclose([weights[0, 0, 0], weights.min()], [lines["corner"], lines["minimum"]], rtol=1e-5)


@pytest.mark.parametrize(("volume", "engine"), [
    ("vol_45_100_130", "torch"), ("vol_21_50_70_padded", "torch"), ("vol_21_51_63_single_tile", "torch"), ("vol_21_50_70_padded", "openvino"),
])  # fmt: skip
def test_sliding_window_equals_the_originals(volume: str, engine: str) -> None:
    wanted = np.load(shared(f"golden/sliding/{volume}.npz"))
    for name in (name for name in wanted.files if name.startswith("softmax")):
        place = int(name.split("task")[1].split("_")[0])
        sweep = Sweep((place,), (4,), mirror="nomirror" not in name)
        [found], notes = sweep_windows(predictor(engine).engine, wanted["input"].astype(np.float32), sweep, ignore_progress)
        compared = found[:, ::2, ::2, ::2] if name.endswith("stride2") else found
        assert notes == []
        assert np.abs(compared - wanted[name] / 65535).max() < 1e-4
        labels = wanted[name.removesuffix("_stride2").replace("softmax_u16", "seg")]
        best = np.sort(found, axis=0)
        assert np.array_equal(found.argmax(0)[best[-1] - best[-2] > 1e-4], labels[best[-1] - best[-2] > 1e-4])


@pytest.mark.parametrize("case", CASES)
def test_prepared_array_equals_the_originals(case: str) -> None:
    files, intensity, spacing_mm = CASES[case]
    facts = json.loads(shared(f"golden/preprocess/{case}_properties.json").read_text())
    wanted = np.load(shared(f"golden/preprocess/{case}.npz"))
    volume = read_volume([golden_image(name) for name in files])
    prepared = prepare(volume, Recipe(spacing_mm, intensity, "stored"))
    assert list(volume.spacing_mm) == facts["original_spacing"]
    assert [[side.start, side.stop] for side in prepared.box] == facts["crop_bbox"]
    assert list(prepared.array.shape) == facts["_data"]["shape"]
    atol = 2e-5 if intensity == ("hu",) else 1e-4
    if "data_stride3" in wanted:
        np.testing.assert_allclose(prepared.array[:, ::3, ::3, ::3], wanted["data_stride3"], rtol=0, atol=atol)
        low, high = (0, 1) if intensity == ("hu",) else (facts["_data"]["min"], facts["_data"]["max"])
        np.testing.assert_allclose(
            prepared.array, wanted["data_u16"] / 65535 * (high - low) + low, rtol=0, atol=atol + 1e-5 * (high - low)
        )
    else:
        np.testing.assert_allclose(prepared.array, wanted["data"], rtol=0, atol=atol)


def test_resampling_equals_the_originals() -> None:
    wanted = np.load(shared("golden/preprocess/resample_unit.npz"))
    given = wanted["softmax"]
    for name in (name for name in wanted.files if name.startswith("order")):
        how, shape = name.split("_to_")
        new_shape = tuple(int(n) for n in shape.split("_"))
        apart = int(how[-1]) if "axis" in how else None
        if how.startswith("order1"):
            found = np.concatenate([values for _, values in restored_slabs(given, new_shape, apart)], axis=1)  # type: ignore[arg-type]
        else:
            found = np.stack([resample_image(channel, new_shape, apart) for channel in given])  # type: ignore[arg-type]
        np.testing.assert_allclose(found, wanted[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("golden", "image", "task", "mirror", "engine"),
    [
        ("ct_sm_task0_nomirror", "example_ct_sm", "liver", False, "torch"),
        ("ct_sm_task0_nomirror", "example_ct_sm", "liver", False, "openvino"),
        ("ct_sm_task0_mirror", "example_ct_sm", "liver", True, "torch"),
        ("mr_sm_task8_nomirror", "example_mr_sm", "prostate", False, "torch"),
        ("aniso_task4_nomirror", "input_aniso_ct_0000", "colon", False, "torch"),
    ],
)
def test_labels_equal_the_originals_from_file_to_file(
    golden: str, image: str, task: str, mirror: bool, engine: str, tmp_path: Path
) -> None:
    wanted = nib.load(shared(f"golden/e2e/{golden}.nii.gz"))
    margin = np.asarray(nib.load(shared(f"golden/e2e/{golden}_margin_x255.nii.gz")).dataobj).T
    options = Options(**{**vars(AS_ORIGINAL), "mirror": mirror})
    [found] = predictor(engine).open(read_volume(golden_image(image))).segment([task], options)
    found.save(tmp_path / "labels.nii.gz")
    written = nib.load(tmp_path / "labels.nii.gz")
    np.testing.assert_allclose(written.affine, wanted.affine, atol=1e-5)
    labels, answer = np.asarray(written.dataobj).T, np.asarray(wanted.dataobj).T
    assert np.array_equal(labels[margin > 1], answer[margin > 1])
    assert found.margin is not None
    assert np.abs(found.margin.astype(int) - margin).max() <= 1


def test_all_tasks_are_fused_as_the_original_does() -> None:
    wanted = np.asarray(nib.load(shared("golden/e2e/ct_sm_task-1_nomirror.nii.gz")).dataobj).T
    session = predictor().open(read_volume(golden_image("example_ct_sm")))
    keys = list(narrow().tasks)[:8]
    merged, _ = session.segment_as_original(keys, AS_ORIGINAL)
    tied = may_tie(session, keys)
    assert tied.mean() < 0.005
    assert np.array_equal(merged.labels[~tied], wanted[~tied])
    assert np.count_nonzero(merged.labels != wanted) <= 5  # not every tie falls the other way on another processor
    assert list(merged.structures) == list(range(1, 13))


def may_tie(session: Session, keys: list[str]) -> np.ndarray:
    """Voxels of the image that some voxel of the network's grid reaches whose two best classes are within 1e-5 of each other."""
    run = Run(session, [narrow().tasks[key] for key in keys], AS_ORIGINAL, ignore_progress)
    prepared = run.prepared(run.recipe(run.tasks[0]))
    ties = np.zeros(prepared.shape, np.float32)
    for probabilities in run.sweep(prepared, run.tasks, whole_head=True):
        second, best = np.partition(probabilities, -2, axis=0)[-2:]
        ties[best - second < 1e-5] = 1
    reached = np.zeros(prepared.full_shape, bool)
    for place, values in prepared.slabs(ties[None]):
        reached[place] = values[0] > 0
    return reached
