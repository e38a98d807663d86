"""
Give a running nginx another configuration without losing a request.

nginx starts a new process with the new configuration; the old one answers what it has and closes
connections that are idle. A client that sends its next request just then would be reset. So for a
second before, each answer says `Connection: close`, and clients leave.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import psutil

from scripts.nginx.program import nginx_command
from scripts.nginx.settings import CONFIG
from scripts.server.http_client import NotNow
from scripts.server.state import replace_text

LEAVING: Final = "leaving"
"""In FRONT_DIR: while this file is there, each answer closes its connection."""
LEAVING_S: Final = 1.0
RELOAD_S: Final = 10.0
POLL_S: Final = 0.02


class NoFront(NotNow):
    """There is no front whose requests could be split now."""


def reload(folder: Path, text: str) -> None:
    """
    Let the nginx of a folder go on with another configuration; return once it does.

    Requests under way end in the old process, within FRONT_DRAIN_S.

    Args:
        folder: FRONT_DIR.
        text: The whole configuration.

    Raises:
        NoFront: No nginx of this folder runs, or it does not take the configuration; then it goes
            on with the one it had.
    """
    master = _master(folder)
    fresh, config = folder / f"{CONFIG}.next", folder / CONFIG
    replace_text(fresh, text)
    tested = subprocess.run(
        [*nginx_command(master.exe(), fresh), "-t"], capture_output=True, text=True, check=False
    )
    if tested.returncode != 0:
        said = " ".join(tested.stderr.split())
        raise NoFront(f"front: expected nginx to take {fresh}, got: {said}")
    leaving = folder / LEAVING
    try:
        leaving.touch()
        time.sleep(LEAVING_S)
        before = master.children()
        os.replace(fresh, config)
        master.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + RELOAD_S
        # The old ones take requests until they are told to end, some 100 ms after the new ones do.
        while not (set(master.children()) - set(before) and all(map(_takes_no_more, before))):
            if time.monotonic() > deadline:
                raise NoFront("front: expected nginx to reload, got no new process. See its log.")
            time.sleep(POLL_S)
    except psutil.NoSuchProcess as error:
        raise NoFront("front: expected nginx to reload, got its end. See its log.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            leaving.unlink()


def _takes_no_more(worker: psutil.Process) -> bool:
    """Tell whether a process of nginx has ended, or only answers what it has."""
    try:
        return "shutting down" in " ".join(worker.cmdline())
    except psutil.Error:
        return True


def _master(folder: Path) -> psutil.Process:
    """Return nginx's first process; its number alone may by now be somebody else's."""
    try:
        master = psutil.Process(int((folder / "nginx.pid").read_text()))
        if str(folder) in " ".join(master.cmdline()):
            return master
    except (FileNotFoundError, ValueError, psutil.Error):
        pass
    raise NoFront("front: expected one that runs here, got none. See: run_torchserve.sh --status")
