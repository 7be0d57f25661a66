"""Predictor and session: several tasks in one pass, records, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, ct_volume, tiny_checkpoint

import uniseg_model
from uniseg_model.engines.torch_engine import TorchEngine, find_device
from uniseg_model.errors import DeviceError, ModalityError, OptionError, TaskError, WeightsError
from uniseg_model.evaluation import dice
from uniseg_model.predictor import Options, Predictor, load_model
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import builtin_tasks
from uniseg_model.volume import Volume


def volume_for(key: str, rng: np.random.Generator) -> Volume:
    n = len(builtin_tasks()[key].modalities)
    return Volume(
        np.abs(rng.normal(100, 40, (n, 12, 20, 16))).astype(np.float32), np.diag([6.0, 3.0, 3.0, 1.0])[:, [2, 1, 0, 3]]
    )


@pytest.mark.parametrize("key", list(builtin_tasks()))
def test_every_task_gives_its_own_labels_on_the_input_grid(model: Predictor, key: str, rng: np.random.Generator) -> None:
    volume = volume_for(key, rng)
    [found] = model.open(volume).segment([key])
    assert found.labels.shape == volume.shape
    assert found.labels.dtype == np.uint8
    assert found.labels.max() <= len(builtin_tasks()[key].labels)
    assert set(found.volumes_ml()) == {label.name for label in builtin_tasks()[key].labels}


def test_previews_grow_into_the_answer(model: Predictor, ct: Volume) -> None:
    """The last look of each task is its labels, on the image's own grid; earlier ones have as little or less."""
    previews: dict[str, list[np.ndarray]] = {"liver": [], "spleen": []}

    def look(progress: Progress) -> None:
        for key, labels in progress.preview().items() if progress.preview else ():
            previews[key].append(labels.copy())

    focus = tuple(side - 1.0 for side in ct.shape)
    found = model.open(ct).segment(["liver", "spleen"], Options(focus=focus), look)
    for answer in found:
        assert {labels.shape for labels in previews[answer.task.key]} == {ct.shape}
        np.testing.assert_array_equal(previews[answer.task.key][-1], answer.labels)
        assert not previews[answer.task.key][0].any()


def test_the_order_of_windows_changes_no_label(model: Predictor, ct: Volume) -> None:
    [usual], [focused] = (model.open(ct).segment(["liver"], Options(focus=focus)) for focus in (None, (1.0, 2.0, 3.0)))
    np.testing.assert_array_equal(usual.labels, focused.labels)


def test_several_tasks_share_one_encoding(model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    net, encoded = model.engine._net, []  # type: ignore[attr-defined]
    encode = net.encode
    monkeypatch.setattr(net, "encode", lambda x: encoded.append(len(x)) or encode(x))
    model.open(ct).segment(["liver"])
    alone = sum(encoded)
    encoded.clear()
    model.open(ct).segment(["liver", "kidney", "spleen", "colon"])
    assert sum(encoded) == alone


def test_tasks_together_answer_as_each_alone(model: Predictor, ct: Volume) -> None:
    keys = ["spleen", "vertebrae", "liver"]
    together = model.open(ct).segment(keys)
    assert [s.task.key for s in together] == keys
    for segmentation in together:
        [alone] = model.open(ct).segment([segmentation.task.key])
        assert np.array_equal(alone.labels, segmentation.labels)


def test_many_tasks_take_several_passes_when_sums_would_not_fit(
    model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.open(ct).segment(["liver", "kidney", "colon"])
    monkeypatch.setattr("uniseg_model.run._SUMS_BYTES", 1)
    split = model.open(ct).segment(["liver", "kidney", "colon"])
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(whole, split, strict=True))


def test_mirroring_is_the_mean_over_eight_flips(ct: Volume) -> None:
    engine = TorchEngine(tiny_checkpoint().network(), "cpu")
    x = torch.randn(1, 1, *TINY.window, generator=torch.Generator().manual_seed(0))
    [found] = engine.run(x, [2], mirror=True, tick=lambda share: None)
    with torch.inference_mode():
        slow = torch.zeros(1, 4, *TINY.window)
        for axes in [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)]:
            flipped = engine._net(x.flip(axes), torch.tensor([2])).softmax(1)
            slow += flipped.flip(axes) / 8
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-5)


