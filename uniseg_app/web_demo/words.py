"""How names and sizes stand in messages."""

from __future__ import annotations

_SHOWN = 80  # characters of a name


def shown(name: str) -> str:
    """A name that may stand in a message: its end, and nothing that does not print."""
    printable = "".join(c if c.isprintable() else "?" for c in name)
    return printable if len(printable) <= _SHOWN else "..." + printable[-_SHOWN:]


def size_text(n_bytes: int) -> str:
    """A number of bytes for people: ``1.5 GB``, ``0.001 MB``."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"
