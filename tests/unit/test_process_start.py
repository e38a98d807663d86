"""When a process started, and what a step of the system clock does to it: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.reliability import clock
from scripts.rollout import drain
from scripts.server import process_start
from scripts.server.state import StateDir

TELL = (
    "import os, time; from scripts.server import process_start\n"
    "while input():\n"
    "    print(time.time(), process_start.started_at_s(os.getpid()), process_start.now_s(),"
    " flush=True)\n"
)


def test_a_start_is_before_now_and_the_same_whenever_asked() -> None:
    """On one clock with the present; psutil tells the same date, as long as nobody sets it."""
    started_at_s = process_start.started_at_s(os.getpid())
    assert started_at_s == process_start.started_at_s(os.getpid())
    age_s = process_start.now_s() - started_at_s
    assert age_s == pytest.approx(time.time() - psutil.Process().create_time(), abs=1.5)


def test_a_later_process_started_later(tmp_path: Path) -> None:
    """A name with brackets and blanks, which the kernel does not escape, changes nothing."""
    link = tmp_path / "a) 1 (b"
    link.symlink_to("/bin/sleep")
    before_s = process_start.now_s()
    with subprocess.Popen([link, "60"]) as process:
        time.sleep(0.05)
        assert before_s - 0.02 <= process_start.started_at_s(process.pid) <= process_start.now_s()
        process.kill()


def test_a_process_that_is_gone_is_said_to_be() -> None:
    """As psutil says it, so callers need one `except`."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(psutil.NoSuchProcess):
        process_start.started_at_s(process.pid)


@pytest.mark.skipif(clock.why_not() is not None, reason="cc is not installed")
def test_a_step_of_the_clock_changes_nothing(tmp_path: Path) -> None:
    """An hour forth and back: the process is still the one on record."""
    stepped = clock.Clock(tmp_path / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", TELL],
        env={**os.environ, **stepped.environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        started_at_s = process_start.started_at_s(process.pid)
        for step_s in (3600, -3600):
            stepped.step(step_s)
            process.stdin.write("now\n")
            process.stdin.flush()
            told = [float(word) for word in process.stdout.readline().split()]
            assert told[0] == pytest.approx(time.time() + step_s, abs=5)  # it did move
            assert told[1] == started_at_s
            assert told[2] == pytest.approx(process_start.now_s(), abs=5)
        process.kill()


def test_a_drain_counts_for_the_server_it_found(tmp_path: Path) -> None:
    """One that started later is not drained, nor one after a reboot; a mark made by hand counts."""
    state = StateDir.at(tmp_path)
    assert not drain.is_draining(state)
    before_s = process_start.now_s()
    drain.mark(state)
    assert drain.is_draining(state)
    assert drain.is_draining(state, before_s)
    assert not drain.is_draining(state, process_start.now_s())
    (tmp_path / drain.DRAINING_FILE).write_text(f"another-boot {process_start.now_s() + 1000}\n")
    assert not drain.is_draining(state, before_s)
    (tmp_path / drain.DRAINING_FILE).write_text("")
    assert drain.is_draining(state, before_s)
