"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["free_memory"]

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes: the least of what the system and the control group have left; None where neither says."""
    known = [value for value in (_of_the_system(), _of_the_group()) if value is not None]
    return min(known) if known else None


def _of_the_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # without Linux' count, all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_group() -> int | None:
    try:
        most = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        return None if most == "max" else max(0, int(most) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
