"""
Wait until processes have ended, whoever their parent is.

A process that has ended stays in the list, as a zombie, until its parent asks for its exit status.
That parent may be process 1 of a container, which asks late or never; psutil waits for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Final

import psutil

POLL_S: Final = 0.02


def wait_until_ended(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """
    Wait until processes have ended.

    Args:
        processes: Children of this process, whose exit status is then taken, or others.
        timeout_s: At most.

    Returns:
        Those that run still.
    """
    deadline = time.monotonic() + timeout_s
    running = [process for process in processes if not has_ended(process)]
    while running and time.monotonic() < deadline:
        time.sleep(POLL_S)
        running = [process for process in running if not has_ended(process)]
    return running


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended; a zombie has."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return True
    with contextlib.suppress(psutil.Error):
        process.wait(timeout=0)  # takes the exit status of a child
    return True
