"""One start at a time in a checkout, and how another command ends one that is under way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scripts.server.state import StateDir

LOCK_FILE: Final = "start.lock"


@contextmanager
def one_start_at_a_time(state: StateDir) -> Iterator[None]:
    """
    Hold the lock of starts; the system releases it with the process, however that ends.

    Raises:
        RuntimeError: Another start has it.
    """
    state.path.mkdir(parents=True, exist_ok=True)
    with (state.path / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(
                "another start is under way in this checkout. Wait for it, then: "
                "scripts/run_torchserve.sh --status"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def interrupt_start(state: StateDir) -> int | None:
    """End a start that is under way in this checkout; return its process id, or None."""
    try:
        lock = (state.path / LOCK_FILE).open()
    except FileNotFoundError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            starter = int(lock.read() or 0)
        if starter:
            with contextlib.suppress(ProcessLookupError):
                os.kill(starter, signal.SIGTERM)
        fcntl.flock(lock, fcntl.LOCK_SH)  # until it has cleaned up
        return starter
