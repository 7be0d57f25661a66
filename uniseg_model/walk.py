"""The way of windows through a network: in batches, in their order, equal constant ones once, fewer at a time when memory runs out.

Letters: B windows, C channels; Z, Y, X a window, z, y, x the prepared grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from uniseg_model.engines import Tick
from uniseg_model.memory import is_out_of_memory
from uniseg_model.volume import Shape
from uniseg_model.windows import MOST_KNOWN, Layout, constant_value


def through_windows(
    array: np.ndarray,
    layout: Layout,
    batch: int,
    compute: Callable[[Tensor, Tick], list[Tensor]],
    keep: Callable[[Shape, list[Tensor]], None],
    shrink: Callable[[int, Exception], int],
    tell: Callable[[float], None],
    *,
    reuse: bool = True,
) -> None:
    """Take the windows of a prepared array (C, z, y, x) in batches through ``compute``, and hand each window's part to ``keep``.

    Constant windows are computed once for each value: the same bits as computing them again in a batch as large.

    compute: of windows (B, C, Z, Y, X) any number of tensors (B, ...), each window's out of that window alone; ticks off shares.
    keep: is given a window's first voxel on the padded grid and its parts (...), in the layout's order; all of them count, or
        none when it raises.
    shrink: the batch to go on with after memory ran out with this one, or an error.
    tell: how many windows are done, parts of a window included; never fewer than before.
    reuse: off, every window is computed.
    """
    done, known = 0, dict[bytes, list[Tensor]]()
    while done < len(layout.starts):
        row = _next_row(array, layout, done, batch, known, reuse)
        told = done + len(row.windows)
        try:
            outputs = compute(torch.stack(row.windows), partial(_tell_share, tell, done, told)) if row.windows else []
            known.update({value: [output[at].clone() for output in outputs] for value, at in row.new.items()})
            for answer in row.answers:
                keep(layout.starts[done], known[answer] if isinstance(answer, bytes) else [o[answer] for o in outputs])
                done += 1
                if done > told:
                    tell(done)
        except Exception as exc:
            if not is_out_of_memory(exc):
                raise
            outputs = []  # free them before the next try
            known.clear()
            batch = shrink(max(1, len(row.windows)), exc)


@dataclass(frozen=True)
class _Row:
    """Windows that follow each other. windows: those to compute. new: the places of constant ones among these, by value.

    answers: for each window of the row its place among ``windows``, or the value it has everywhere.
    """

    windows: list[Tensor] = field(default_factory=list)
    new: dict[bytes, int] = field(default_factory=dict)
    answers: list[int | bytes] = field(default_factory=list)


def _next_row(array: np.ndarray, layout: Layout, done: int, batch: int, known: dict[bytes, list[Tensor]], reuse: bool) -> _Row:
    """As many windows as have an answer once a batch is computed; known: constant ones met before."""
    row = _Row()
    for start in layout.starts[done:]:
        window = layout.cut(array, start)
        value = constant_value(window) if reuse else None
        if value is not None and (value in known or value in row.new):
            row.answers.append(value)
            continue
        if len(row.windows) == batch:
            break
        if value is not None and len(known) + len(row.new) < MOST_KNOWN:
            row.new[value] = len(row.windows)
            row.answers.append(value)
        else:
            row.answers.append(len(row.windows))
        row.windows.append(torch.from_numpy(np.require(window, requirements="W")))  # a file that is only read is copied
    return row


def _tell_share(tell: Callable[[float], None], before: int, after: int, share: float) -> None:
    tell(before + share * (after - before))
