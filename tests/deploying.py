"""For the tests of deployments: commands that can be killed, and load."""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import requests

SURPLUS = ("expired", "overloaded")
"""What a machine that does other work as well may refuse of so little."""
DEPLOY = "scripts.deploy"
WAIT_S = 150.0  # a build on a machine that does other work as well


def wait_for(condition: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> float:
    """Wait until something is true; return how many seconds that took."""
    begin_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begin_s < wait_s, f"{what}: not within {wait_s} s"
        time.sleep(0.02)
    return time.monotonic() - begin_s


@dataclass(frozen=True, kw_only=True)
class Trap:
    """
    Where a command stops: at the first line of its log that holds `words`.

    Attributes:
        words: Of one step.
        delay_s: SIGKILL so much later; None: it pauses until `folder`/go is there.
        folder: Where `paused` is made.
    """

    words: str
    delay_s: float | None = None
    folder: Path | None = None


class _Trapped(logging.Handler):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self.trap = trap

    def emit(self, record: logging.LogRecord) -> None:
        if self.trap.words not in record.getMessage():
            return
        if self.trap.delay_s == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trap.delay_s is not None:
            kill = threading.Timer(self.trap.delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            kill.daemon = True
            kill.start()
            return
        assert self.trap.folder is not None
        (self.trap.folder / "paused").touch()
        while not (self.trap.folder / "go").exists():
            time.sleep(0.01)


def _run(
    program: str,
    argv: list[str],
    environment: dict[str, str],
    told: str,
    said: str,
    trap: Trap | None,
    max_bytes: int | None,
) -> None:
    """Run one command; called in the process that was forked for it."""
    # The fork server, one for all files of tests, keeps the environment of its start.
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in ((1, told), (2, said)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if trap is not None:
        logging.getLogger("scripts").addHandler(_Trapped(trap))
    if max_bytes is not None:  # what a full disk does, to this process and those it starts
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    sys.exit(importlib.import_module(program).main(argv))


class Command:
    """One command that runs or ran."""

    def __init__(self, process: ForkServerProcess, told: Path, said: Path) -> None:
        self._process, self._told, self._said = process, told, said

    @property
    def out(self) -> str:
        """What it printed."""
        return self._told.read_text() if self._told.exists() else ""

    @property
    def err(self) -> str:
        """What it logged."""
        return self._said.read_text() if self._said.exists() else ""

    def wait(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        self._process.join(WAIT_S)
        assert self._process.exitcode is not None, self.err
        return self._process.exitcode

    def terminate(self) -> int:
        """End it by TERM."""
        self._process.terminate()
        return self.wait()


class Deployer:
    """
    Runs `scripts.deploy`, or another command, in processes of their own.

    They are forked from one that has MLflow imported: that alone takes seconds.

    Args:
        folder: For what they print.
        environment: Of the server; it is in force for all of them.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._count = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            [
                "scripts.deploy",
                "scripts.rollout.follow_alias",
                "scripts.rollout.rollback",
                "scripts.rollout.sync",
                "scripts.set_alias",
            ]
        )
        # Now, without the environment of a server: it is there for other files, when that is gone.
        forkserver.ensure_running()
        os.environ.update(environment)
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

    def start(
        self,
        *argv: str,
        program: str = DEPLOY,
        trap: Trap | None = None,
        max_bytes: int | None = None,
    ) -> Command:
        """Start a command, `scripts.deploy` with short times to wait."""
        self._count += 1
        told, said = (self._folder / f"{self._count}.{kind}" for kind in ("out", "err"))
        arguments = [*argv]
        if program == DEPLOY and "--longest-request-s" not in argv:
            arguments += ["--longest-request-s", "0.5"]
        if argv[0] == "sync" and "--watch-s" not in argv:
            arguments += ["--watch-s", "0.5"]
        process = self._context.Process(
            target=_run,
            args=(program, arguments, dict(os.environ), str(told), str(said), trap, max_bytes),
            daemon=True,
        )
        process.start()
        return Command(process, told, said)

    def run(self, *argv: str, expected: int = 0, **how: Any) -> Command:
        """Run a command to its end and check its exit status."""
        command = self.start(*argv, **how)
        status = command.wait()
        assert status == expected, f"{argv}: exit status {status}\n{command.out}\n{command.err}"
        return command

    def status(self) -> dict[str, Any]:
        """Return `status --json`."""
        command = self.start("status", "--json")
        command.wait()
        document: dict[str, Any] = json.loads(command.out)
        return document


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    One request of the load.

    Attributes:
        sent_s: On the monotonic clock.
        answered_s: The same.
        status: HTTP's, or 0 where no answer came.
        version: That answered, or what went wrong.
    """

    sent_s: float
    answered_s: float
    status: int
    version: str


class Load:
    """Sends pictures at a constant rate, whether answers come or not."""

    def __init__(self, url: str, picture: bytes, per_s: float) -> None:
        self._url, self._picture, self._per_s = url, picture, per_s
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(64)
        self._sent: list[Future[Answer]] = []
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Load:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End, once all are answered."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True)

    def answers(self) -> list[Answer]:
        """Return all answers so far, as they were sent."""
        return [future.result() for future in list(self._sent) if future.done()]

    def expect_nothing_lost(self) -> None:
        """Check that each was scored, or refused as surplus of a machine that does other work."""
        others = [answer.version for answer in self.answers() if answer.status != 200]
        surplus = [f'"reason": "{reason}"' for reason in SURPLUS]
        assert [text for text in others if not any(reason in text for reason in surplus)] == []
        assert len(self.answers()) > 2 * len(others)

    def _send(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(max(0.0, next_s - time.monotonic())):
            self._sent.append(self._pool.submit(self._ask))
            next_s += 1 / self._per_s

    def _ask(self) -> Answer:
        sent_s = time.monotonic()
        try:
            reply = requests.post(self._url, data=self._picture, timeout=30)
            version = reply.json()["model"]["version"] if reply.ok else reply.text
            status = reply.status_code
        except requests.RequestException as error:
            status, version = 0, repr(error)
        return Answer(sent_s=sent_s, answered_s=time.monotonic(), status=status, version=version)
