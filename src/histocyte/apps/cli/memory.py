"""How this process asks the system for memory."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["return_freed_memory"]

_M_MMAP_THRESHOLD = -3
"""mallopt's number for it, from glibc's malloc.h."""
_LARGE_BYTES = 4 * 2**20


def return_freed_memory() -> bool:
    """Have large arrays go back to the system as soon as they are freed; for a process of our own alone.

    Left alone, glibc keeps what is freed of up to 32 MB, in a heap for each thread, for the next of that size; blocks
    come and go in several threads, and what none of them uses added 150 MB to a run's peak. Where there is no glibc,
    and where the user has set MALLOC_MMAP_THRESHOLD_, nothing is changed.

    Returns:
        Whether anything was.
    """
    if not sys.platform.startswith("linux") or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES) == 1
