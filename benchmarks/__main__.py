"""One table of what the program's speed and memory are, as ratios to the original's way of working, measured in the same run.

    python -m benchmarks [ROW ...] [--image CT] [--threads 2] [-o table.md]

Without rows: all of them, which takes about an hour on two cores. Without an image a phantom CT is segmented.
"""

from __future__ import annotations

import argparse
import os
from itertools import chain
from pathlib import Path

from benchmarks.engine import measured
from benchmarks.rows import ROWS, Row, run_row
from benchmarks.speed import print_table

_HEAD = "| work | reference | ours | ratio | to reach | seen beside |\n|---|---|---|---|---|---|"


def main() -> None:
    """Measure row by row, and print each as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--image")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    table = (line_of(name, given.threads, given.image) for name in given.rows or ROWS)
    print_table(chain([_HEAD], table), given.out)


def line_of(name: str, threads: int, image: str | None) -> str:
    """One row of the table; its work is the first line of the function's docstring."""
    work, goal = ROWS[name]
    row: Row = measured(run_row, name, threads, image)[2]
    title = (work.__doc__ or name).strip().rstrip(".")
    return f"| {title} | {row.reference} | {row.ours} | {row.ratio} | {goal} | {row.note} |"


if __name__ == "__main__":
    main()
