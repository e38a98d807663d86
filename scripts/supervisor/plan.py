"""What a start of the server is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.nginx.settings import Settings
from scripts.server.addresses import Hosts, Ports
from scripts.server.state import StateDir
from scripts.supervisor.gateway import WebSettings

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What stands in an address, in a file's name and in a label of Prometheus alike."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A registered model, and the alias whose version is served."""

    name: str
    alias: str

    @classmethod
    def parse(cls, text: str, alias: str) -> ServedModel:
        """
        Return NAME or NAME@ALIAS as a model; without an alias of its own it gets `alias`.

        Raises:
            ValueError: The name cannot stand in an address.
        """
        name, _, own_alias = text.partition("@")
        if not MODEL_NAME.fullmatch(name):
            raise ValueError(
                f"model name: expected letters, digits, `_`, `.` and `-`, got {name!r}. "
                "Register the model under such a name."
            )
        return cls(name=name, alias=own_alias or alias)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What to serve, and where.

    Attributes:
        models: What is served, one or several models.
        store: Model store.
        state: Where the server may write.
        from_store: The archives are those noted there, and no registry is asked.
        ports: TorchServe's own.
        hosts: Interfaces that it listens on.
        workers: Processes that score.
        front: Settings of the front; None: without one.
        front_log: Where the front writes; None: where the supervisor does.
        web: Settings of the gateway behind the front; None: without one.
        web_log: Where the gateway writes; None: where the supervisor does.
        health_host: Interface of /live and /ready.
        health_port: Their port; 0: none.
        drain_s: What accepted requests get at the end.
        debug: Show tracebacks of failures.
    """

    models: tuple[ServedModel, ...]
    store: Path
    state: StateDir
    from_store: bool
    ports: Ports
    hosts: Hosts
    workers: int
    front: Settings | None
    front_log: Path | None
    web: WebSettings | None
    web_log: Path | None
    health_host: str
    health_port: int
    drain_s: float
    debug: bool

    @property
    def front_port(self) -> int | None:
        """Where the front listens; None without one."""
        return int(self.front["FRONT_LISTEN"].rpartition(":")[2]) if self.front else None
