"""This image's prompts: what is stitched, where it lies in the patient, and that nothing is decoded for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from orientations import ORIENTATIONS, oriented_affine
from shared_data import shared
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.errors import ModalityError, OutOfMemoryError, TaskError, WeightsError
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.maps import PromptMaps
from uniseg_model.volume import Volume

CELL = (16, 32, 32)  # of the tiny network: windows of 32 x 64 x 64, prompts of 2 x 2 x 2
FOUR_WINDOWS = (40, 40, 28)  # voxels of 3 mm


@pytest.fixture
def model() -> Predictor:
    return Predictor(tiny_checkpoint(), device="cpu")


def with_prompts(model: Predictor, prompts: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.engine, "prompts", prompts)


def brightness(windows: torch.Tensor) -> torch.Tensor:
    """Every task's prompt is the mean of the image in each cell, its task's number added."""
    means = torch.nn.functional.avg_pool3d(windows[:, :1], CELL)
    return means + torch.arange(TINY.n_tasks).view(1, -1, 1, 1, 1)


def test_a_pass_through_network_gives_back_the_image_in_cells(
    model: Predictor, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows over 48 x 64 x 96 voxels start at multiples of a cell, so all of them say the same of each cell."""
    with_prompts(model, brightness, monkeypatch)
    volume = Volume(rng.uniform(1, 2, (1, 48, 64, 96)).astype(np.float32), np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]])
    session = model.open(volume)
    [maps] = session.prompt_maps(["spleen", "liver"], Options(spacing_mm=(1.0, 1.0, 1.0)))
    prepared = session.prepare(maps.recipe).array[0]
    cells = prepared.reshape(3, 16, 2, 32, 3, 32).mean((1, 3, 5))
    np.testing.assert_allclose(maps.of("liver"), cells, rtol=1e-5)
    np.testing.assert_allclose(maps.difference("spleen", "liver"), 6, rtol=1e-5)
    assert [task.key for task in maps.tasks] == ["spleen", "liver"]
    assert maps.array.dtype == np.float32


