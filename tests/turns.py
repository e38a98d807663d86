"""
Tests that measure a time run alone; all others run side by side with those of other processes.

A test marked `alone` waits until those that run have ended, with what they set up, and the next
ones of other processes wait for its end. Nobody who wants to be alone waits for ever: while it
waits, no other test begins.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def turn(of_run: str, *, alone: bool) -> Iterator[None]:
    """
    Take a place beside others, or all of it.

    Args:
        of_run: The same for all processes of one run.
        alone: Nobody else has a place meanwhile.
    """
    folder = Path(tempfile.gettempdir())
    names = (f"iqa-tests-{of_run}.{kind}" for kind in ("door", "room"))
    door, room = (folder.joinpath(name).open("w") for name in names)
    with door, room:
        fcntl.flock(door, fcntl.LOCK_EX)  # whoever waits to be alone keeps the door shut
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # a process that was forked meanwhile has it open too


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside pytest-timeout: to wait is no fault
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let each test of a process of pytest-xdist have its turn."""
    run = getattr(item.config, "workerinput", {}).get("testrunuid")
    if run is None:
        return (yield)
    with turn(run, alone=item.get_closest_marker("alone") is not None):
        return (yield)
