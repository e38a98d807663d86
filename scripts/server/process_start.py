"""
When a process started, on a clock that nobody can set.

Process ids are reused, so a record holds id and start. psutil's `create_time` is a date computed
from the boot time, and a step of the system clock moves it: a healthy server would look like
another process. This is the kernel's own count since the boot.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil


def started_at_s(pid: int) -> float:
    """
    Return when a process started, in seconds since the boot, to 10 ms.

    Where there is no /proc: seconds since 1970, which a step of the clock moves.

    Raises:
        psutil.NoSuchProcess: There is none.
    """
    stat = Path("/proc") / str(pid) / "stat"
    if not Path("/proc/self/stat").exists():
        return psutil.Process(pid).create_time()
    try:
        # proc_pid_stat(5): the name, field 2, may hold blanks and brackets; the start is field 22.
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")


def now_s() -> float:
    """Return the present on the clock of `started_at_s`."""
    if hasattr(time, "CLOCK_BOOTTIME") and Path("/proc/self/stat").exists():
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()


def boot_id() -> str:
    """Return what tells this boot from others; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
