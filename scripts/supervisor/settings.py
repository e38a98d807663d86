"""The settings of a server's start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.nginx.settings import Settings
from scripts.server.addresses import Hosts, Ports
from scripts.server.models import ServedModel
from scripts.server.state import StateDir
from scripts.supervisor.gateway import WebSettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What to serve, and where.

    Attributes:
        models: What is served, one or several models, each with its number of workers.
        store: Model store.
        state: Where the server may write.
        from_store: The archives are those noted there, and no registry is asked.
        ports: TorchServe's own.
        hosts: Interfaces that it listens on.
        front: Settings of the front; None: without one.
        front_log: Where the front writes; None: where the supervisor does.
        web: Settings of the gateway behind the front; None: without one.
        web_log: Where the gateway writes; None: where the supervisor does.
        health_host: Interface of /live and /ready.
        health_port: Their port; 0: none.
        drain_s: What accepted requests get at the end.
        prediction_log: Folder of the log of answers; None: there is none.
        debug: Show tracebacks of failures.
    """

    models: tuple[ServedModel, ...]
    store: Path
    state: StateDir
    from_store: bool
    ports: Ports
    hosts: Hosts
    front: Settings | None
    front_log: Path | None
    web: WebSettings | None
    web_log: Path | None
    health_host: str
    health_port: int
    drain_s: float
    prediction_log: Path | None
    debug: bool

    @property
    def workers(self) -> dict[str, int]:
        """Processes that score, by model."""
        return {model.name: model.workers or 1 for model in self.models}

    @property
    def front_port(self) -> int | None:
        """Where the front listens; None without one."""
        return int(self.front["FRONT_LISTEN"].rpartition(":")[2]) if self.front else None
