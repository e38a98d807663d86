"""
What this checkout's server and its supervisor are, and whether they live: two files in `.state/`.

Written at the start, removed at the stop; a file whose process is gone counts as none. There are
two because either process may be left alone: a supervisor outlives TorchServe's crash, TorchServe
its supervisor's.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import requests

from console.paths import ROOT
from scripts.server import process_start
from scripts.server.api import Ports, describe

# One server a folder; the tests have a folder of their own.
STATE_DIR: Final = Path(os.environ.get("IQA_STATE_DIR") or ROOT / ".state").absolute()
STATE_FILE: Final = STATE_DIR / "server.json"
SUPERVISOR_FILE: Final = STATE_DIR / "supervisor.json"
LOG_DIR: Final = Path(os.environ.get("LOG_LOCATION") or STATE_DIR / "logs").absolute()


@dataclass(frozen=True, kw_only=True)
class Server:
    """
    A TorchServe that was started from this checkout.

    Attributes:
        pid: Of the Java process.
        group: Its process group, which holds the workers as well.
        started_at_s: Of the Java process, see `process_start`: process ids are used again.
        mar: The archive that it was started with.
        ports: Where TorchServe itself listens, behind a front or not.
    """

    pid: int
    group: int
    started_at_s: float
    mar: str
    ports: Ports

    def process(self) -> psutil.Process | None:
        """Return the Java process, or None if it is gone."""
        return _process(self.pid, self.started_at_s)


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """
    The process that keeps TorchServe and the front running.

    Attributes:
        pid: Of the supervisor.
        started_at_s: Of the same.
        health_port: Where it answers /live and /ready; 0: nowhere.
        front_port: Of the front; None: requests go to TorchServe itself.
    """

    pid: int
    started_at_s: float
    health_port: int
    front_port: int | None

    def process(self) -> psutil.Process | None:
        """Return the supervisor's process, or None if it is gone."""
        return _process(self.pid, self.started_at_s)


def read() -> Server | None:
    """Return this checkout's server if it lives."""
    server = read_file()
    return server if server is not None and server.process() else None


def read_file() -> Server | None:
    """Return what is on record, whether it lives or not."""
    try:
        document = json.loads(STATE_FILE.read_text())
        return Server(**{**document, "ports": Ports(**document["ports"])})
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def read_supervision() -> Supervision | None:
    """Return this checkout's supervisor if it lives."""
    try:
        supervision = Supervision(**json.loads(SUPERVISOR_FILE.read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
    return supervision if supervision.process() else None


def write(server: Server) -> None:
    """Record a server."""
    _write(STATE_FILE, server)


def write_supervision(supervision: Supervision) -> None:
    """Record a supervisor."""
    _write(SUPERVISOR_FILE, supervision)


def clear() -> None:
    """Forget the server."""
    STATE_FILE.unlink(missing_ok=True)


def clear_supervision() -> None:
    """Forget the supervisor."""
    SUPERVISOR_FILE.unlink(missing_ok=True)


def serves(mar: Path) -> bool:
    """Tell whether this checkout's server has an archive loaded, in any version."""
    server = read()
    if server is None:
        return False
    if Path(server.mar).resolve() == mar.resolve():
        return True
    if Path(server.mar).resolve().parent != mar.resolve().parent:
        return False
    try:
        return any(
            entry["modelUrl"] == mar.name for entry in describe(server.ports.management, "all")
        )
    except requests.RequestException:
        return True  # alive and not answering: assume the worse


def _write(path: Path, record: Server | Supervision) -> None:
    """Replace a file at once: another process may read it at any moment."""
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n")
    os.replace(fresh, path)


def _process(pid: int, started_at_s: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        is_ours = process_start.started_at_s(pid) == started_at_s
        return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
