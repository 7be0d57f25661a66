"""Parts of a work done side by side, one a core, and handed back in order."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
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


class Scratch(threading.local):
    """Float64 arrays that a thread uses again, by name: fresh memory costs more than the work done in it.

    An array is good until its name is asked for again in the same thread.
    """

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An array of that shape, with whatever is in it."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = np.empty(size)
        return self._kept[name][:size].reshape(shape)

    def copy(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values, in float64."""
        out = self.array(name, values.shape)
        out[...] = values
        return out
