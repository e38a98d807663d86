"""A lock file: who holds it is said, and it ends with its process and no sooner."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from scripts.server import file_lock, start_lock
from scripts.server.state import StateDir


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A lock in a folder that is not there yet."""
    return tmp_path / "state" / "a.lock"


def _hold(path: Path, pipe: Connection, hold_s: float) -> None:
    with file_lock.locked(path, 0.0, "a test"):
        pipe.send("held")
        time.sleep(hold_s)


def _start(path: Path, hold_s: float) -> BaseProcess:
    """Start a process that holds the lock; return once it does."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_hold, args=(path, theirs, hold_s))
    process.start()
    assert ours.recv() == "held"
    return process


@pytest.fixture
def holder(path: Path) -> Iterator[BaseProcess]:
    """A process that holds the lock until it is ended."""
    process = _start(path, hold_s=60.0)
    yield process
    process.kill()
    process.join()


def test_who_waits_says_for_whom_and_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The message names the process; the end of it lets the next one in."""
    process = _start(path, hold_s=1.0)
    with caplog.at_level(logging.INFO), file_lock.locked(path, 30.0, "another test"):
        assert path.read_text() == str(os.getpid())
    process.join()
    assert f"waiting for another test, process {process.pid}" in caplog.text


def test_a_lock_ends_with_its_process_however_that_ends(path: Path, holder: BaseProcess) -> None:
    """Held, it refuses and is told of; after SIGKILL it is free, though the file is there."""
    assert file_lock.holder_of(path) == holder.pid
    with (
        pytest.raises(
            TimeoutError, match=f"a test: expected it to end within 0 s, got process {holder.pid}"
        ),
        file_lock.locked(path, 0.0, "a test"),
    ):
        raise AssertionError("not reached")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    file_lock.wait_until_free(path)
    assert file_lock.holder_of(path) is None
    with file_lock.locked(path, 0.0, "a test"):
        assert path.read_text() == str(os.getpid())


def test_a_forked_process_keeps_the_lock_when_its_parent_is_killed(path: Path) -> None:
    """As a start that goes on behind does: the caller takes the lock, the process behind has it."""
    ours, theirs = multiprocessing.Pipe()

    def take_and_fork() -> None:
        with file_lock.locked(path, 0.0, "a test"):
            if os.fork() == 0:
                theirs.send(os.getpid())
                time.sleep(60)
                os._exit(0)
            time.sleep(60)

    caller = multiprocessing.get_context("fork").Process(target=take_and_fork)
    caller.start()
    behind = ours.recv()
    caller.kill()
    caller.join()
    assert file_lock.holder_of(path) is not None
    os.kill(behind, signal.SIGKILL)
    file_lock.wait_until_free(path)
    assert file_lock.holder_of(path) is None


def test_a_full_disk_does_not_take_the_lock_away(path: Path) -> None:
    """The name does not fit into the file; held and given back it is all the same."""
    no_bytes = (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1])

    def hold() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, no_bytes)
        with file_lock.locked(path, 0.0, "a test"):
            held = file_lock.holder_of(path)
        os._exit(0 if held == 0 and file_lock.holder_of(path) is None else 1)

    process = multiprocessing.get_context("fork").Process(target=hold)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_nobody_holds_a_lock_that_was_never_made(path: Path) -> None:
    """Asking makes no file."""
    assert file_lock.holder_of(path) is None
    assert not path.exists()


def test_a_start_under_way_refuses_another_one_and_can_be_ended(
    path: Path, holder: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start says so at once; `--stop` ends the first and waits for its end."""
    monkeypatch.setattr(start_lock, "LOCK_FILE", path.name)
    state = StateDir.at(path.parent)
    with (
        pytest.raises(RuntimeError, match="another start is under way in this checkout"),
        start_lock.one_start_at_a_time(state),
    ):
        raise AssertionError("not reached")
    assert start_lock.interrupt_start(state) == holder.pid
    assert start_lock.interrupt_start(state) is None
    with start_lock.one_start_at_a_time(state):
        assert path.read_text() == str(os.getpid())