@pytest.mark.parametrize("code", ORIENTATIONS[::5])
@pytest.mark.parametrize("axes", ["RAS", "axial", "stored"])
def test_a_bright_spot_lies_where_it_is_in_the_patient(
    model: Predictor, code: str, axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Air all around is cropped away, the rest is padded to a window; voxels are anisotropic, axes turned and flipped."""
    with_prompts(model, brightness, monkeypatch)
    affine = oriented_affine(code, (4.0, 2.0, 3.0))
    array = np.zeros((1, 24, 50, 40), np.float32)
    array[0, 3:21, 6:47, 5:36] = -300
    array[0, 15:18, 12:16, 27:31] = 30000
    [maps] = model.open(Volume(array, affine)).prompt_maps(["liver"], Options(spacing_mm=(3.0, 1.5, 1.5), axes=axes, step=1))
    weights = maps.of("liver") - maps.of("liver").min()
    coarse_mm = maps.affine @ np.array([*np.unravel_index(weights.argmax(), weights.shape), 1.0])
    true_mm = affine @ np.array([16, 13.5, 28.5, 1.0])
    half_cell_mm = np.abs(maps.affine[:3, :3]).sum(axis=1) / 2
    assert (np.abs(coarse_mm - true_mm)[:3] <= half_cell_mm + 1e-6).all()


def test_the_coarse_grid_covers_the_padded_prepared_one(model: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 x 70 x 64 voxels of 1 mm at the origin: 6 are added on each side in z; cells are 16 x 32 x 32 mm, their first middle by hand."""
    with_prompts(model, brightness, monkeypatch)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    [maps] = model.open(Volume(np.ones((1, 20, 70, 64), np.float32), affine)).prompt_maps(
        ["liver"], Options(spacing_mm=(1, 1, 1))
    )
    assert maps.array.shape == (1, 2, 3, 2)  # 32, 70, 64 voxels
    assert maps.affine @ [0, 0, 0, 1] == pytest.approx([15.5, 15.5, 7.5 - 6, 1])
    assert maps.affine @ [1, 1, 1, 1] == pytest.approx([47.5, 47.5, 17.5, 1])


def test_the_affine_of_a_prepared_grid_is_the_inverse_of_place_of(model: Predictor, rng: np.random.Generator) -> None:
    for code in ORIENTATIONS[::7]:
        volume = Volume(rng.normal(size=(1, 12, 17, 21)).astype(np.float32), oriented_affine(code, (4.0, 2.0, 3.0)))
        session = model.open(volume)
        prepared = session.prepare(session.prompt_maps(["vertebrae"])[0].recipe)
        for voxel in [(0.0, 0.0, 0.0), (3.0, 16.0, 7.5)]:
            here = prepared.affine(volume.affine) @ np.array([*prepared.place_of(voxel), 1.0])
            assert here == pytest.approx(volume.affine @ np.array([*voxel, 1.0]))


def test_prompts_are_those_of_the_network_and_their_mean_over_windows(model: Predictor, rng: np.random.Generator) -> None:
    """A lone window: the volume is the window's own prompt, and so is the mean."""
    session = model.open(ct_volume(rng, (30, 30, 30), 3.0))
    [maps] = session.prompt_maps(["colon", "kidney"])
    window = np.pad(session.prepare(maps.recipe).array[0], [(1, 1), (2, 2), (2, 2)])
    net = tiny_checkpoint().network()
    with torch.inference_mode():
        wanted = net.prompts(net.encode(torch.from_numpy(window)[None, None]))[0, [4, 1]].numpy()
    np.testing.assert_allclose(maps.array, wanted, atol=1e-5)
    np.testing.assert_allclose(maps.window_mean, maps.array, atol=1e-6)
    assert maps.record.options["windows"] == 1


def test_tasks_share_one_encoding_of_each_window_and_nothing_is_decoded(
    model: Predictor, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, encoded = model.engine._net, []  # type: ignore[attr-defined]
    encode = net.encode
    monkeypatch.setattr(net, "encode", lambda x: encoded.append(len(x)) or encode(x))
    monkeypatch.setattr(net, "decode", lambda *_: pytest.fail("decoded"))
    session = model.open(ct_volume(rng, FOUR_WINDOWS))
    session.prompt_maps(["liver", "kidney", "spleen"])
    assert sum(encoded) == session.cost(["liver"]).windows == 4


def test_without_a_choice_those_tasks_come_that_suit_each_on_its_grid(model: Predictor, rng: np.random.Generator) -> None:
    found = model.open(ct_volume(rng)).prompt_maps()
    assert [[task.key for task in maps.tasks] for maps in found] == [
        ["liver", "kidney", "hepatic_vessel", "pancreas", "colon", "lung", "spleen"],
        ["vertebrae"],
    ]
    assert [maps.recipe.spacing_mm for maps in found] == [(3.0, 1.5, 1.5), (4.0, 2.0, 2.0)]


def test_mirroring_plays_no_part(model: Predictor, rng: np.random.Generator) -> None:
    session = model.open(ct_volume(rng, FOUR_WINDOWS))
    [plain], [mirrored] = (session.prompt_maps(["liver"], Options(mirror=mirror)) for mirror in (False, True))
    assert np.array_equal(plain.array, mirrored.array)
    assert mirrored.record.options["mirror"] is False


def test_batches_do_not_change_the_maps(model: Predictor, rng: np.random.Generator) -> None:
    session = model.open(ct_volume(rng, FOUR_WINDOWS))
    [one], [three] = (session.prompt_maps(["liver"], Options(batch=batch)) for batch in (1, 3))
    np.testing.assert_allclose(one.array, three.array, atol=1e-4)


def test_wrong_channels_and_unknown_tasks_are_refused(model: Predictor, rng: np.random.Generator) -> None:
    session = model.open(ct_volume(rng))
    with pytest.raises(ModalityError, match=r"'Brain tumour' needs 4 channels"):
        session.prompt_maps(["brain"])
    with pytest.raises(TaskError, match=r"no task 'splen'\. Did you mean 'spleen'\?"):
        session.prompt_maps(["splen"])
    [maps] = session.prompt_maps(["liver"])
    with pytest.raises(TaskError, match="no prompt of task 'colon' here, only of liver"):
        maps.of("colon")


def test_cancel_ends_within_one_batch(model: Predictor, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    prompts = model.engine.prompts
    with_prompts(model, lambda windows: seen.append(len(windows)) or prompts(windows), monkeypatch)

    def stop(progress: Progress) -> None:
        if progress.stage == "prompts" and progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.open(ct_volume(rng, FOUR_WINDOWS)).prompt_maps(["liver"], Options(batch=1), stop)
    assert seen == [1]


def test_progress_rises_to_the_number_of_windows(model: Predictor, rng: np.random.Generator) -> None:
    told: list[Progress] = []
    session = model.open(ct_volume(rng, FOUR_WINDOWS))
    session.prompt_maps(["liver"], Options(batch=1), told.append)
    n = session.cost(["liver"]).windows
    assert [p.done for p in told if p.stage == "prompts"] == [*range(n), n]


def test_out_of_memory_takes_fewer_windows_and_then_is_named(
    model: Predictor, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, most = model.engine.prompts, [2]

    def small(windows: torch.Tensor) -> torch.Tensor:
        if len(windows) > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prompts(windows)

    session = model.open(ct_volume(rng, FOUR_WINDOWS))
    [usual] = session.prompt_maps(["liver"], Options(batch=2))
    with_prompts(model, small, monkeypatch)
    [found] = session.prompt_maps(["liver"], Options(batch=4))
    assert "memory ran out with 4 windows at once; went on with 2" in found.record.notes
    np.testing.assert_allclose(found.array, usual.array, atol=1e-4)
    most[0] = 0
    with pytest.raises(OutOfMemoryError, match=r"one window at a time: CUDA out of memory.*--device cpu"):
        session.prompt_maps(["liver"])


def test_a_map_is_saved_on_its_grid(model: Predictor, rng: np.random.Generator, tmp_path: Path) -> None:
    [maps] = model.open(ct_volume(rng)).prompt_maps(["liver", "colon"])
    maps.save(tmp_path / "colon.nii.gz", "colon")
    written = nib.load(tmp_path / "colon.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, maps.of("colon"))
    np.testing.assert_allclose(written.affine, maps.affine[:, [2, 1, 0, 3]], atol=1e-4)
    assert written.get_data_dtype() == np.float32


def test_learned_prompts_are_the_channels_of_the_weights() -> None:
    checkpoint = tiny_checkpoint()
    channels = checkpoint.weights["universal_prompt"][0].numpy()
    assert np.array_equal(learned_prompts(checkpoint).array, channels)
    some = learned_prompts(checkpoint, ["spleen", "liver"])
    assert np.array_equal(some.array, channels[[6, 0]])
    found = some.statistics()["liver"]
    wanted = [f(channels[0]) for f in (np.mean, np.std, np.min, np.max, np.linalg.norm)]
    assert [found.mean, found.std, found.min, found.max, found.norm] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(TaskError, match="Did you mean 'spleen'"):
        learned_prompts(checkpoint, ["splen"])


def test_weights_without_prompts_are_refused() -> None:
    import dataclasses

    whole = tiny_checkpoint()
    backbone = dataclasses.replace(whole, weights={k: v for k, v in whole.weights.items() if k != "universal_prompt"})
    with pytest.raises(WeightsError, match="'untrained' hold no universal prompt"):
        learned_prompts(backbone)


@pytest.mark.parametrize("file", ["1ch", "2ch", "4ch"])
def test_prompts_of_the_authors_checkpoint_equal_theirs(file: str) -> None:
    from uniseg_model.official import import_official

    wanted = np.load(shared(f"golden/network/forward_{file}.npz"))
    checkpoint = import_official(shared("golden/checkpoint/model_final_checkpoint.model"))
    found = TorchEngine(checkpoint.network(), "cpu").prompts(torch.from_numpy(wanted["input"].astype(np.float32)))
    assert np.abs(found.numpy() - wanted["dynamic_prompt"]).max() < 2e-4


def test_maps_and_learned_prompts_are_described_alike(model: Predictor, rng: np.random.Generator) -> None:
    [maps] = model.open(ct_volume(rng)).prompt_maps(["liver", "colon", "spleen"])
    facts, learned = maps.to_dict(), learned_prompts(model.checkpoint).to_dict()
    assert isinstance(maps, PromptMaps)
    assert set(learned) < set(facts)
    assert facts["similarity"]["cosine"]["matrix"] == maps.similarity("cosine").tolist()
    assert sorted(facts["similarity"]["correlation"]["order"]) == [0, 1, 2]
