"""Tells glibc what to do with the memory of bodies that are gone."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 1 << 20


def give_large_blocks_back() -> None:
    """From now on, get large blocks directly from the system, and give each back when it is freed.

    glibc does so by default, but only until the first of them is freed: then it takes blocks of that size from a heap,
    where a single remaining small block can keep hundreds of megabytes. Does nothing with another C library.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
