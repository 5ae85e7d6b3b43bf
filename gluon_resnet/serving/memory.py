"""What glibc does with the memory of bodies that are gone."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 1 << 20


def give_large_blocks_back() -> None:
    """From now on this process has large blocks from the system, and gives each back when it is free.

    glibc does so, too, until the first of them is free: it then takes those of that size from a heap, where a small
    block that stays keeps hundreds of megabytes of others. Nothing happens where another library is in its place.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
