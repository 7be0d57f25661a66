"""Parts of a work done side by side, one a core, and handed back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], parts: Iterable[T]) -> Iterator[R]:
    """``map(work, parts)`` with as many threads as torch has; at most so many answers wait to be taken.

    For work in numpy, which lets other threads run meanwhile. Its matrix products are held to one thread each: matrices as small as
    ours take longer with more. The first error that a part raises comes out, once the parts that run have ended.
    """
    import torch  # not above: whoever only plans or reads has no need of it

    n_threads = torch.get_num_threads()
    with threadpool_limits(1, "blas"):
        if n_threads == 1:
            yield from map(work, parts)
            return
        with ThreadPoolExecutor(n_threads) as pool:
            waiting = deque[Future[R]]()
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def all_side_by_side(work: Callable[[T], None], parts: Iterable[T]) -> None:
    """The same, for work that keeps its answers itself."""
    deque(side_by_side(work, parts), maxlen=0)
