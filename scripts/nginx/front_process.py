"""The front as a process: start nginx, hold and release requests, stop it without loss."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import psutil

from scripts.nginx.program import nginx_command, nginx_program
from scripts.nginx.reload import LEAVING
from scripts.nginx.settings import (
    CONFIG,
    GATEWAY_SOCKET,
    MAX_CONNECTIONS,
    SPARE_FILES,
    Settings,
    render,
)
from scripts.nginx.split import SETTINGS, SplitFront
from scripts.server.process_end import wait_until_ended
from scripts.server.state import replace_text

logger = logging.getLogger(__name__)

REFUSING_S: Final = 1.0
"""How long a kept-alive connection's next request may take to arrive and be refused."""
POLL_S: Final = 0.02


class Front:
    """
    One nginx, started here.

    Args:
        settings: See `render`; FRONT_DIR is made.
        log: Where it writes; None: where this process does.

    Raises:
        FileNotFoundError: There is no nginx.
        ValueError: nginx refuses the configuration.
        RuntimeError: It does not start.
    """

    def __init__(self, settings: Settings, log: Path | None = None) -> None:
        nginx = nginx_program()
        folder = Path(settings["FRONT_DIR"])
        folder.mkdir(parents=True, exist_ok=True)
        stop_left_over(folder)
        self._stopping, self._down = folder / "stopping", folder / "down"
        for mark in (self._stopping, self._down, folder / GATEWAY_SOCKET, folder / LEAVING):
            mark.unlink(missing_ok=True)
        self._drain_s = float(settings["FRONT_DRAIN_S"])
        SplitFront(folder).forget()
        replace_text(folder / SETTINGS, json.dumps(settings) + "\n")
        config = folder / CONFIG
        config.write_text(render(settings))
        command = nginx_command(nginx, config)
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        if tested.returncode != 0:
            said = tested.stderr.strip().splitlines()
            raise ValueError(f"front: expected nginx to take {config}, got: {' '.join(said)}")
        _raise_file_limit()
        with contextlib.ExitStack() as stack:
            out: IO[str] | None = stack.enter_context(log.open("a")) if log else None
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if out else None,
                start_new_session=True,  # Ctrl-C is ours to handle, and the group ends as a whole
            )
        self._folder = folder
        deadline, pid_file = time.monotonic() + 5.0, folder / "nginx.pid"
        while not (pid_file.exists() and pid_file.stat().st_size):  # made, then written
            if not self.is_alive() or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("front: expected nginx to start, got its end. See its log.")
            time.sleep(0.01)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def hold(self) -> None:
        """
        Refuse requests as `unavailable` until `release`: TorchServe is being started.

        Between its first open port and its first model it would answer 404.
        """
        self._down.touch()

    def release(self) -> None:
        """Pass requests on again."""
        self._down.unlink(missing_ok=True)

    def take_back_abandoned_split(self) -> None:
        """Let all requests go to the default version where a deploy tool died that split them."""
        owner = SplitFront(self._folder).take_back_if_abandoned()
        if owner is not None:
            logger.warning(
                "front: process %d is gone and left %s; all requests go to the default version. "
                "The next sync decides anew", owner.pid, owner.split,
            )  # fmt: skip

    def stop(self, hurry: threading.Event, before: Callable[[], None] | None = None) -> bool:
        """
        Refuse new requests, answer the accepted ones, end.

        For a second new requests get 503 with `Connection: close`, so that clients leave; only
        then the port is closed: a request that arrives on a connection while nginx closes it
        would be reset.

        Args:
            hurry: Set where the accepted ones are to be given up.
            before: Called once new ones are refused: let those end that ask the front in turn.

        Returns:
            Whether all accepted requests were answered, in FRONT_DRAIN_S at most.
        """
        self._stopping.touch()
        hurry.wait(REFUSING_S)
        if before is not None:
            before()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + self._drain_s + 2.0
        while self.is_alive() and not hurry.wait(POLL_S) and time.monotonic() < deadline:
            pass
        has_ended = not self.is_alive()
        self.kill()
        return has_ended

    def kill(self) -> None:
        """End what is left of it at once."""
        _kill_group(self._process.pid)
        self._process.wait()
        for left in ("nginx.pid", "stopping", "down", GATEWAY_SOCKET, LEAVING):
            (self._folder / left).unlink(missing_ok=True)
        SplitFront(self._folder).forget()


def stop_left_over(folder: Path) -> bool:
    """End an nginx of this folder whose supervisor is gone; return whether there was one."""
    pid_file = folder / "nginx.pid"
    try:
        group = int(pid_file.read_text())
    except (OSError, ValueError):
        return False
    was_there = _kill_group(group)
    pid_file.unlink(missing_ok=True)
    return was_there


def _kill_group(group: int) -> bool:
    """End nginx's processes of a group; its number may by now be somebody else's."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == group and process.name() == "nginx":
                process.kill()
                members.append(process)
    wait_until_ended(members, 5.0)
    return bool(members)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