def test_agreement_is_the_dice_with_and_without_mirroring(model: Predictor, ct: Volume) -> None:
    session = model.open(ct)
    plain, mirrored = (session.segment(["liver"], Options(mirror=mirror))[0] for mirror in (False, True))
    wanted = {label.name: dice(plain.labels == i, mirrored.labels == i) for i, label in enumerate(plain.task.labels, start=1)}
    for mirror, same in ((False, plain), (True, mirrored)):
        [answer] = session.segment(["liver"], Options(mirror=mirror, agreement=True))
        assert answer.agreement == pytest.approx(wanted, nan_ok=True)
        np.testing.assert_array_equal(answer.labels, same.labels)
    assert set(answer.to_dict()["agreement_under_mirroring"]) == {"liver", "liver tumour"}
    assert plain.agreement is None


def test_prepared_arrays_are_kept_for_the_next_task(model: Predictor, ct: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    session = model.open(ct)
    session.segment(["liver"])
    monkeypatch.setattr("uniseg_model.predictor.prepare", lambda *_: pytest.fail("prepared again"))
    session.segment(["kidney"])


def test_record_says_what_was_done(model: Predictor, ct: Volume) -> None:
    [found] = model.open(ct).segment(["vertebrae"], Options(spacing_mm=(3.0, 1.5, 1.5), step=0.7))
    record = json.loads(json.dumps(found.record.to_dict()))
    assert record["weights"]["sha256"] == model.checkpoint.sha256
    assert record["weights"]["kind"] == "untrained"
    assert record["tasks"] == [{"key": "vertebrae", "spacing_mm": [3.0, 1.5, 1.5], "intensity": ["hu"], "axes": "RAS"}]
    assert record["options"]["mirror"] is False
    assert record["options"]["step"] == 0.7
    assert record["engine"] == {"name": "torch", "device": "cpu", "precision": "float32", "threads": torch.get_num_threads()}
    assert set(record["seconds"]) == {"prepare", "predict", "restore"}
    assert record["peak_memory_gb"]["process"] > 0
    assert record["versions"]["torch"] == torch.__version__
    assert any("vertebrae was trained at (4.0, 2.0, 2.0) mm" in note for note in record["notes"])


def test_image_that_is_not_in_hounsfield_units_is_noted(model: Predictor, rng: np.random.Generator) -> None:
    unit = Volume(rng.random((1, 12, 12, 12), np.float32), np.diag([3.0, 3.0, 3.0, 1.0])[:, [2, 1, 0, 3]])
    [found] = model.open(unit).segment(["liver"])
    assert any("do not look like Hounsfield units" in note for note in found.record.notes)


def test_hounsfield_units_under_an_mr_task_are_noted(model: Predictor, ct: Volume) -> None:
    [found] = model.open(ct).segment(["prostate"])
    assert any("look like Hounsfield units" in note for note in found.record.notes)


def test_nan_voxels_count_as_zero_and_are_noted(model: Predictor, ct: Volume) -> None:
    spoiled, zeroed = ct.array.copy(), ct.array.copy()
    spoiled[0, 5, 5, 5], zeroed[0, 5, 5, 5] = np.nan, 0
    [with_nan] = model.open(Volume(spoiled, ct.affine)).segment(["liver"])
    [with_zero] = model.open(Volume(zeroed, ct.affine)).segment(["liver"])
    assert np.array_equal(with_nan.labels, with_zero.labels)
    assert "1 of 13440 voxels are NaN and are taken as 0" in with_nan.record.notes


def test_brain_needs_four_channels(model: Predictor, ct: Volume) -> None:
    with pytest.raises(ModalityError, match=r"'Brain tumour' needs 4 channels \(T1, T1ce, T2, FLAIR\), the image has 1"):
        model.open(ct).segment(["liver", "brain"])


def test_unknown_task_names_its_nearest_neighbour(model: Predictor, ct: Volume) -> None:
    with pytest.raises(TaskError, match=r"no task 'splen'\. Did you mean 'spleen'\?"):
        model.open(ct).segment(["splen"])


def test_no_task_at_all_is_refused(model: Predictor, ct: Volume) -> None:
    with pytest.raises(OptionError, match="no task was asked for"):
        model.open(ct).segment([])


def test_cancelled_run_ends_and_the_session_goes_on(model: Predictor, ct: Volume) -> None:
    session = model.open(ct)

    def stop(progress: Progress) -> None:
        if progress.stage == "predict" and progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.segment(["liver"], progress=stop)
    assert len(session.segment(["liver"])) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "step must be above 0"),
        ({"spacing_mm": (3.0, 0.0, 1.5)}, r"three numbers between 0\.1 and 100 mm"),
        ({"batch": 0}, "at least 1 window"),
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**options)  # type: ignore[arg-type]


