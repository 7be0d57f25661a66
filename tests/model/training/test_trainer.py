"""The loop: what it does to the weights, and that nothing is lost whatever happens to it."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from uniseg_model.checkpoint import load_checkpoint
from uniseg_model.errors import FileFormatError, OptionError, OutOfMemoryError, OutputError, TrainingError
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Cancelled, Progress, ignore_progress
from uniseg_model.tasks import TaskRegistry
from uniseg_model.training.optimisers import rate_at
from uniseg_model.training.plan import Plan
from uniseg_model.training.run import RunFolder, read_curve
from uniseg_model.training.start import TrainingRequest, run_training
from uniseg_model.training.trainer import Trainer, fast_form, fresh_network
from uniseg_model.training.validation import mean_score, overlaps
from uniseg_model.volume import Volume

Train = Callable[..., RunFolder]


@pytest.fixture
def train(plan: Plan, data: Path, tmp_path: Path) -> Train:
    def run(out: str = "run", *, chosen: Plan = plan, progress=ignore_progress, **options) -> RunFolder:  # type: ignore[no-untyped-def]
        request = TrainingRequest(data, tmp_path / out, chosen, device="cpu", cache=tmp_path / "cache", **options)
        return run_training(request, progress)

    return run


def stop_at(step: int) -> Callable[[Progress], None]:
    def hook(progress: Progress) -> None:
        if progress.stage == "train" and progress.done == step:
            raise Cancelled

    return hook


def weights_of(run: RunFolder) -> dict[str, torch.Tensor]:
    return torch.load(run.folder / "last.pt", weights_only=True)["weights"]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(run: RunFolder) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds_a_step"} for line in run.curve()]


def with_negatives(plan: Plan) -> Plan:
    """The two tasks of the tests share T2, so the prostate is given another modality in name."""
    tasks = [replace(plan.tasks["prostate"], modalities=("ADC",)), plan.tasks["brain"]]
    return replace(plan, tasks=TaskRegistry(tasks), negatives=0.3)


def test_losses_of_an_interrupted_run_are_reported_as_those_of_a_whole_one(train: Train, plan: Plan) -> None:
    chosen = replace(plan, iterations=60, epoch=60)
    whole = train("whole", chosen=chosen)
    with pytest.raises(Cancelled):
        train("parts", chosen=chosen, progress=stop_at(31))
    assert timeless(train("parts", chosen=chosen, resume=True)) == timeless(whole)
    assert [line["step"] for line in whole.curve()] == [50, 60, 60]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(train: Train, plan: Plan, optimiser: str) -> None:
    chosen = replace(with_negatives(plan), optimiser=optimiser)
    whole = train("whole", chosen=chosen)
    with pytest.raises(Cancelled):
        train("parts", chosen=chosen, progress=stop_at(5))
    assert torch.load(whole.folder.parent / "parts" / "last.pt", weights_only=True)["step"] == 5  # not the last multiple of 4
    parts = train("parts", chosen=chosen, resume=True)
    assert equal(weights_of(whole), weights_of(parts))
    assert timeless(whole) == timeless(parts)
    assert load_checkpoint(whole.final).sha256 == load_checkpoint(parts.final).sha256


def test_workers_change_nothing(train: Train) -> None:
    assert equal(weights_of(train("alone")), weights_of(train("helped", workers=2)))


def test_another_seed_is_another_training(train: Train, plan: Plan) -> None:
    assert not equal(weights_of(train("a")), weights_of(train("b", chosen=replace(plan, seed=1))))


KILLED = """
    import os, signal, sys, torch
    from pathlib import Path
    from uniseg_app.commands import make_plan
    from uniseg_model.training import run, start
    from uniseg_model.training.plan import Plan
    import json
    plan = Plan.from_dict(json.loads(Path(sys.argv[3]).read_text()))
    whole_save, calls = torch.save, []
    def killed_halfway(state, path):
        calls.append(path)
        if len(calls) == 2:
            whole_save(state, path)
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        whole_save(state, path)
    torch.save = killed_halfway
    start.run_training(start.TrainingRequest(Path(sys.argv[1]), Path(sys.argv[2]), plan, device="cpu"))
