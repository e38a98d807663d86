"""What a start of the server is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts import front
from scripts.server.api import Ports
from scripts.server.hosts import Hosts


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What to serve, and where.

    Attributes:
        alias: Of the registry.
        store: Model store.
        from_store: The archive is the one noted there, and no registry is asked.
        ports: TorchServe's own.
        hosts: Interfaces that it listens on.
        workers: Processes that score.
        front: Settings of the front; None: without one.
        front_log: Where the front writes; None: where the supervisor does.
        health_host: Interface of /live and /ready.
        health_port: Their port; 0: none.
        drain_s: What accepted requests get at the end.
        debug: Show tracebacks of failures.
    """

    alias: str
    store: Path
    from_store: bool
    ports: Ports
    hosts: Hosts
    workers: int
    front: front.Settings | None
    front_log: Path | None
    health_host: str
    health_port: int
    drain_s: float
    debug: bool

    @property
    def front_port(self) -> int | None:
        """Where the front listens; None without one."""
        return int(self.front["FRONT_LISTEN"].rpartition(":")[2]) if self.front else None
