"""
A lock file: one process at a time, whose id it holds, released by the system with the process.

A forked process holds the lock as well, until both have released it: a start that continues in the
background (`detach.py`) keeps it if its caller is killed. Not the package filelock: it closes the
file in a forked process, and is not in the image that serves without torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

logger = logging.getLogger(__name__)

POLL_S: Final = 0.05
SAID_FROM_S: Final = 1.0
"""Shorter waits are not logged."""


@contextmanager
def locked(path: Path, wait_s: float, what: str) -> Iterator[None]:
    """
    Hold a lock; where another process has it, say so and wait.

    Args:
        path: The file; it and its folder are made, and it stays.
        wait_s: How long; 0 tries once.
        what: What the holder does, for people.

    Raises:
        TimeoutError: It is still held after `wait_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        deadline = time.monotonic() + wait_s
        is_said = False
        while not _take(lock, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"{what}: expected it to end within {wait_s:g} s, got process {_holder(lock)} "
                    "still at it. Look at that process, then try again."
                )
            if not is_said and wait_s > SAID_FROM_S:
                logger.info("waiting for %s, process %s", what, _holder(lock))
                is_said = True
            time.sleep(POLL_S)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name in it
            os.ftruncate(lock.fileno(), 0)  # not by the file's buffer, which closing would write
            os.write(lock.fileno(), str(os.getpid()).encode())
        # Closing releases it, and not an unlock: that would take it from a forked process too.
        yield


def holder_of(path: Path) -> int | None:
    """Return the id of the process that holds a lock, 0 if unknown, None if nobody does."""
    try:
        lock = path.open()
    except FileNotFoundError:
        return None
    with lock:
        if _take(lock, fcntl.LOCK_SH):
            return None
        said = _holder(lock)
        return int(said) if said.isdigit() else 0


def wait_until_free(path: Path) -> None:
    """Wait until nobody holds a lock that is there."""
    with path.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def _take(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read().strip() or "unknown"