"""


def test_killed_while_a_checkpoint_is_written_the_one_before_is_whole(
    plan: Plan, data: Path, tmp_path: Path, train: Train
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_dict()))
    arguments = [sys.executable, "-c", textwrap.dedent(KILLED), data, tmp_path / "run", tmp_path / "plan.json"]
    killed = subprocess.run([str(a) for a in arguments], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 4
    resumed = train("run", resume=True)
    assert equal(weights_of(resumed), weights_of(train("whole")))
    assert not list(resumed.folder.glob(".*unfinished*"))  # the half-written one is gone


def test_a_full_disk_leaves_the_last_checkpoint(train: Train, tmp_path: Path) -> None:
    """No file may grow beyond a few kB from step 6 on, which is what a quota does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(progress: Progress) -> None:
        if progress.stage == "train" and progress.done == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(OutputError, match=r"cannot be written.* Choose a folder with space"):
            train(progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 4
    assert train(resume=True).final.exists()


def test_a_loss_that_is_no_number_names_the_windows_and_is_not_saved(plan: Plan, cases: dict, tmp_path: Path) -> None:
    spoilt = {key: [replace(case, image=np.full_like(case.image, np.nan)) for case in found] if key == "brain" else found
              for key, found in cases.items()}  # fmt: skip
    (tmp_path / "run").mkdir()
    trainer = Trainer(plan, RunFolder(tmp_path / "run"), fresh_network(plan), torch.device("cpu"))
    with pytest.raises(
        TrainingError, match=r"at step \d+ on brain the loss became nan .*: brain_\d from voxel .*, brain_\d from"
    ):
        trainer.train(spoilt, cases, ignore_progress)
    assert all(torch.isfinite(tensor).all() for tensor in trainer.state()["weights"].values())
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_gradient_that_is_no_number_never_reaches_the_weights(plan: Plan, cases: dict, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    net = fresh_network(plan)
    net.universal_prompt.register_hook(lambda gradient: gradient * math.nan)
    trainer = Trainer(plan, RunFolder(tmp_path / "run"), net, torch.device("cpu"))
    with pytest.raises(TrainingError, match="the gradient's norm nan"):
        trainer.train(cases, cases, ignore_progress)
    assert all(torch.isfinite(tensor).all() for tensor in trainer.state()["weights"].values())


def test_what_else_lies_in_a_folder_is_never_touched(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".gitlab-ci.yml").write_text("mine")
    with pytest.raises(OptionError, match=r"holds '\.gitlab-ci\.yml', which is of no run"):
        train()
    (tmp_path / "run" / ".gitlab-ci.yml").rename(tmp_path / "run" / ".hidden.last.pt")
    with pytest.raises(OptionError, match="which is of no run"):
        train(resume=True)
    assert (tmp_path / "run" / ".hidden.last.pt").read_text() == "mine"


def test_a_run_keeps_to_its_cases(plan: Plan, data: Path, tmp_path: Path) -> None:
    """Or what it was validated on would be learned from."""
    mine = Path(shutil.copytree(data, tmp_path / "mine"))
    run_training(TrainingRequest(mine, tmp_path / "run", plan, device="cpu"))
    split = mine / "brain" / "splits_final.json"
    [fold] = json.loads(split.read_text())
    moved = fold["train"].pop()
    split.write_text(json.dumps([{"train": [*fold["train"], *fold["val"]], "val": [moved]}]))
    with pytest.raises(OptionError, match=r"started with other cases: 'brain_\d' of brain is (new|gone) in train"):
        run_training(TrainingRequest(mine, tmp_path / "run", plan, device="cpu", resume=True))


def test_one_folder_is_trained_in_once_at_a_time(plan: Plan, tmp_path: Path) -> None:
    first, second = (RunFolder(tmp_path / "run").claimed(plan, resume=False) for _ in range(2))
    with first, pytest.raises(OptionError, match="another process trains in"), second:
        pytest.fail("both have it")
    with RunFolder(tmp_path / "run").claimed(plan, resume=False):
        pass  # free again


def test_a_signal_is_heard_between_two_steps(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in the middle of step 5; the weights that are saved are those of five whole steps."""
    learn, calls = Trainer._learn, []

    def interrupted(self: Trainer, *arguments) -> float:  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(self, *arguments)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train("parts")
    monkeypatch.setattr(Trainer, "_learn", learn)
    assert signal.getsignal(signal.SIGTERM) == before
    whole = train("whole")
    assert torch.load(whole.folder.parent / "parts" / "last.pt", weights_only=True)["step"] == 5
    assert equal(weights_of(train("parts", resume=True)), weights_of(whole))


def test_an_error_in_the_middle_of_a_step_saves_nothing_of_it(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Trainer, validator: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(Trainer, "_validate", fails)
    with pytest.raises(OutOfMemoryError, match=r"memory ran out in training: .* Close other programs and go on with --resume"):
        train()
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 4


def test_where_the_weights_started_travels_with_them(train: Train) -> None:
    first = train("first")
    history = load_checkpoint(train("second", weights=first.final).final).about.history
    assert history["started_from"]["sha256"] == load_checkpoint(first.final).sha256


def test_without_validation_there_is_no_best(train: Train, plan: Plan) -> None:
    run = train(chosen=replace(plan, validation_windows=0))
    assert run.final.exists()
    assert not run.best.exists()


@pytest.mark.parametrize(("scores", "best"), [((0.0, 0.0), 4), ((0.5, 0.4), 2)])
def test_of_equally_good_weights_the_later_are_the_best(
    train: Train, plan: Plan, monkeypatch: pytest.MonkeyPatch, scores: tuple[float, ...], best: int
) -> None:
    given = iter(scores)
    monkeypatch.setattr("uniseg_model.training.trainer.mean_score", lambda found: next(given))
    run = train(chosen=replace(plan, iterations=4, epoch=2))
    assert load_checkpoint(run.best).about.history["step"] == best


def test_a_run_is_not_started_over_another(train: Train, plan: Plan) -> None:
    train()
    with pytest.raises(OptionError, match=r"holds a run already.* --resume"):
        train()
    with pytest.raises(OptionError, match=r"planned with another rate: 0\.001, not 0\.5"):
        train(chosen=replace(plan, rate=0.5), resume=True)


def test_a_damaged_checkpoint_is_told(train: Train) -> None:
    run = train()
    (run.folder / "last.pt").write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match=r"last\.pt is damaged"):
        train(resume=True)


def test_checkpoints_are_kept_where_the_plan_says_so(train: Train, plan: Plan) -> None:
    """Also where none would be saved otherwise."""
    run = train(chosen=replace(plan, keep_every=5))
    assert sorted(path.name for path in run.folder.glob("step_*")) == ["step_0000005.pt", "step_0000010.pt"]


def test_the_curve_tells_losses_rates_and_validations(train: Train, plan: Plan) -> None:
    lines = train(chosen=replace(plan, iterations=60, epoch=30)).curve()
    reports = [line for line in lines if "loss" in line]
    validations = [line for line in lines if "dice" in line]
    assert [line["step"] for line in reports] == [50, 60]
    assert [line["step"] for line in validations] == [30, 60]
    assert set(validations[0]["dice"]["brain"]) == {"oedema", "non-enhancing tumour", "enhancing tumour"}
    assert json.loads(json.dumps(lines, allow_nan=False)) == lines
    assert reports[0]["rate"] == pytest.approx(1e-3 * (1 - 49 / 60) ** 0.9)


def test_a_line_that_a_crash_has_cut_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 50}\n{"step": 10')
    assert read_curve(tmp_path / "curve.jsonl") == [{"step": 50}]


def test_training_learns(train: Train, plan: Plan) -> None:
    lines = train(chosen=replace(plan, iterations=150, epoch=150, optimiser="adamw", rate=5e-3, augmentation="none")).curve()
    losses = [line["loss"]["prostate"] for line in lines if "loss" in line]
    assert losses[-1] < 0.6 * losses[0]


def test_the_trained_weights_can_be_used_at_once(train: Train, plan: Plan, data: Path) -> None:
    checkpoint = load_checkpoint(train().final, verify=True)
    assert (checkpoint.about.kind, list(checkpoint.tasks)) == ("trained", ["prostate", "brain"])
    volume = Volume(
        np.ones((1, 9, 20, 20), np.float32) + np.arange(20, dtype=np.float32), np.diag([6.0, 4, 4, 1])[[2, 1, 0, 3]]
    )
    [answer] = Predictor(checkpoint, device="cpu").open(volume).segment(["prostate"])
    assert answer.labels.shape == (9, 20, 20)


def test_weights_to_start_from_are_those_that_are_trained(train: Train, plan: Plan) -> None:
    first = train("first")
    slow = replace(plan, rate=1e-12, weight_decay=0.0)
    second = train("second", chosen=slow, weights=first.final)
    for name, tensor in weights_of(second).items():
        assert torch.allclose(tensor, weights_of(first)[name], atol=1e-6)


def test_group_norms_are_the_same_network(plan: Plan) -> None:
    net = fresh_network(plan).eval()
    x, tasks = torch.randn(2, 1, *plan.network.window), torch.tensor([0, 1])
    with torch.no_grad():
        before = net(x, tasks)
        assert torch.allclose(fast_form(net)(x, tasks), before, atol=2e-5)
    assert net.state_dict().keys() == UniSegNet(plan.network).state_dict().keys()


def test_the_rate_rises_and_falls_as_planned(plan: Plan) -> None:
    paper = Plan(plan.tasks)
    assert rate_at(paper, 0) == 0.01
    assert rate_at(paper, 275_000) == pytest.approx(0.01 * 0.5**0.9)
    assert rate_at(paper, paper.iterations - 1) == pytest.approx(0.01 * (1 / 550_000) ** 0.9)
    assert rate_at(replace(paper, warm_up=9), 4) == pytest.approx(0.005, rel=1e-4)


def test_dice_of_windows_by_hand() -> None:
    """Label 1: 2 voxels in common, 3 and 2 in all: 4/5. Label 2: nowhere."""
    counts = overlaps(torch.tensor([1, 1, 1, 0]), torch.tensor([1, 1, 0, 0]), 2)
    assert counts.tolist() == [[4, 5], [0, 0]]


def test_the_mean_is_over_tasks_and_leaves_out_what_is_not_there() -> None:
    assert mean_score({"a": {"x": 0.8, "y": math.nan}, "b": {"x": 0.2, "y": 0.4}, "c": {"x": math.nan}}) == pytest.approx(0.55)
    assert mean_score({"a": {"x": math.nan}}) == 0


def test_nothing_in_a_run_is_unpickled_unsafely(train: Train, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "hacked"),)

    run = train()
    parts = ("step", "best", "weights", "optimiser", "scaler", "tally")
    torch.save(dict.fromkeys(parts, Attack()), run.folder / "last.pt")
    with pytest.raises(FileFormatError, match="is damaged"):
        train(resume=True)
    assert not (tmp_path / "hacked").exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_are_one_with_the_double_batch(plan: Plan, data: Path, tmp_path: Path, train: Train) -> None:
    """Sums of floating-point numbers in another order: weights agree within 1e-5 after twelve steps of SGD."""
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_dict()))
    code = tmp_path / "one_of_two.py"
    code.write_text(
        textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from uniseg_model.training.plan import Plan
        from uniseg_model.training.start import TrainingRequest, run_training
        plan = Plan.from_dict(json.loads(Path(sys.argv[3]).read_text()))
        run_training(TrainingRequest(Path(sys.argv[1]), Path(sys.argv[2]), plan, device="cpu"))
    """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}",
               code, data, tmp_path / "two", tmp_path / "plan.json"]  # fmt: skip
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(a) for a in command], capture_output=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    one, two = weights_of(train("one")), weights_of(RunFolder(tmp_path / "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    assert not equal(one, fresh_network(plan).state_dict())
