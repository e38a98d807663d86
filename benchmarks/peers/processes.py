"""
Start a server with everything that belongs to it, find that again, pause and end it.

A mark in the environment says what belongs to it: servers move their workers to other groups,
sessions and parents (TorchServe, BentoML), but the environment is inherited.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Final

import psutil

from scripts.server.process_end import wait_until_ended

MARK: Final = "IQA_BENCHMARK_MARK"
STOP_TIMEOUT_S: Final = 10.0


class MarkedProcesses:
    """
    A command that was started, and all that it started in turn.

    Args:
        command: Program and arguments.
        environment: All of it; the mark is added.
        folder: Where it runs; `output.log` in it takes what it prints.
    """

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self.log = folder / "output.log"
        self.started_at = time.time()
        with self.log.open("wb") as log:
            self._first = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the benchmark is the benchmark's to handle
            )

    @property
    def first(self) -> subprocess.Popen[bytes]:
        """The command itself."""
        return self._first

    def alive(self) -> list[psutil.Process]:
        """Return the processes that live, oldest first."""
        self._first.poll()  # else it stays a zombie
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self._mark:
                    found.append((process.create_time(), process.pid, process))
        return [process for _, _, process in sorted(found, key=lambda row: row[:2])]

    def pause(self) -> None:
        """Stop all from running, parents first: a parent must not see its children stopped."""
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def resume(self) -> None:
        """Let all run again, children first."""
        for process in reversed(self.alive()):
            with contextlib.suppress(psutil.Error):
                process.resume()

    def end(self) -> None:
        """End all: politely, then by force; return when none is left."""
        self.resume()  # a stopped process does not hear
        processes = self.alive()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        wait_until_ended(processes, STOP_TIMEOUT_S)
        while processes := self.alive():  # more than once: a supervisor may start another worker
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            wait_until_ended(processes, STOP_TIMEOUT_S)
        self._first.wait()

    def last_words(self) -> str:
        """Return the end of what it printed."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])


def plain_environment(**more: str) -> dict[str, str]:
    """
    Return this process's environment without what would change how a peer runs.

    Args:
        more: Added.
    """
    dropped = (
        "PYTHONPATH", "PYTHONSTARTUP", "TS_CONFIG_FILE", "OMP_NUM_THREADS", "WORKERS",
        "PREDICTION_LOG",
    )  # fmt: skip
    return {
        **{name: value for name, value in os.environ.items() if name not in dropped},
        "CUDA_VISIBLE_DEVICES": "",  # a benchmark of the CPU, whatever else the machine has
        **more,
    }
