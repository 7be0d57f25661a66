"""The benchmark of the paper's claims: its rival networks, its new tasks, its numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.claims.data import downstream_group, trunk_with, upstream_groups
from benchmarks.claims.figure import draw
from benchmarks.claims.report import write_markdown
from benchmarks.claims.results import Spread, downstream, means_over_tasks, multitask, read_results
from benchmarks.claims.rivals import NETWORKS, LatePromptNet, PlainUNet, fresh, n_parameters
from benchmarks.claims.run import main
from benchmarks.claims.runs import Laboratory, drawn
from benchmarks.claims.settings import NETWORK, ROUND, Job, Settings, downstream_tasks, jobs, settle, store, upstream_tasks
from benchmarks.claims.timing import Estimate, n_windows, steps_within
from benchmarks.claims.transfer import downstream_config, transfer
from uniseg_model.checkpoint import Checkpoint, untrained
from uniseg_model.errors import FileFormatError, OptionError, WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import UniSegNet
from uniseg_model.phantom import make_phantom
from uniseg_model.progress import Progress
from uniseg_model.tasks import TaskRegistry
from uniseg_model.training.cache import PreparedCase

TINY = NetworkConfig(
    n_tasks=11, window=(8, 16, 16), features=(2, 3, 4, 5), strides=((1, 2, 2), (2, 2, 2), (2, 2, 2)), stems=(1, 2, 4),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
)  # fmt: skip
COARSE_MM = (20.0, 14.0, 14.0)
LATE = ("dynamic_head", "late_prompt")


@pytest.fixture
def windows(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(2, 1, *TINY.window)).astype(np.float32))


def small_network(name: str) -> UniSegNet:
    return fresh(name, replace(TINY, n_tasks=1) if name == "plain" else TINY, seed=1)


# --- the rival networks


@pytest.mark.parametrize("name", NETWORKS)
def test_all_networks_answer_as_uniseg_does(name: str, windows: torch.Tensor) -> None:
    net = small_network(name)
    tasks = torch.tensor([0, net.config.n_tasks - 1])
    features = net.encode(windows)
    scales = net.decode_all_scales(features, net.prompts(features)[[0, 1], tasks].unsqueeze(1))
    assert [tuple(logits.shape) for logits in scales] == [(2, 4, 8, 16, 16), (2, 4, 8, 8, 8), (2, 4, 4, 4, 4)]
    torch.testing.assert_close(net(windows, tasks), scales[0])


@pytest.mark.parametrize("name", LATE)
def test_another_task_gets_another_answer_at_every_scale(name: str, windows: torch.Tensor) -> None:
    net = small_network(name)
    features = net.encode(windows)
    prompts = net.prompts(features)
    scales = [net.decode_all_scales(features, prompts[:, task : task + 1]) for task in (0, 7)]
    assert all((a - b).abs().max() > 0.01 for a, b in zip(*scales, strict=True))


def test_each_window_is_answered_under_its_own_task(windows: torch.Tensor) -> None:
    net = small_network("dynamic_head")
    together = net(windows, torch.tensor([3, 7]))
    torch.testing.assert_close(together[:1], net(windows[:1], torch.tensor([3])))
    torch.testing.assert_close(together[1:], net(windows[1:], torch.tensor([7])))


def test_the_dynamic_head_is_three_convolutions_of_the_generated_weights(windows: torch.Tensor) -> None:
    net = small_network("dynamic_head")
    x, numbers = torch.randn(1, 2, 2, 3, 4), torch.randn(1, 1, 16 + 8 + 64 + 8 + 32 + 4 + TINY.n_tasks)
    first, b1, second, b2, third, b3 = numbers[0, 0, :-11].split([16, 8, 64, 8, 32, 4])
    voxel = x[0, :, 1, 2, 3]
    by_hand = third.view(4, 8) @ torch.relu(second.view(8, 8) @ torch.relu_(first.view(8, 2) @ voxel + b1) + b2) + b3
    torch.testing.assert_close(net._answer(2, x, numbers)[0, :, 1, 2, 3], by_hand)


def test_the_late_prompt_does_not_depend_on_the_image_and_uniseg_s_does(windows: torch.Tensor) -> None:
    late, uniseg = (net.prompts(net.encode(windows)) for net in map(small_network, ("late_prompt", "uniseg")))
    assert torch.equal(late[0], late[1])
    assert not torch.allclose(uniseg[0], uniseg[1], atol=0.01)


def test_a_plain_network_is_told_nothing(windows: torch.Tensor) -> None:
    net = small_network("plain")
    assert net.prompts(net.encode(windows)).shape == (2, 1, 0)


def test_networks_of_the_benchmark_are_equally_large() -> None:
    universal = replace(NETWORK, n_tasks=11, stems=(1, 2, 4))
    sizes = {name: n_parameters(fresh(name, universal, 0)) for name in ("uniseg", *LATE)}
    sizes["plain"] = n_parameters(fresh("plain", replace(NETWORK, stems=(1,)), 0))
    print(sizes)
    assert max(sizes.values()) < 1.15 * min(sizes.values()), sizes


def test_a_seed_decides_the_first_weights() -> None:
    a, b, c = (fresh("late_prompt", TINY, seed) for seed in (1, 1, 2))
    assert isinstance(a, LatePromptNet)
    assert torch.equal(a.fixed_prompts, b.fixed_prompts)  # type: ignore[arg-type]
    assert not torch.equal(a.fixed_prompts, c.fixed_prompts)  # type: ignore[arg-type]


# --- from trained weights to a new task


def tiny_weights() -> Checkpoint:
    """Random weights that say they were trained on a very coarse grid."""
    made = untrained(TINY)
    return replace(made, tasks=TaskRegistry(replace(t, spacing_mm=COARSE_MM, axes="RAS") for t in made.tasks.values()))


def test_transfer_copies_encoder_and_decoder_and_drops_what_belongs_to_the_old_tasks() -> None:
    weights, net = tiny_weights(), PlainUNet(downstream_config(TINY))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    moved = transfer(weights, net)
    after = net.state_dict()
    assert torch.equal(after["encoder.2.0.conv.weight"], weights.weights["encoder.2.0.conv.weight"])
    assert torch.equal(after["upsample.0.weight"], weights.weights["upsample.0.weight"][:5])  # the sixth is the prompt's
    assert moved.fresh == ("heads.0.weight", "heads.1.weight", "heads.2.weight")
    assert all(torch.equal(after[name], before[name]) for name in moved.fresh)
    assert {name.split(".")[0] for name in moved.copied} == {"encoder", "upsample", "decoder"}
    stems = {"encoder.0.0.convs.2", "encoder.0.0.convs.4"}  # of images with 2 and 4 channels
    dropped = {name for name in moved.dropped if not name.startswith(("universal_prompt", "fusion.", "heads."))}
    assert {name.rpartition(".")[0] for name in dropped} == stems
    assert set(moved.copied) | set(moved.dropped) == set(weights.weights)


def test_transfer_refuses_a_network_of_another_width() -> None:
    wider = PlainUNet(replace(downstream_config(TINY), features=(2, 3, 4, 6)))
    with pytest.raises(
        WeightsError, match=r"'encoder.3.0.conv.weight' has shape \(5, 4, 3, 3, 3\), .* needs \(6, 4, 3, 3, 3\)"
    ):
        transfer(tiny_weights(), wider)


def test_the_window_downstream_leaves_two_bottleneck_voxels_along_each_axis() -> None:
    assert downstream_config(TINY).prompt_shape == (2, 2, 2)
    assert downstream_config(NetworkConfig()).window == (32, 64, 64)


# --- phantoms


def test_a_structure_is_taken_from_the_very_image_of_the_phantom() -> None:
    phantom = make_phantom("spleen", 5, spacing_mm=COARSE_MM)
    volume, (spleen, heart) = trunk_with(5, COARSE_MM, ["spleen", "heart"])
    assert np.array_equal(volume.array, phantom.volume.array)
    assert np.array_equal(spleen, phantom.labels["spleen"])
    assert heart.any()
    assert not (heart & spleen).any()


def test_new_tasks_are_painted_in_every_phantom_and_no_upstream_task_has_them(tmp_path: Path) -> None:
    tasks = downstream_tasks(COARSE_MM)
    known = {label.name for task in upstream_tasks().values() for label in task.labels}
    cases = downstream_group(tasks).cases(tmp_path, range(2))
    for key, task in tasks.items():
        assert task.labels[0].name not in known
        assert all(1 in case.places for case in cases[key])


def test_tasks_of_one_family_share_the_image_and_a_second_look_paints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = TaskRegistry(
        replace(task, spacing_mm=COARSE_MM) for task in upstream_tasks().values() if task.modalities == ("CT",)
    )
    [group] = upstream_groups(tasks)
    first = group.cases(tmp_path, [3])
    second = replace(group, make=lambda seed: pytest.fail("painted again")).cases(tmp_path, [3])
    assert first["liver"][0].image is first["spleen"][0].image
    assert np.array_equal(first["liver"][0].labels, second["liver"][0].labels)


# --- jobs and settings


def test_budgets_are_equal_to_the_step() -> None:
    planned = [job for job in jobs(Settings(steps=2 * ROUND), "a") if job.seed == 0]
    assert [job.steps for job in planned if job.network != "plain"] == [220] * 4
    assert sum(job.steps for job in planned if job.network == "plain") == 220


def test_every_job_has_a_name_of_its_own() -> None:
    names = [job.name for job in jobs(Settings(), "ab")]
    assert len(set(names)) == len(names) == 3 * (4 + 11) + 3 * 2 * 3 * 2


def test_five_cases_are_among_the_ten_and_another_seed_draws_others() -> None:
    pool = [PreparedCase(str(i), np.zeros(0), np.zeros(0), {}) for i in range(20)]
    names = {
        (n, seed): {case.name for case in drawn(pool, Job("downstream", "plain", ("heart",), 1, seed, n_cases=n))}
        for n in (5, 10) for seed in (0, 1)
    }  # fmt: skip
    assert names[5, 0] < names[10, 0]
    assert names[5, 0] != names[5, 1]


def test_settings_hold_for_all_later_starts(tmp_path: Path) -> None:
    store(tmp_path, settle(tmp_path, {"seeds": 4}))
    assert settle(tmp_path, {}).seeds == 4
    store(tmp_path, settle(tmp_path, {"weights": "ab"}))  # part b is started later than part a
    with pytest.raises(OptionError, match=r"have seeds 4, not 3"):
        settle(tmp_path, {"seeds": 3})
    with pytest.raises(OptionError, match=r"have weights ab, not cd"):
        settle(tmp_path, {"weights": "cd"})


def test_steps_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(OptionError, match=r"steps must be a multiple of 110, they are 1000\. Take 990"):
        Settings(steps=1000)


def test_a_budget_of_minutes_buys_whole_portions() -> None:
    needed = Estimate(multitask_s=2000, downstream_s=1000, judge_s=300)  # 50 min of training
    bought = steps_within(30, Settings(steps=2200, downstream_steps=200), needed)  # 25 min are left for it
    assert (bought.steps, bought.downstream_steps) == (1100, 100)
    assert steps_within(1, Settings(), needed).steps == ROUND


def test_windows_of_an_image() -> None:
    assert n_windows((24, 48, 48), (24, 48, 48)) == 1
    assert n_windows((10, 84, 85), (24, 48, 48)) == 1 * 2 * 3  # steps of 36 reach 84, not 85


# --- a run


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    weights = tiny_weights()
    settings = Settings(downstream_steps=3, seeds=1, held_out=1, downstream_cases=(2,), weights=weights.sha256)
    return Laboratory(tmp_path_factory.mktemp("claims"), settings, torch.device("cpu"), weights)


def test_an_interrupted_run_goes_on_and_leaves_only_its_result(laboratory: Laboratory) -> None:
    heart, *_ = jobs(laboratory.settings, "b")
    whole = laboratory.run(heart)
    with pytest.raises(KeyboardInterrupt):
        laboratory.run(heart, stop_at_step_two)
    assert (laboratory.folder / "runs" / heart.name / "last.pt").exists()
    again = laboratory.run(heart)
    assert again["scores"] == whole["scores"]
    assert [len(cases) for cases in again["scores"]["heart"].values()] == [1]
    assert not list((laboratory.folder / "runs").iterdir())
    assert laboratory.result_file(heart).exists()


def stop_at_step_two(progress: Progress) -> None:
    if progress.done == 2:
        raise KeyboardInterrupt


def test_a_pretrained_start_is_another_one(laboratory: Laboratory) -> None:
    scratch, trained, *_ = jobs(laboratory.settings, "b")
    nets = [laboratory.network_of(job, laboratory.plan_of(job)).state_dict() for job in (scratch, trained)]
    assert torch.equal(nets[0]["heads.0.weight"], nets[1]["heads.0.weight"])
    assert not torch.equal(nets[0]["encoder.1.0.conv.weight"], nets[1]["encoder.1.0.conv.weight"])


def test_part_b_without_weights_says_so(laboratory: Laboratory) -> None:
    job = next(jobs(laboratory.settings, "b"))
    with pytest.raises(OptionError, match=r"need weights to start from\. Name them with --weights"):
        replace(laboratory, weights=None).run(job)


# --- results

SCORES = {  # seed 0: liver (0.9 + 0.5) / 2 = 0.7, spleen 0.9; seed 1: liver (0.9 + 0.7) / 2 = 0.8, spleen 0.6
    0: {"liver": {"liver": [0.8, 1.0], "liver tumour": [0.5, 0.5]}, "spleen": {"spleen": [0.9, 0.9]}},
    1: {"liver": {"liver": [0.9, 0.9], "liver tumour": [0.6, 0.8]}, "spleen": {"spleen": [0.5, 0.7]}},
}
LOWER = {"liver": {"liver": [0.5], "liver tumour": [0.5]}, "spleen": {"spleen": [0.6]}}  # 0.55


def write_result(folder: Path, scores: object, **facts: object) -> None:
    usual = {"part": "multitask", "network": "uniseg", "start": "scratch", "n_cases": 0, "seed": 0, "steps": 220,
             "n_parameters": 1000, "device": "hand", "train_seconds": 3000.0, "judge_seconds": 600.0}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps({**usual, **facts, "scores": scores}), encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for seed, scores in SCORES.items():
        write_result(folder, scores, seed=seed)
        write_result(folder, LOWER, network="dynamic_head", seed=seed)
        write_result(folder, {"liver": scores["liver"]}, network="plain", seed=seed)
    write_result(folder, {"spleen": {"spleen": [1.0]}}, network="plain", seed=0)  # seed 1 still lacks its spleen
    for start, value, seed in (("scratch", 0.2, 0), ("scratch", 0.4, 1), ("pretrained", 0.7, 0), ("pretrained", 0.6, 1)):
        write_result(
            folder, {"heart": {"heart": [value]}}, part="downstream", network="plain", start=start, n_cases=5, seed=seed
        )
    return tmp_path


def test_means_are_over_cases_then_structures_then_tasks(results: Path) -> None:
    scores = multitask(read_results(results / "results"))
    assert scores["uniseg"][0] == pytest.approx({"liver": 0.7, "spleen": 0.9})
    assert means_over_tasks(scores["uniseg"]) == pytest.approx({0: 0.8, 1: 0.7})
    assert means_over_tasks(scores["plain"]) == pytest.approx({0: 0.85})  # a seed counts when all its tasks are there


def test_the_spread_is_that_of_a_sample() -> None:
    assert str(Spread.of([0.8, 0.7])) == "0.750 ± 0.071"  # 0.1 / sqrt(2)
    assert str(Spread.of([0.8])) == "0.800"


def test_new_tasks_are_paired_by_seed(results: Path) -> None:
    assert downstream(read_results(results / "results")) == {
        ("heart", 5): {"scratch": {0: 0.2, 1: 0.4}, "pretrained": {0: 0.7, 1: 0.6}}
    }


def test_the_page_says_what_came_out_also_where_uniseg_does_not_win(results: Path) -> None:
    page = write_markdown(read_results(results / "results"), Settings())
    assert "| UniSeg: dynamic prompt, early | 1,000 | 2 | 0.750 ± 0.071 |  |" in page
    assert "| dynamic head (DoDNet's idea), late | 1,000 | 2 | 0.550 ± 0.000 | 0.200 ± 0.071 |" in page  # 0.25 and 0.15
    assert "| eleven single-task networks | 11 x 1,000 | 1 | 0.850 | -0.050 |" in page
    assert "By the mean, UniSeg comes number 2 of 3, behind: eleven single-task networks." in page
    assert "In every seed it is ahead of: dynamic head (DoDNet's idea), late." in page
    assert "| heart, 5 cases | 2 | 0.300 ± 0.141 | 0.650 ± 0.071 | 0.350 ± 0.212 |" in page  # 0.5 and 0.2
    assert "Trained weights are ahead in 2 of 2 pairs of runs." in page
    assert "say nothing about how well a real organ is found" in page


def test_the_command_writes_page_and_figure_when_asked(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["-o", str(results), "--only", "report"])
    assert not (results / "docs").exists()
    main(["-o", str(results), "--only", "report", "--report", str(results / "docs")])
    assert (results / "docs" / "claims.md").read_text(encoding="utf-8") in capsys.readouterr().out
    figure = ElementTree.parse(results / "docs" / "claims.svg").getroot()
    assert len(figure.findall(".//{*}circle")) == 2 + 1 + 2  # UniSeg's seeds, the key, the pretrained starts
    assert len(figure.findall(".//{*}rect")) == 2 + 1 + 1 + 2


def test_without_results_there_is_a_page_and_a_figure(tmp_path: Path) -> None:
    assert write_markdown(read_results(tmp_path), Settings()).count("Not measured yet.") == 2
    ElementTree.fromstring(draw([]))


def test_a_foreign_file_among_the_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"x\.json is not the result of a run"):
        read_results(tmp_path)
