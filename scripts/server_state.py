"""
What this checkout's server is and whether it lives: one JSON file in `.state/`.

Written when TorchServe is started, removed when it is stopped; a file whose process is gone
counts as no server.
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

from scripts.server_api import Ports, describe
from training.tracking_uri import ROOT

# One server a folder; the tests have a folder of their own.
STATE_DIR: Final = Path(os.environ.get("IQA_STATE_DIR") or ROOT / ".state")
STATE_FILE: Final = STATE_DIR / "server.json"
LOG_DIR: Final = STATE_DIR / "logs"


@dataclass(frozen=True, kw_only=True)
class Server:
    """
    A TorchServe that was started from this checkout.

    Attributes:
        pid: Of the Java process.
        group: Its process group, which holds the workers as well.
        started_at: Of the Java process, seconds since 1970: process ids are used again.
        mar: The archive that it was started with.
        ports: Where it listens.
    """

    pid: int
    group: int
    started_at: float
    mar: str
    ports: Ports

    def process(self) -> psutil.Process | None:
        """Return the Java process, or None if it is gone."""
        try:
            process = psutil.Process(self.pid)
            is_ours = abs(process.create_time() - self.started_at) < 1.0
            return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


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


def write(server: Server) -> None:
    """Record a server."""
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    STATE_FILE.write_text(json.dumps(dataclasses.asdict(server), indent=2) + "\n")


def clear() -> None:
    """Forget the server."""
    STATE_FILE.unlink(missing_ok=True)


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
