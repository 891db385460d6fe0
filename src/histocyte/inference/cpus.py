"""How many processors this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_cpus"]


def available_cpus() -> int:
    """The least of: affinity, control-group quota, Slurm's allocation; at least 1.

    A shared server may show 128 processors and grant 20; asking for all of them makes everything slower.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [affinity, _cgroup_quota()]
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit():
        limits.append(int(slurm))
    return max(1, min(limit for limit in limits if limit is not None))


def _cgroup_quota() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return None
