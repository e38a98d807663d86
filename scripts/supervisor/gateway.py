"""
The gateway as a process: the API with forms, batches and `/docs`, and the page (`web/`).

It is no part of what makes the server ready: where it does not start, scores are had all the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from console.paths import ROOT
from scripts.server import process_start
from scripts.server.addresses import LOOPBACK
from scripts.server.process_end import wait_until_ended
from scripts.server.state import replace_text

logger = logging.getLogger(__name__)

RECORD: Final = "web.json"
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 10.0
"""One that ran for so long starts the pauses anew."""
IDLE_S: Final = 75
"""It closes a connection that is not used later than nginx does, after 60 s."""
END_S: Final = 5.0
POLL_S: Final = 0.02
ANSWERS_S: Final = 10.0
"""How long the words of a start wait for it; on an idle machine it is there before TorchServe."""


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """
    What the gateway is told.

    Attributes:
        port: On loopback; the front passes its paths on to it.
        inference_url: Of the front's door for it.
        ready_url: Of the supervisor; empty: nobody can say.
        models: NAME@ALIAS,... as `web/settings.py` reads them.
    """

    port: int
    inference_url: str
    ready_url: str
    models: str


class Gateway:
    """
    One uvicorn, started again when it dies.

    Args:
        settings: See there.
        folder: Where its process is put on record.
        drain_s: What accepted requests get at the end.
        log: Where it writes; None: where this process does.
    """

    def __init__(
        self, settings: WebSettings, folder: Path, drain_s: float, log: Path | None
    ) -> None:
        self._settings, self._folder, self._log = settings, folder, log
        self._drain_s = drain_s
        self._process: subprocess.Popen[bytes] | None = None
        self._pause_s = FIRST_PAUSE_S
        self._began_at_s = self._due_at_s = time.monotonic()

    def watch(self) -> None:
        """Start it where it does not run and is due; called again and again, and never waits."""
        now_s = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                return
            logger.warning("gateway: it ended by itself; starting it again")
            self._process = None
            if now_s - self._began_at_s > STEADY_S:
                self._pause_s = FIRST_PAUSE_S
            self._due_at_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        if now_s >= self._due_at_s:
            self.start()

    def start(self) -> None:
        """Start it; that it cannot be started is told, and no error."""
        settings, now_s = self._settings, time.monotonic()
        self._began_at_s, self._due_at_s = now_s, now_s + self._pause_s
        command = [
            sys.executable, "-m", "uvicorn", "web.api:app",
            "--host", LOOPBACK, "--port", str(settings.port),
            "--no-access-log", "--log-level", "warning", "--no-server-header",
            "--backlog", "4096", "--timeout-keep-alive", str(IDLE_S),
            "--timeout-graceful-shutdown", f"{max(self._drain_s, 1):.0f}",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "WEB_INFERENCE_URL": settings.inference_url,
            "WEB_READY_URL": settings.ready_url,
            "MODELS": settings.models,
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._log is not None:  # TorchServe's start makes the folder, and may come later
                self._log.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                out: IO[str] | None = (
                    stack.enter_context(self._log.open("a")) if self._log else None
                )
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT if out else None,
                    start_new_session=True,  # Ctrl-C is the supervisor's to handle
                )
            pid = self._process.pid
            record = {"pid": pid, "started_at_s": process_start.started_at_s(pid)}
            replace_text(self._folder / RECORD, json.dumps(record) + "\n")
        except OSError as error:  # a full disk, too, where it may run without being on record
            logger.warning("gateway: %s", error)

    def wait(self, hurry: threading.Event, limit_s: float = ANSWERS_S) -> None:
        """Wait until it takes connections, so that an address that is told answers."""
        deadline = time.monotonic() + limit_s
        while self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((LOOPBACK, self._settings.port), timeout=1).close()
                return
            if time.monotonic() > deadline or hurry.wait(POLL_S):
                break
        logger.warning("gateway: it does not answer yet; scores are had all the same")

    def stop(self, hurry: threading.Event) -> None:
        """Let it answer what it has accepted, then end it; at once where `hurry` is set."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + self._drain_s + 1.0
            while process.poll() is None and time.monotonic() < deadline:
                if hurry.wait(POLL_S):
                    break
            if process.poll() is None:
                process.kill()
                process.wait()
        self._process = None
        (self._folder / RECORD).unlink(missing_ok=True)


def stop_left_over(folder: Path) -> None:
    """End a gateway whose supervisor is gone: it would hold the port."""
    try:
        record = json.loads((folder / RECORD).read_text())
        process = psutil.Process(int(record["pid"]))
        if process_start.started_at_s(process.pid) == record["started_at_s"]:
            process.kill()
            wait_until_ended([process], END_S)
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    (folder / RECORD).unlink(missing_ok=True)
