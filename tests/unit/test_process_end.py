"""Waiting for the end of processes, whose parents may never ask for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from scripts.server.process_end import has_ended, wait_until_ended

NEVER_ASKS = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
time.sleep(60)
"""
FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def child_of_another() -> Iterator[psutil.Process]:
    """A process whose parent never asks for its exit status, as process 1 of some containers."""
    parent = subprocess.Popen([sys.executable, "-c", NEVER_ASKS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process = psutil.Process(int(parent.stdout.readline()))
    yield process
    process.kill()
    parent.kill()
    parent.communicate()


def test_a_process_that_nobody_asks_for_has_ended(child_of_another: psutil.Process) -> None:
    """It is in the list of processes still, and would be waited for until the end of its parent."""
    child_of_another.kill()

    began = time.monotonic()
    left = wait_until_ended([child_of_another], 30)

    assert left == []
    assert time.monotonic() - began < 20
    assert child_of_another.status() == psutil.STATUS_ZOMBIE


def test_what_runs_still_is_returned(child_of_another: psutil.Process) -> None:
    """After the time that it was given."""
    assert wait_until_ended([child_of_another], 0.1) == [child_of_another]
    assert not has_ended(child_of_another)


def test_the_exit_status_of_a_child_is_taken() -> None:
    """A supervisor that is process 1 would else collect zombies."""
    child = subprocess.Popen([sys.executable, "-c", ""])

    assert wait_until_ended([psutil.Process(child.pid)], 30) == []
    assert not psutil.pid_exists(child.pid)
    assert child.wait() == 0


def test_a_process_whose_first_thread_has_ended_has_its_ports_still() -> None:
    """It is listed as a zombie; a new server would find its ports taken."""
    child = subprocess.Popen(
        [sys.executable, "-c", FIRST_THREAD_ENDS], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    process = psutil.Process(child.pid)
    deadline = time.monotonic() + 20
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)

    assert process.status() == psutil.STATUS_ZOMBIE
    assert not has_ended(process)
    child.kill()
    assert wait_until_ended([process], 20) == []
    child.communicate()
