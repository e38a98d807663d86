"""One start at a time in a checkout; another command can end a start in progress."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scripts.server import file_lock
from scripts.server.state import StateDir

LOCK_FILE: Final = "start.lock"


@contextmanager
def one_start_at_a_time(state: StateDir) -> Iterator[None]:
    """
    Hold the lock of starts; a process that is forked inside holds it as well.

    Raises:
        RuntimeError: Another start has it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock.locked(state.path / LOCK_FILE, 0.0, "another start"))
        except TimeoutError as error:
            raise RuntimeError(
                "another start is under way in this checkout. Wait for it, then: "
                "scripts/run_torchserve.sh --status"
            ) from error
        yield


def interrupt_start(state: StateDir) -> int | None:
    """End a start that is under way in this checkout; return its process id, or None."""
    starter = file_lock.holder_of(state.path / LOCK_FILE)
    if starter:
        with contextlib.suppress(ProcessLookupError):
            os.kill(starter, signal.SIGTERM)
    if starter is not None:
        file_lock.wait_until_free(state.path / LOCK_FILE)  # until it has cleaned up
    return starter
