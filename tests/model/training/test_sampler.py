"""Which windows a step sees."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from uniseg_model.tasks import TaskRegistry
from uniseg_model.training.cache import PreparedCase
from uniseg_model.training.plan import Plan
from uniseg_model.training.sampler import Draw, Sampler, cut_window, task_order

Cases = dict[str, list[PreparedCase]]


def test_each_epoch_gives_each_task_its_budget_exactly() -> None:
    """The paper's 550 steps: 50 for each of eleven tasks."""
    for epoch in range(3):
        assert Counter(task_order((1.0,) * 11, 550, 0, epoch)) == dict.fromkeys(range(11), 50)


def test_weights_are_budgets() -> None:
    assert Counter(task_order((1.0, 3.0), 40, 0, 0)) == {0: 10, 1: 30}
    thirds = [Counter(task_order((1.0, 1.0, 1.0), 10, 0, epoch)) for epoch in range(30)]
    assert all(sorted(counts.values()) == [3, 3, 4] for counts in thirds)  # rounding loses no step
    assert {counts.most_common(1)[0][0] for counts in thirds} == {0, 1, 2}  # and favours nobody


def test_epochs_and_seeds_differ() -> None:
    orders = {task_order((1.0,) * 11, 550, seed, epoch) for seed in range(2) for epoch in range(2)}
    assert len(orders) == 4


def test_a_step_is_the_same_whenever_it_is_asked_for(plan: Plan, cases: Cases) -> None:
    forward = [seen(Sampler(plan, cases), step) for step in range(12)]
    sampler = Sampler(plan, cases)
    assert [seen(sampler, step) for step in reversed(range(12))] == forward[::-1]


def seen(sampler: Sampler, step: int) -> tuple[str, list[str]]:
    task, draws = sampler.draw(step)
    return task.key, [draw.label() for draw in draws]


def test_a_third_of_foreground_means_the_second_window_of_two_always_holds_a_structure(plan: Plan, cases: Cases) -> None:
    sampler = Sampler(plan, cases)
    for step in range(60):
        _, (_, second) = sampler.draw(step)
        assert cut_window(second.case.labels, second.start, plan.network.window).any()


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (1 / 3, 1), (0.5, 1), (1.0, 2)])
def test_shares_of_foreground_as_whole_windows(plan: Plan, cases: Cases, share: float, n: int) -> None:
    """Random windows of a small case may hold a structure by chance; forced ones are told by where they can stand."""
    made = Sampler(replace(plan, foreground=share), cases)
    forced = []
    made.structure_window = lambda cases, rng: forced.append(1) or Draw(cases[0], (0, 0, 0))  # type: ignore[method-assign,func-returns-value]
    made.draw(0)
    assert len(forced) == n


def test_each_structure_is_centred_on_as_often_as_the_others(plan: Plan, rng: np.random.Generator) -> None:
    """A large one, a small one, and one of a single voxel."""
    labels = np.zeros((30, 90, 90), np.uint8)
    labels[10:20, 30:40, 30:40], labels[10:12, 60, 60], labels[20, 50, 50] = 1, 2, 3
    places = {value: np.argwhere(labels == value) for value in (1, 2, 3)}
    case = PreparedCase("made up", labels[None].astype(np.float32), labels, places)
    sampler = Sampler(plan, {})
    hits: Counter[int] = Counter()
    for _ in range(600):
        start = sampler.structure_window([case], rng).start
        hits[int(labels[tuple(s + w // 2 for s, w in zip(start, plan.network.window, strict=True))])] += 1
    assert set(hits) == {1, 2, 3}
    assert min(hits.values()) > 150


def test_a_negative_shows_another_modality_and_nothing_to_find(plan: Plan, cases: Cases) -> None:
    tasks = TaskRegistry([replace(plan.tasks["prostate"], modalities=("ADC",)), plan.tasks["brain"]])
    sampler = Sampler(replace(plan, tasks=tasks, negatives=1.0), cases)
    for step in range(10):
        task, draws = sampler.draw(step)
        assert all(draw.is_negative for draw in draws)
        assert {draw.case.image.shape[0] for draw in draws}.isdisjoint({len(task.modalities)})


def test_windows_stay_as_far_inside_as_they_can(plan: Plan, cases: Cases, rng: np.random.Generator) -> None:
    case = cases["brain"][0]
    sampler = Sampler(plan, cases)
    for _ in range(200):
        for draw in (sampler.random_window([case], rng), sampler.structure_window([case], rng)):
            for start, size, side in zip(draw.start, case.labels.shape, plan.network.window, strict=True):
                assert (0 <= start <= size - side) if size >= side else (size - side <= start <= 0)


def test_a_cut_window_is_the_array_and_zero_outside() -> None:
    array = np.arange(1, 25).reshape(1, 2, 3, 4)
    out = cut_window(array, (-1, 1, 2), (3, 3, 3))
    expected = np.zeros((1, 3, 3, 3), int)
    expected[0, 1:, :2, :2] = array[0, :, 1:, 2:]
    assert np.array_equal(out, expected)
    out[:] = 0
    assert array.all()  # a copy
