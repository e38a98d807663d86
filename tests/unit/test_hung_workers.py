"""Which workers hang: real processes that sleep, work, and are stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from scripts.supervisor.hung_workers import HungWorkers


@contextmanager
def running(program: str) -> Iterator[psutil.Process]:
    """Run a Python program that has said that it is there."""
    command = [sys.executable, "-c", f"import time\nprint(1, flush=True)\n{program}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@contextmanager
def sleeping() -> Iterator[psutil.Process]:
    """Run a program that sleeps by now, however late it got a core."""
    with running("time.sleep(60)") as process:
        wait_for_status(process, psutil.STATUS_SLEEPING)
        yield process


def wait_for_status(process: psutil.Process, status: str) -> None:
    """Wait until a process has a status."""
    deadline = time.monotonic() + 20
    while process.status() != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def entries(process: psutil.Process, queue: int, status: str = "READY") -> list[dict[str, Any]]:
    """Return what the management API says of a version with one worker."""
    return [
        {
            "jobQueueStatus": {"pendingRequests": queue},
            "workers": [{"pid": process.pid, "status": status}, {"pid": -1, "status": "READY"}],
        }
    ]


def looks(process: psutil.Process, queue: int, **how: Any) -> list[bool]:
    """Look four times, half a second apart on its clock; tell each time whether it hangs."""
    hung = HungWorkers()
    found = []
    for i in range(4):
        found.append(bool(hung.look(entries(process, queue, **how), now_s=i / 2)))
        time.sleep(0.05)
    return found


def test_a_worker_that_sleeps_while_requests_wait_hangs() -> None:
    """After the third look that saw it use no CPU, and a second and a half; not when idle."""
    with sleeping() as process:
        assert looks(process, queue=3) == [False, False, False, True]
        assert looks(process, queue=0) == [False] * 4
        assert looks(process, queue=3, status="LOADING") == [False] * 4


def test_a_stopped_worker_hangs_whether_requests_wait_or_not() -> None:
    """Nobody stops a worker on purpose; what it had in hand waits."""
    with sleeping() as process:
        process.suspend()
        wait_for_status(process, psutil.STATUS_STOPPED)
        assert looks(process, queue=0) == [False, False, False, True]


def test_a_worker_that_works_does_not_hang() -> None:
    """It uses CPU, or waits for a core."""
    with running("while True: pass") as process:
        assert looks(process, queue=3) == [False] * 4


def test_a_pause_of_java_is_no_hang() -> None:
    """Two looks far apart are not enough: the workers had nothing to do in between."""
    with sleeping() as process:
        hung = HungWorkers()
        assert hung.look(entries(process, queue=3), now_s=0.0) == []
        assert hung.look(entries(process, queue=30), now_s=9.0) == []


def test_a_worker_that_is_gone_is_no_news() -> None:
    """TorchServe knows, and starts another."""
    with running("pass") as process:
        process.wait()
    assert HungWorkers().look(entries(process, queue=3), now_s=0.0) == []
