"""
What a server leaves on disk, in one folder: which processes run, locks, logs, records.

`server.json` and `supervisor.json` are written at the start and removed at the stop; a file whose
process is gone is ignored. There are two, because the supervisor outlives a crash of TorchServe,
and TorchServe a crash of its supervisor.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from console.paths import ROOT
from scripts.server import process_start
from scripts.server.addresses import Addresses, Ports
from scripts.server.client import TorchServe
from scripts.server.http_client import LOOK_TIMEOUT_S, NotNow
from scripts.server.models import ServedModel
from scripts.server.process_end import has_ended


@dataclass(frozen=True, kw_only=True)
class Server:
    """
    A TorchServe that was started from this checkout.

    Attributes:
        pid: Id of the Java process.
        group: Its process group, which holds the workers as well.
        started_at_s: Start of the Java process, see `process_start`: process ids are used again.
        mars: {model name: the archive that it was started with}.
        ports: Where TorchServe itself listens, behind a front or not.
        wanted: All models that it should serve, loaded or not; empty: those of `mars`.
        refused: {model name: why it was not loaded at the start}.
    """

    pid: int
    group: int
    started_at_s: float
    mars: dict[str, str]
    ports: Ports
    wanted: tuple[ServedModel, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    def process(self) -> psutil.Process | None:
        """Return the Java process, or None if it is gone."""
        return _process(self.pid, self.started_at_s)

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        return Addresses.on_this_machine(self.ports)

    @property
    def store(self) -> Path:
        """The model store: the folder of its archives."""
        return Path(next(iter(self.mars.values()))).parent

    @property
    def names(self) -> list[str]:
        """The models that it should serve."""
        return [model.name for model in self.wanted] or list(self.mars)

    def models(self) -> list[TorchServe]:
        """Return a client for each model that it should serve."""
        return [TorchServe(self.addresses, name) for name in self.names]

    def entries(self) -> list[dict[str, Any]]:
        """
        Return what TorchServe says of all versions of all models.

        Raises:
            NotNow: No answer.
        """
        return [entry for model in self.models() for entry in model.entries("/all", LOOK_TIMEOUT_S)]


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """
    The process that keeps TorchServe and the front running.

    Attributes:
        pid: Id of the supervisor's process.
        started_at_s: Start of that process.
        health_port: Where it answers /live and /ready; 0: nowhere.
        front_port: Port of the front; None: requests go to TorchServe itself.
    """

    pid: int
    started_at_s: float
    health_port: int
    front_port: int | None

    def process(self) -> psutil.Process | None:
        """Return the supervisor's process, or None if it is gone."""
        return _process(self.pid, self.started_at_s)


@dataclass(frozen=True, kw_only=True)
class StateDir:
    """
    The folder of one server's state: one server a folder.

    Attributes:
        path: The folder; made when something is written.
        log_dir: Where the logs go.
    """

    path: Path
    log_dir: Path

    @classmethod
    def at(cls, path: Path) -> StateDir:
        """Return a folder with its logs inside."""
        return cls(path=path.absolute(), log_dir=path.absolute() / "logs")

    @classmethod
    def from_environment(cls) -> StateDir:
        """Return IQA_STATE_DIR, or `.state` of this checkout; logs go to LOG_LOCATION if set."""
        state = cls.at(Path(os.environ.get("IQA_STATE_DIR") or ROOT / ".state"))
        logs = os.environ.get("LOG_LOCATION")
        return dataclasses.replace(state, log_dir=Path(logs).absolute()) if logs else state

    @property
    def temporary(self) -> Path:
        """TorchServe's temporary folder, where it unpacks archives."""
        return self.path / "tmp"

    @property
    def front(self) -> Path:
        """The front's folder."""
        return self.path / "front"

    @property
    def model_log(self) -> Path:
        """What the workers of all models print."""
        return self.log_dir / "model_log.log"

    @property
    def console_log(self) -> Path:
        """What TorchServe itself prints."""
        return self.log_dir / "torchserve.log"

    def server(self) -> Server | None:
        """Return the server if it lives."""
        server = self.server_on_record()
        return server if server is not None and server.process() else None

    def server_on_record(self) -> Server | None:
        """Return what is on record, whether it lives or not."""
        try:
            document = json.loads(self._server_file.read_text())
            if "mar" in document:  # written before a server could have several models
                document["mars"] = {"iqa": document.pop("mar")}
            wanted = tuple(ServedModel(**model) for model in document.pop("wanted", []))
            ports = Ports(**document.pop("ports"))
            return Server(**document, ports=ports, wanted=wanted)
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None

    def supervision(self) -> Supervision | None:
        """Return the supervisor if it lives."""
        supervision = self.supervision_on_record()
        return supervision if supervision is not None and supervision.process() else None

    def supervision_on_record(self) -> Supervision | None:
        """Return the supervisor on record, whether it lives or not: its front may outlive it."""
        try:
            return Supervision(**json.loads(self._supervisor_file.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def record_server(self, server: Server) -> None:
        """Record a server."""
        self._write(self._server_file, server)

    def record_supervision(self, supervision: Supervision) -> None:
        """Record a supervisor."""
        self._write(self._supervisor_file, supervision)

    def forget_server(self) -> None:
        """Forget the server."""
        self._server_file.unlink(missing_ok=True)

    def forget_supervision(self) -> None:
        """Forget the supervisor."""
        self._supervisor_file.unlink(missing_ok=True)

    def serves(self, mar: Path) -> bool:
        """Tell whether the server of this folder has an archive loaded, in any version."""
        server = self.server()
        if server is None:
            return False
        if any(Path(known).resolve() == mar.resolve() for known in server.mars.values()):
            return True
        if server.store.resolve() != mar.resolve().parent:
            return False
        try:
            return any(entry["modelUrl"] == mar.name for entry in server.entries())
        except NotNow:
            return True  # alive and not answering: assume the worse

    def expect_unserved(self, mar: Path, refusal: type[Exception]) -> None:
        """Raise the refusal where `serves` is true."""
        if self.serves(mar):
            raise refusal(
                f"{mar}: expected an archive that no server serves, got one in use. "
                "Stop it first: scripts/run_torchserve.sh --stop"
            )

    @property
    def _server_file(self) -> Path:
        return self.path / "server.json"

    @property
    def _supervisor_file(self) -> Path:
        return self.path / "supervisor.json"

    def _write(self, path: Path, record: Server | Supervision) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(dataclasses.asdict(record), indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """
    Replace a file at once: another process may read it at any moment.

    Raises:
        OSError: It cannot be written, e.g. with a full disk; the old one is whole.
    """
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _process(pid: int, started_at_s: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        is_ours = process_start.started_at_s(pid) == started_at_s
        return process if is_ours and not has_ended(process) else None
    except psutil.NoSuchProcess:
        return None
