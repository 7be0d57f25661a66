"""Adding a task: what each depth starts from, what it may change, and that a run is a run like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from uniseg_model.checkpoint import Checkpoint, load_checkpoint, untrained
from uniseg_model.dataset import write_case
from uniseg_model.errors import FileFormatError, OptionError, TaskError, WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import PackNet
from uniseg_model.packs.file import load_pack
from uniseg_model.phantom import make_phantom
from uniseg_model.progress import Cancelled, Progress, ignore_progress
from uniseg_model.tasks import Label, Task, builtin_tasks
from uniseg_model.training.estimate import cache_bytes, price_of, steps_within, training_memory_gb
from uniseg_model.training.plan import Plan
from uniseg_model.training.preview import read_preview
from uniseg_model.training.run import RunFolder
from uniseg_model.training.start import TrainingRequest, run_training, splits_of
from uniseg_model.training.tune import nearest_task, start_like, start_net, tuning_plan

NARROW = NetworkConfig(
    window=(8, 32, 32), features=(4, 6, 8), strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
GLAND = Task("gland", "Gland", ("T2",), (Label("gland", "#0072B2"),), (6.0, 4.0, 4.0), ("zscore",))
SMALL = {"iterations": 4, "epoch": 2, "validation_windows": 2, "save_every": 2, "augmentation": "none"}


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return untrained(NARROW)


@pytest.fixture(scope="module")
def base_file(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    base.save(path)
    return path


@pytest.fixture(scope="module")
def glands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glands")
    for seed in range(3):
        phantom = make_phantom("prostate", seed, spacing_mm=(6.0, 4.0, 4.0))
        write_case(folder, f"gland_{seed}", phantom.volume, phantom.labels["prostate"])
    return folder


def plan_of(base: Checkpoint, depth: str, **changes: object) -> Plan:
    return tuning_plan(base, GLAND, depth, changes={**SMALL, **changes})


def train(glands: Path, base_file: Path, out: Path, plan: Plan, progress=ignore_progress, **more) -> RunFolder:  # type: ignore[no-untyped-def]
    return run_training(TrainingRequest(glands, out, plan, base_file, "cpu", **more), progress)


@torch.no_grad()
def logits_of(net, place: int) -> torch.Tensor:  # type: ignore[no-untyped-def]
    window = torch.randn(1, 1, *NARROW.window, generator=torch.Generator().manual_seed(0))
    features = net.encode(window)
    return net.decode(features, net.prompts(features)[:, place : place + 1])


def test_a_pack_is_trained_resumed_and_leaves_the_base_alone(
    glands: Path, base: Checkpoint, base_file: Path, tmp_path: Path
) -> None:
    before = base_file.read_bytes()
    plan = plan_of(base, "pack")
    whole = train(glands, base_file, tmp_path / "whole", plan)

    def stop(progress: Progress) -> None:
        if progress.stage == "train" and progress.done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(glands, base_file, tmp_path / "parts", plan, stop)
    parts = train(glands, base_file, tmp_path / "parts", plan, resume=True)
    assert load_pack(whole.final).sha256 == load_pack(parts.final).sha256
    pack = load_pack(whole.best)
    assert (pack.facts.base, pack.facts.task, list(pack.facts.dice)) == (base.sha256, GLAND, ["gland"])
    assert base.with_packs([pack]).tasks["gland"] == GLAND
    assert base_file.read_bytes() == before
    state = torch.load(whole.folder / "last.pt", weights_only=True)
    assert not [name for name in state["weights"] if name.startswith("base")]  # a small checkpoint
    assert [line["step"] for line in whole.curve() if "mean_dice" in line] == [0, 2, 4]
    preview = read_preview(whole.preview)
    assert preview is not None
    assert (preview.step, preview.task, preview.image.shape, preview.truth.max()) == (4, "gland", (32, 32), 1)


def test_the_frozen_base_is_the_same_after_training(glands: Path, base: Checkpoint, tmp_path: Path, base_file: Path) -> None:
    from uniseg_model.training.cache import Cache
    from uniseg_model.training.trainer import Trainer

    plan = plan_of(base, "pack", weight_decay=0.1)
    net = start_net(plan, base)
    assert isinstance(net, PackNet)
    request = TrainingRequest(glands, tmp_path / "run", plan, base_file, "cpu")
    split = splits_of(request)["gland"]
    cases = Cache(tmp_path / "cache").prepare_all({GLAND: [*split.train, *split.validation]}, ignore_progress)
    origin = {"started_from": {"name": "base", "sha256": base.sha256, "licence": "CC0-1.0"}}
    trainer = Trainer(plan, RunFolder(tmp_path / "run"), net, torch.device("cpu"), origin=origin)
    with trainer._run.claimed(plan, resume=False):
        trainer._run.begin(plan, {})
        trainer.train(cases, cases, ignore_progress)
    after = net.base.state_dict()
    assert all(torch.equal(after[name], tensor.float()) for name, tensor in base.weights.items())


def test_full_starts_with_the_old_tasks_as_they_were(base: Checkpoint) -> None:
    net, old = start_net(plan_of(base, "full"), base), base.base_network()
    assert net.config.n_tasks == 12
    for place in range(11):
        torch.testing.assert_close(logits_of(net, place), logits_of(old, place), rtol=1e-4, atol=1e-4)
    start_like(net, 11, 8)
    torch.testing.assert_close(logits_of(net, 11), logits_of(old, 8), rtol=1e-4, atol=1e-4)
    pack = start_net(plan_of(base, "pack"), base)
    start_like(pack, 0, 8)
    torch.testing.assert_close(logits_of(pack, 0), logits_of(old, 8)[:, :2], rtol=1e-4, atol=1e-4)


def test_backbone_has_no_prompt_and_keeps_the_encoder(base: Checkpoint) -> None:
    net = start_net(plan_of(base, "backbone"), base)
    assert (net.config.n_tasks, net.config.n_classes) == (1, 2)
    features = net.encode(torch.randn(1, 1, *NARROW.window))
    assert net.prompts(features).abs().max() == 0
    assert torch.equal(net.state_dict()["encoder.2.0.conv.weight"], base.weights["encoder.2.0.conv.weight"])


@pytest.mark.parametrize("depth", ["full", "backbone"])
def test_other_depths_leave_a_checkpoint(depth: str, glands: Path, base: Checkpoint, base_file: Path, tmp_path: Path) -> None:
    run = train(glands, base_file, tmp_path / "run", plan_of(base, depth))
    found = load_checkpoint(run.final)
    assert list(found.tasks) == ([*builtin_tasks(), "gland"] if depth == "full" else ["gland"])
    if depth == "backbone":
        net = found.network()
        assert net.prompts(net.encode(torch.randn(1, 1, *NARROW.window))).abs().max() == 0


def test_replayed_tasks_are_trained_and_judged_too(glands: Path, base: Checkpoint, base_file: Path, tmp_path: Path) -> None:
    known = replace(builtin_tasks()["prostate"], spacing_mm=GLAND.spacing_mm)
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "prostate").symlink_to(glands)
    tasks = [known if task.key == "prostate" else task for task in base.tasks.values()]
    plan = tuning_plan(replace(base, tasks=type(base.tasks)(tasks)), GLAND, "full", replayed=["prostate"], changes=SMALL)
    assert list(plan.learned) == ["prostate", "gland"]
    run = train(glands, base_file, tmp_path / "run", plan, replay=tmp_path / "replay")
    assert [list(line["dice"]) for line in run.curve() if "dice" in line] == [["prostate", "gland"]] * 3


def test_the_nearest_task_is_the_one_whose_answer_fits(base: Checkpoint) -> None:
    """The truth is what the old network answers for one of two tasks, so that one is nearest."""
    from uniseg_model.training.batches import Batch

    two = replace(GLAND, modalities=("CT",), intensity=("hu",), labels=(GLAND.labels[0],))
    plan = tuning_plan(base, two, "pack", changes=SMALL)
    net, old = start_net(plan, base), base.base_network()
    images = torch.randn(2, 1, *NARROW.window, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = old.encode(images)
        spleen = base.place(base.tasks["spleen"])
        truth = old.decode(features, old.prompts(features)[:, spleen : spleen + 1])[:, :2].argmax(1).to(torch.uint8)
    batch = Batch(two, images, truth, ("a", "b"))
    assert nearest_task(net, plan, base, [batch], torch.device("cpu")) == "spleen"
    three = tuning_plan(base, replace(two, modalities=("T1", "T2"), intensity=("zscore",) * 2), "pack", changes=SMALL)
    assert nearest_task(net, three, base, [], torch.device("cpu")) is None


def test_a_pack_goes_on_from_a_pack(glands: Path, base: Checkpoint, base_file: Path, tmp_path: Path) -> None:
    first = train(glands, base_file, tmp_path / "first", plan_of(base, "pack"))
    again = train(glands, base_file, tmp_path / "again", plan_of(base, "pack", rate=1e-12), pack=first.final)
    found, start = load_pack(again.final).weights, load_pack(first.final).weights
    assert all(torch.allclose(found[name].float(), start[name].float(), atol=1e-3) for name in start)
    with pytest.raises(WeightsError, match=r"holds 'gland' at rank 4, the plan trains 'gland' at rank 3"):
        train(glands, base_file, tmp_path / "other", plan_of(base, "pack", rank=3), pack=first.final)


def test_wrong_requests_are_refused(base: Checkpoint, glands: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"depth of pack, full, backbone, not 'shallow'"):
        tuning_plan(base, GLAND, "shallow")
    with pytest.raises(TaskError, match=r"know a task 'prostate' already.*another key"):
        tuning_plan(base, replace(GLAND, key="prostate"), "pack")
    with pytest.raises(TaskError, match=r"know 'brain' with other structures"):
        tuning_plan(base, replace(GLAND, key="brain"), "full")
    with pytest.raises(WeightsError, match=r"has 3 channels, a pack can have 1, 2, 4"):
        tuning_plan(base, replace(GLAND, modalities=("A", "B", "C"), intensity=("zscore",) * 3), "pack")
    with pytest.raises(OptionError, match=r"replayed with the depth full, not with pack"):
        tuning_plan(base, GLAND, "pack", replayed=["liver"])
    with pytest.raises(OptionError, match=r"a plan has no field 'ratee'"):
        tuning_plan(base, GLAND, "pack", changes={"ratee": 1})
    with pytest.raises(OptionError, match=r"the depth pack starts from trained weights"):
        run_training(TrainingRequest(glands, tmp_path / "run", plan_of(base, "pack"), device="cpu"))


def test_the_price_is_what_two_steps_and_the_headers_say(
    base: Checkpoint, base_file: Path, glands: Path, tmp_path: Path
) -> None:
    plan = plan_of(base, "pack")
    splits = splits_of(TrainingRequest(glands, tmp_path / "run", plan, base_file, "cpu"))
    price = price_of(plan, start_net(plan, base), splits, torch.device("cpu"))
    assert (price.depth, price.steps) == ("pack", 4)
    assert price.seconds_a_step > 0
    voxels = int(np.prod(make_phantom("prostate", 0, spacing_mm=(6.0, 4.0, 4.0)).volume.shape))
    assert cache_bytes(plan, splits) == pytest.approx(3 * voxels * 5, rel=1e-3)  # float32 and a byte
    assert 0.5 < price.memory_gb < 0.6
    assert price.sentence().endswith("stay the same to the bit.")
    spare = {key: replace(split, unused=split.train) for key, split in splits.items()}
    told = price_of(plan, start_net(plan, base), spare, torch.device("cpu")).sentence()
    assert told.endswith("Cases that splits_final.json does not name, so that they are not used: 2.")
    assert training_memory_gb(plan) < training_memory_gb(plan_of(base, "full"))
    # 60 s at 0.1 s a step and, every 2 steps, 2 windows of 0.04 s: 60 / 0.14
    assert steps_within(1, plan, 0.1) == 428


def test_folds_are_stored_and_each_case_validates_once(glands: Path, base: Checkpoint, base_file: Path, tmp_path: Path) -> None:
    from uniseg_model.training.cases import find_cases, split_cases

    own = tmp_path / "own"
    own.mkdir()
    for part in ("imagesTr", "labelsTr"):
        (own / part).symlink_to(glands / part)
    cases = find_cases(own, GLAND)
    parts = [split_cases(own, cases, 20, fold=fold, folds=3) for fold in range(3)]
    assert sorted(case.name for split in parts for case in split.validation) == ["gland_0", "gland_1", "gland_2"]
    assert all(len(split.train) == 2 for split in parts)
    assert split_cases(own, cases, 20, fold=1) == parts[1]  # stored
    with pytest.raises(FileFormatError, match=r"holds 3 folds, asked for was fold 3 of 3"):
        split_cases(own, cases, 20, fold=3)
    with pytest.raises(FileFormatError, match=r"holds 3 folds, asked for was fold 0 of 2"):
        split_cases(own, cases, 20, folds=2)
    (own / "splits_final.json").unlink()
    with pytest.raises(FileFormatError, match=r"holds 3 cases: at least 4 are needed, one for each fold"):
        split_cases(own, cases, 20, folds=4)
