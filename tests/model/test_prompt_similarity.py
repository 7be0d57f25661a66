"""How alike prompts are, with prompts simple enough to know."""

from __future__ import annotations

import numpy as np
import pytest

from uniseg_model.errors import OptionError
from uniseg_model.prompts.similarity import SIMILARITIES, chance, cluster, project, similarity


def prompts(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), 1, 1, -1)


def test_cosine_and_correlation_by_hand() -> None:
    """(3, 1) and (1, 3): 6 / 10 as vectors; without their mean of 2 they point in opposite directions."""
    both = prompts([3, 1], [1, 3])
    assert similarity(both, "cosine")[0, 1] == pytest.approx(0.6)
    assert similarity(both, "correlation")[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_symmetric_with_a_diagonal_of_exactly_one(kind: str, rng: np.random.Generator) -> None:
    matrix = similarity(rng.normal(size=(11, 4, 6, 6)).astype(np.float32) * 1e-3, kind)
    assert np.array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 1).all()
    assert abs(matrix).max() <= 1


@pytest.mark.parametrize(("kind", "flat"), [("correlation", 0.1), ("correlation", 0.0), ("cosine", 0.0)])
def test_a_prompt_without_direction_is_like_no_other(kind: str, flat: float) -> None:
    matrix = similarity(prompts([flat] * 7, [1, 2, 3, 4, 5, 6, 7]), kind)
    assert matrix.tolist() == [[1, 0], [0, 1]]


def test_scaling_and_shifting_do_not_change_a_correlation(rng: np.random.Generator) -> None:
    one = rng.normal(size=(1, 2, 3, 3))
    assert similarity(np.concatenate([one, 5 * one + 2, -one]))[0] == pytest.approx([1, 1, -1])


def test_another_kind_is_refused() -> None:
    with pytest.raises(OptionError, match="must be correlation or cosine, not 'euclid'"):
        similarity(prompts([1, 2]), "euclid")


def test_random_prompts_differ_from_zero_by_what_chance_says(rng: np.random.Generator) -> None:
    matrix = similarity(rng.normal(size=(60, 2, 3, 3)))
    assert matrix[np.triu_indices(60, 1)].std() == pytest.approx(chance(18), rel=0.1)


def test_alike_prompts_stand_beside_each_other() -> None:
    """0 and 2 are alike, 1 and 3 are alike; the pairs are joined first, and both at a distance of 0.1."""
    matrix = np.array([[1, 0.1, 0.9, 0], [0.1, 1, 0, 0.9], [0.9, 0, 1, 0.1], [0, 0.9, 0.1, 1]])
    tree = cluster(matrix)
    places = {leaf: place for place, leaf in enumerate(tree.order)}
    assert abs(places[0] - places[2]) == abs(places[1] - places[3]) == 1
    assert tree.linkage[:2, 2] == pytest.approx([0.1, 0.1])
    assert tree.linkage[2, 2] == pytest.approx(np.mean([0.9, 1, 1, 0.9]))
    branches = tree.branches()
    assert len(branches) == 3
    assert max(height for branch in branches for _, height in branch) == pytest.approx(0.95)
    assert {place for branch in branches for place, height in branch if height == 0} == {0, 1, 2, 3}


def test_one_task_alone_has_a_tree_of_one_leaf() -> None:
    tree = cluster(np.ones((1, 1)))
    assert (tree.order, tree.branches()) == ((0,), [])


def test_the_plane_shows_what_differs_most() -> None:
    """Three prompts on a line: one axis holds everything, distances are kept, and the farthest lies on the positive side."""
    plane = project(prompts([0, 0], [3, 4], [-6, -8]))
    assert plane.shares == pytest.approx((1, 0))
    assert plane.points[:, 0] == pytest.approx([-5 / 3, -5 - 5 / 3, 10 - 5 / 3])
    assert np.abs(plane.points[:, 1]).max() < 1e-9


def test_the_plane_of_one_or_equal_prompts_is_a_point() -> None:
    assert project(prompts([1, 2])).points.tolist() == [[0, 0]]
    assert project(prompts([1, 2], [1, 2])).shares == (0, 0)
