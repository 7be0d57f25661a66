"""The interval of a mean, on values of which a person knows it."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniseg_model.evaluation import mean_interval


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -12.5, 1 / 3])
def test_equal_values_have_no_spread(value: float) -> None:
    assert mean_interval([value] * 7) == (value, value)


def test_two_values_are_their_own_interval() -> None:
    assert mean_interval([0.5, 0.75]) == (0.5, 0.75)  # a quarter of the resamples holds one of them only


@pytest.mark.parametrize("values", [[], [0.9]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    assert mean_interval(values) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_and_lies_within_the_values(values: list[float]) -> None:
    low, high = mean_interval(values) or (1.0, 0.0)
    assert min(values) - 1e-12 <= low <= statistics.fmean(values) + 1e-12
    assert statistics.fmean(values) - 1e-12 <= high <= max(values) + 1e-12


def test_symmetric_values_have_a_symmetric_interval() -> None:
    low, high = mean_interval(list(np.linspace(-1, 1, 41))) or (0.0, 0.0)
    assert low == pytest.approx(-high, abs=0.03)


def test_many_values_have_the_interval_of_the_normal_distribution(rng: np.random.Generator) -> None:
    values = rng.normal(5.0, 2.0, 400)
    half = 1.96 * values.std() / 20  # 20 is the root of 400
    assert mean_interval(list(values)) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_the_same_values_have_the_same_interval() -> None:
    assert mean_interval([0.1, 0.5, 0.9]) == mean_interval([0.1, 0.5, 0.9])
