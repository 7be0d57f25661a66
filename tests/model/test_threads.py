"""Work done side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from uniseg_model.threads import Scratch, all_side_by_side, side_by_side


@pytest.fixture(params=[1, 3])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_answers_come_in_order(n_threads: int) -> None:
    def slow_first(part: int) -> int:
        time.sleep(0.02 if part == 0 else 0)
        return part * part

    assert list(side_by_side(slow_first, range(7))) == [0, 1, 4, 9, 16, 25, 36]


def test_only_so_many_run_ahead_of_who_takes_them(n_threads: int) -> None:
    begun: list[int] = []
    answers = side_by_side(begun.append, range(100))
    for _ in range(5):
        next(answers)
    answers.close()
    assert 5 <= len(begun) <= 5 + n_threads + 1


def test_the_first_error_comes_out(n_threads: int) -> None:
    def picky(part: int) -> None:
        if part > 2:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 3"):
        all_side_by_side(picky, range(50))


def test_it_runs_in_other_threads_only_where_there_are_several(n_threads: int) -> None:
    found = set(side_by_side(lambda part: threading.current_thread() is threading.main_thread(), range(4)))
    assert found == {n_threads == 1}


def test_a_scratch_array_is_the_thread_s_own_and_used_again() -> None:
    scratch = Scratch()
    first = scratch.array("lines", (3, 4))
    first[...] = 1
    assert scratch.array("lines", (2, 5)).base is first.base  # smaller: the same memory
    assert scratch.array("flat", (3, 4)).base is not first.base
    assert scratch.array("lines", (4, 4)).base is not first.base  # larger: new memory
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(scratch.copy, "lines", np.full((4, 4), 2, np.float32)).result()
    assert other.dtype == np.float64
    assert (other == 2).all()
    assert other.base is not scratch.array("lines", (4, 4)).base