def test_axes_rubbish_is_refused(model: Predictor, ct: Volume) -> None:
    with pytest.raises(OptionError, match="axes must be 'axial', 'stored' or three letters"):
        model.open(ct).segment(["liver"], Options(axes="RAR"))


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps", ""])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="the device must be auto, cpu, cuda or cuda:N"):
        find_device(name)


def test_missing_gpu_is_told_with_the_way_out() -> None:
    with pytest.raises(DeviceError, match=r"'cuda:9' is not here.*--device cpu"):
        find_device("cuda:9")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(OptionError, match="precision must be auto, float32"):
        Predictor(tiny_checkpoint(), device="cpu", precision="int8")


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(OptionError, match="float16 needs a GPU"):
        Predictor(tiny_checkpoint(), device="cpu", precision="float16")


def test_original_merge_refuses_tasks_on_different_grids(model: Predictor, ct: Volume) -> None:
    with pytest.raises(OptionError, match=r"needs one grid for all tasks.*--spacing 3,1\.5,1\.5"):
        model.open(ct).segment_as_original(["liver", "vertebrae"])


def test_original_merge_equals_the_slow_obvious_version(model: Predictor, ct: Volume) -> None:
    """Best of all four classes on the network's grid, later tasks overwrite, one-hot resampled linearly."""
    from skimage.transform import resize

    from uniseg_model.preprocess import Recipe
    from uniseg_model.progress import ignore_progress
    from uniseg_model.sliding import Sweep, sweep_windows

    options = Options(spacing_mm=(3.0, 1.5, 1.5))
    keys = ["liver", "kidney", "colon"]
    merged, record = model.open(ct).segment_as_original(keys, options)
    prepared = model.open(ct).prepare(Recipe((3.0, 1.5, 1.5), ("hu",), "stored"))
    fused = np.zeros(prepared.shape, int)
    for key, values in {"liver": {1: 1, 2: 2}, "kidney": {1: 3, 2: 4}, "colon": {1: 9}}.items():
        [probabilities], _ = sweep_windows(
            model.engine, prepared.array, Sweep((list(builtin_tasks()).index(key),), (4,)), ignore_progress
        )
        for own, value in values.items():
            fused[probabilities.argmax(0) == own] = value
    one_hot = [resize((fused == v).astype(float), ct.shape, 1, mode="edge", anti_aliasing=False) for v in range(10)]
    assert np.mean(merged.labels == np.argmax(one_hot, axis=0)) > 0.9999  # ties between equal halves aside
    assert record.options["axes"] == "stored"


