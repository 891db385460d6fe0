"""How this process asks the system for memory."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["return_freed_memory"]

_M_MMAP_THRESHOLD = -3
"""mallopt's number for it, from glibc's malloc.h."""
_LARGE_BYTES = 4 * 2**20
_M_ARENA_MAX = -8
_ARENAS = 2
"""Heaps for all threads together, as each keeps what its threads have freed: 20 MB less at the peak, in equal time."""


def return_freed_memory() -> bool:
    """Have large arrays go back to the system as soon as they are freed; for a process of our own alone.

    Left alone, glibc keeps what is freed of up to 32 MB, in a heap for each thread, for the next of that size; blocks
    come and go in several threads, and what none of them uses added 150 MB to a run's peak. Where there is no glibc,
    nothing is changed, nor what the user has set (MALLOC_MMAP_THRESHOLD_, MALLOC_ARENA_MAX).

    Returns:
        Whether large arrays will.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    if "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, _ARENAS)
    return "MALLOC_MMAP_THRESHOLD_" not in os.environ and mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES) == 1
