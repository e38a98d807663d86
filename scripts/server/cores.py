"""How many cores this process may keep busy, which in a container is not what the host has."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

# In a container these are the container's own.
CGROUP: Final = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """
    Return the cores of this process: its affinity, or its cgroup's quota where that is less.

    Args:
        cgroup: Where the kernel tells the quota: `cpu.max` of version 2, or the two files in `cpu`
            of version 1.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    cores = seen or 1
    return max(cores if quota is None else min(cores, math.ceil(quota)), 1)


def _quota(cgroup: Path) -> float | None:
    """Return CPU seconds a second that may be used; None for no limit, or none that is told."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None  # "max", or words of a kernel to come