def test_public_names_come_when_asked_for() -> None:
    assert uniseg_model.Volume is Volume
    assert uniseg_model.Segmentation is Segmentation
    assert all(getattr(uniseg_model, name) is not None for name in uniseg_model.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        uniseg_model.nothing  # noqa: B018


def test_notebook_example_of_the_readme(tmp_path: Path, rng: np.random.Generator) -> None:
    from uniseg_model.io import write_image

    tiny_checkpoint().save(tmp_path / "w.safetensors")
    ct = ct_volume(rng)
    write_image(tmp_path / "ct.nii.gz", ct.array[0], ct)
    model = load_model(tmp_path / "w.safetensors", device="auto")
    liver, spleen = model.open(uniseg_model.read_volume(tmp_path / "ct.nii.gz")).segment(["liver", "spleen"])
    liver.save(tmp_path / "liver.nii.gz")
    assert set(spleen.volumes_ml()) == {"spleen"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "liver.json", "liver.nii.gz", "w.safetensors"]


def test_without_embedded_weights_the_error_names_the_way_out() -> None:
    from uniseg_model.predictor import embedded_weights

    if embedded_weights().exists():
        pytest.skip("demo weights are installed")
    with pytest.raises(WeightsError, match="uniseg weights import"):
        load_model(None)


def test_one_key_alone_is_a_request_and_each_task_comes_once(model: Predictor, ct: Volume) -> None:
    assert [s.task.key for s in model.open(ct).segment("spleen")] == ["spleen"]
    assert [s.task.key for s in model.open(ct).segment(["spleen", "liver", "spleen"])] == ["spleen", "liver"]


def test_task_with_other_structures_than_the_weights_know_is_refused(model: Predictor, ct: Volume) -> None:
    import dataclasses

    stranger = dataclasses.replace(builtin_tasks()["spleen"], labels=builtin_tasks()["liver"].labels)
    with pytest.raises(TaskError, match="know 'spleen' with other structures"):
        model.open(ct).segment([stranger])


def test_kidney_caution_goes_with_the_authors_weights_only(model: Predictor, ct: Volume) -> None:
    import dataclasses

    official = dataclasses.replace(model.checkpoint, about=dataclasses.replace(model.checkpoint.about, kind="official"))
    [with_caution] = Predictor(official, device="cpu").open(ct).segment(["kidney"])
    [without] = model.open(ct).segment(["kidney"])
    assert any("--axes IPL" in note for note in with_caution.record.notes)
    assert not any("--axes IPL" in note for note in without.record.notes)


def test_pet_alone_is_noted_under_an_mr_task(model: Predictor, rng: np.random.Generator) -> None:
    from uniseg_model.volume import Source

    pet = Volume(np.abs(rng.normal(2, 1, (1, 8, 12, 12))).astype(np.float32), np.eye(4), Source(modality="PT"))
    [found] = model.open(pet).segment(["prostate"])
    assert any("the file says it is PT" in note for note in found.record.notes)


def test_spacing_may_be_given_as_a_list_of_three() -> None:
    assert Options(spacing_mm=[3, 1.5, 1.5]).spacing_mm == (3, 1.5, 1.5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="three numbers"):
        Options(spacing_mm=(1.0, 1.0))  # type: ignore[arg-type]


def test_other_axes_are_noted_only_where_they_turn_this_image(model: Predictor, ct: Volume) -> None:
    [usual] = model.open(ct).segment(["spleen"], Options(axes="stored"))
    sagittal = Volume(ct.array.transpose(0, 3, 1, 2), ct.affine[:, [2, 0, 1, 3]])
    [turned] = model.open(sagittal).segment(["spleen"], Options(axes="stored"))
    assert not any("axes" in note for note in usual.record.notes)
    assert "spleen is run with axes 'stored' in place of 'axial'" in turned.record.notes


def test_how_a_file_is_stored_does_not_change_the_labels(model: Predictor, ct: Volume) -> None:
    """The same scan in sagittal order gives the same labels, in its own order."""
    [axial] = model.open(ct).segment(["liver"])
    sagittal = Volume(ct.array.transpose(0, 3, 1, 2), ct.affine[:, [2, 0, 1, 3]])
    [turned] = model.open(sagittal).segment(["liver"])
    assert np.array_equal(turned.labels, axial.labels.transpose(2, 0, 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_gpu_agrees_with_the_cpu(model: Predictor, ct: Volume, precision: str, mirror: bool) -> None:
    on_gpu = Predictor(tiny_checkpoint(), device="cuda", precision=precision)
    options = Options(mirror=mirror)
    [there], [here] = (one.open(ct).segment(["liver"], options) for one in (on_gpu, model))
    assert np.mean(there.labels == here.labels) > (0.999 if precision == "float32" else 0.95)
    assert there.record.peak_memory_gb["gpu"] > 0
