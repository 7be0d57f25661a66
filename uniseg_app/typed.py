"""What a person types to describe a task, read and written: structures and colours, images, voxel sizes, settings. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from uniseg_model.errors import TaskError
from uniseg_model.tasks import Label
from uniseg_model.volume import Triple

# After Okabe and Ito (2008) and Paul Tol (2021), as in tasks.toml: told apart by colour-blind eyes, in this order.
COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#882255", "#117733", "#AA4499",
    "#33BBEE", "#A50026",
)  # fmt: skip


def key_of(title: str) -> str:
    """A task key made of a title: ``gall_bladder`` of ``Gall bladder``."""
    key = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return key if re.match(r"[a-z]", key) else f"task_{key}".rstrip("_")


def structures_in(text: str) -> tuple[Label, ...]:
    """Structures of a text with one a line, by label value from 1: a name and, where wanted, its colour ``#RRGGBB``.

    Raises:
        TaskError: a line with a colour and no name.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    labels = []
    for line, default in zip(lines, _colors(len(lines)), strict=True):
        found = re.search(r"(#\S*)$", line)
        name = line[: found.start()].rstrip(" ,;:") if found else line
        if not name:
            raise TaskError(f"the line {line!r} has a colour and no name", hint="Write the structure's name before it.")
        labels.append(Label(name, found[1].upper() if found else default))
    return tuple(labels)


def structures_text(labels: Sequence[Label]) -> str:
    """The text that :func:`structures_in` reads."""
    return "\n".join(f"{label.name} {label.color}" for label in labels)


def modalities_in(text: str) -> tuple[str, ...]:
    """Channels of a text such as ``CT`` or ``T1, T2``."""
    names = (name.strip() for name in re.split(r"[,;]", text))
    return tuple("CT" if name.upper() == "CT" else name for name in names if name)


def spacing_in(text: str) -> Triple:
    """Voxel size along z, y, x of a text such as ``3, 1.5, 1.5``.

    Raises:
        TaskError: not three numbers.
    """
    parts = [part for part in re.split(r"[\s,;x×]+", text.strip()) if part]
    try:
        z, y, x = (float(part) for part in parts)
    except ValueError:
        raise TaskError(f"the voxel size {text.strip()!r} is not three numbers",
                        hint="Write mm along z, y, x, with a point, such as 3, 1.5, 1.5.") from None  # fmt: skip
    return z, y, x


def changes_in(text: str) -> dict[str, Any]:
    """Settings of a plan of a text with one a line, such as ``rate = 0.002``.

    Raises:
        OptionError: a line is no setting.
    """
    from uniseg_model.training.plan import read_changes

    return read_changes([line for line in text.splitlines() if line.strip()])


def spacing_text(spacing_mm: Triple) -> str:
    """The text that :func:`spacing_in` reads."""
    return ", ".join(f"{mm:g}" for mm in spacing_mm)


def colored(names: Sequence[str]) -> tuple[Label, ...]:
    """Structures of these names in colours that colour-blind eyes tell apart."""
    return tuple(Label(name, color) for name, color in zip(names, _colors(len(names)), strict=True))


def _colors(n: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(n)]
