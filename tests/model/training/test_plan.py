"""The plan: the paper's numbers, what a file may change, and what it may not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from uniseg_model.errors import MissingPackageError, OptionError, TaskError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import builtin_tasks
from uniseg_model.training.estimate import training_memory_gb
from uniseg_model.training.plan import Plan, read_plan
from uniseg_model.training.tensorboard import TensorBoard, flat
from uniseg_model.training.trainer import fresh_network

ASSETS = Path(__file__).parents[3] / "assets"


def test_the_defaults_are_the_papers() -> None:
    plan = Plan(builtin_tasks())
    assert plan.network == NetworkConfig()
    assert (plan.iterations, plan.epoch, plan.batch) == (1000 * 550, 11 * 50, 2)
    assert (plan.optimiser, plan.rate, plan.weight_decay, plan.clip) == ("sgd", 0.01, 3e-5, 12)
    assert (plan.augmentation, plan.negatives, plan.prompt_scale, dict(plan.task_weights)) == ("full", 0, 1, {})
    assert round(plan.batch * (1 - plan.foreground)) == 1  # of two windows the second holds a structure


def test_a_plan_survives_json(plan: Plan) -> None:
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).to_dict() == plan.to_dict()


def test_the_network_follows_the_tasks() -> None:
    known = builtin_tasks()
    plan = Plan(type(known)([known["whole_body"]]), NetworkConfig(stems=()))
    assert (plan.network.n_tasks, plan.network.stems) == (1, (2,))


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'rate = 0.1\n[task_weights]\nliver = 2\n[network]\nwindow = [64, 64, 64]\n[tasks]\nliver = { axes = "RAS" }\n'
    )
    plan = read_plan(tmp_path / "p.toml", builtin_tasks())
    assert (plan.rate, plan.network.window, plan.tasks["liver"].axes) == (0.1, (64, 64, 64), "RAS")
    assert plan.tasks["spleen"] == builtin_tasks()["spleen"]
    assert plan.task_weights == {"liver": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rates = 1", r"a plan has no field 'rates'; its fields are augmentation, batch"),
        ("rate = 0", "rate must be above 0, it is 0"),
        ("batch = -2", "batch must be above 0, it is -2"),
        ("seed = -1", "seed must not be negative"),
        ("foreground = 1.5", r"foreground is a share between 0 and 1, it is 1\.5"),
        ('optimiser = "adam"', "the optimiser must be one of sgd, adamw, not 'adam'"),
        ('augmentation = "some"', "the augmentation must be one of full, light, none"),
        ("[task_weights]\nliver = 0", "weights of tasks are above 0"),
        ("iterations = 1e3", r"iterations in a plan is a whole number, not 1000\.0"),
        ("rate = inf", "rate in a plan is a finite number, not inf"),
        ('precision = "float16"', "the precision of a training must be one of auto, float32, bfloat16, not 'float16'"),
        ("compile = 1", "compile in a plan is true or false, not 1"),
        ("rate = true", "rate in a plan is a finite number, not True"),
        ("task_weights = 3", "task_weights is a table of numbers, not 3"),
        ("tasks = 3", "'tasks' in the plan must be a table, it is 3"),
        ("[tasks]\nliver = 3", "'liver' in the plan must be a table, it is 3"),
        ("epoch = 10", "an epoch of 10 steps has none for 'liver' among 11 tasks"),
        ("nonsense", r"the plan .*p\.toml cannot be read"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(OptionError, match=said):
        read_plan(tmp_path / "p.toml", builtin_tasks())


def test_single_lines_come_after_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("rate = 0.1\nbatch = 4\n")
    plan = read_plan(tmp_path / "p.toml", builtin_tasks(), ["rate=0.2", "task_weights={liver=3}", "compile=true"])
    assert (plan.rate, plan.batch, plan.task_weights, plan.compile) == (0.2, 4, {"liver": 3}, True)
    with pytest.raises(OptionError, match=r"'rate' is no setting of a plan: .* Write it as in TOML"):
        read_plan(None, builtin_tasks(), ["rate"])


@pytest.mark.parametrize("text", ["[tasks]\nlivr = {}", "[task_weights]\nlivr = 2"])
def test_an_unknown_task_names_its_nearest_neighbour(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(TaskError, match="Did you mean 'liver'"):
        read_plan(tmp_path / "p.toml", builtin_tasks())


def test_negatives_need_tasks_without_a_common_modality() -> None:
    known = builtin_tasks()
    with pytest.raises(OptionError, match=r"negatives of 0\.1 need tasks without a common modality"):
        Plan(type(known)([known["prostate"], known["brain"]]), negatives=0.1)


def test_prompts_start_as_loud_as_planned(plan: Plan) -> None:
    quiet, loud = (fresh_network(replace(plan, prompt_scale=scale)).state_dict() for scale in (1.0, 10.0))
    changed = [name for name in quiet if not torch.equal(quiet[name], loud[name])]
    assert changed == ["fusion.2.norm.weight"]
    assert torch.equal(loud[changed[0]], torch.full((2,), 10.0))


def test_the_memory_of_the_papers_training_is_what_its_authors_report() -> None:
    """About 10 GB on a GPU, which holds torch's own working memory, too."""
    plan = Plan(builtin_tasks())
    half, full = training_memory_gb(plan, half_precision=True), training_memory_gb(plan)
    assert 5 < half < 10
    assert half < full < 2 * half


def test_twice_the_batch_is_twice_the_maps(plan: Plan) -> None:
    one, two, four = (training_memory_gb(replace(plan, batch=n)) for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=0.02)


def test_curves_are_flat_in_tensorboard() -> None:
    assert flat({"step": 3, "rate": 1, "dice": {"liver": {"liver": 0.5}}}) == [("rate", 1.0), ("dice/liver/liver", 0.5)]


def test_a_missing_tensorboard_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"TensorBoard is not installed.* pip install tensorboard"):
        TensorBoard(tmp_path)


def test_the_demo_plan_can_be_read() -> None:
    plan = read_plan(ASSETS / "demo" / "plan.toml", builtin_tasks())
    assert list(plan.tasks) == list(builtin_tasks())
