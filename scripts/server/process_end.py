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
        processes: Children of this process, whose exit status is then asked for, or others.
        timeout_s: At most.

    Returns:
        Those that run still.
    """
    deadline = time.monotonic() + timeout_s
    ended, running = [], list(processes)
    while True:
        ended += [process for process in running if has_ended(process)]
        running = [process for process in running if process not in ended]
        if not running or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    for process in ended:  # else a child of ours would stay in the list
        with contextlib.suppress(psutil.Error):
            process.wait(timeout=0)
    return running


def has_ended(process: psutil.Process) -> bool:
    """
    Tell whether a process has ended; a zombie has.

    But for one whose first thread has ended and others have not: they hold its ports still.
    """
    try:
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not process.is_running() or (is_zombie and process.num_threads() <= 1)
    except psutil.NoSuchProcess:
        return True
