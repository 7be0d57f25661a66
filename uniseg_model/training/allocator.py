"""Memory that the C library hands back to the system is expensive to get again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's mallopt
_PAD = 2**28


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next step; whether it does.

    The maps of a training step are some megabytes each; glibc gets each from the kernel and gives it back, and the
    kernel clears every page in between. Keeping them made a step a third shorter, with the same numbers.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return False
    return all((mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_TOP_PAD, _PAD)))
