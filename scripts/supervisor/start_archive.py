"""
Which archive TorchServe is started with, first and after a crash.

MLflow takes seconds to import and 200 MB to keep, so it is asked in a process of its own that ends
with the answer: the supervisor stays small.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from console import command_line
from scripts.archive import last_known_alias, mar_file
from scripts.rollout.deployment_records import Record, Records
from scripts.server.models import ServedModel
from scripts.supervisor.settings import Plan

logger = logging.getLogger(__name__)

POLL_S: Final = 0.05
NOTE_POLL_S: Final = 1.0
END_TIMEOUT_S: Final = 5.0
FAILED: Final = 1


@dataclass(frozen=True, kw_only=True)
class Served:
    """
    A version that answered unversioned requests, and the archive it was loaded from.

    Attributes:
        version: Version in the registry.
        mar: The archive.
        sha256: Digest of the archive at that time.
    """

    version: str
    mar: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """
    What a start is to load.

    Attributes:
        mars: {model name: archive}, at least one.
        refused: {model name: why there is none}; the others are served all the same.
    """

    mars: dict[str, Path]
    refused: dict[str, str] = field(default_factory=dict)


class Choice:
    """
    The archives that the aliases name, found (or built) by another process.

    Args:
        plan: Names models, aliases and store.
        method: How the process is made: "fork" is at once and only for a process without threads.
    """

    def __init__(self, plan: Plan, method: str) -> None:
        context = multiprocessing.get_context(method)
        self._receiver, sender = context.Pipe(duplex=False)
        # Typed by what all kinds of process share.
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]  # in each kind
            target=_choose, args=(plan, sender)
        )
        self._process.start()
        sender.close()

    def wait(self, stopping: threading.Event) -> Chosen:
        """
        Return the archives.

        Raises:
            KeyboardInterrupt: `stopping` was set before the answer came.
            SystemExit: There is none, or a name that the registry does not know; that process has
                said why.
            RuntimeError: That process was killed, and has not.
        """
        while not self._receiver.poll(POLL_S):
            if stopping.is_set():
                raise KeyboardInterrupt
        try:
            found: Chosen = self._receiver.recv()
            return found
        except EOFError:
            self._process.join()
            status = self._process.exitcode or FAILED
            if status < 0:
                raise RuntimeError(
                    "process that finds or builds the archive: expected its answer, got its end by "
                    f"signal {-status}. If memory was short, free some."
                ) from None
            raise SystemExit(status) from None

    def close(self) -> None:
        """End the process and its children if nobody waits for the answer."""
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Noted:
    """
    The archives that another process noted in the model store; waits for the first one.

    A model whose archive comes later is loaded by who made it: `deploy sync` in the side-car.

    Args:
        models: With their aliases.
        store: Model store.
    """

    def __init__(self, models: Sequence[ServedModel], store: Path) -> None:
        self._models, self._store = models, store

    def wait(self, stopping: threading.Event) -> Chosen:
        """
        Return the archives that are there.

        Raises:
            KeyboardInterrupt: `stopping` was set before there was one.
        """
        found = self._look()
        if not found.mars:
            names = ", ".join(f"'{model.name}@{model.alias}'" for model in self._models)
            logger.info("waiting for an archive of %s in %s", names, self._store)
        while not found.mars:
            if stopping.wait(NOTE_POLL_S):
                raise KeyboardInterrupt
            found = self._look()
        return found

    def _look(self) -> Chosen:
        mars: dict[str, Path] = {}
        refused: dict[str, str] = {}
        for model in self._models:
            mar = last_known_alias.read(model.name, model.alias, self._store)
            if mar is None:
                refused[model.name] = f"no archive of '{model.name}@{model.alias}' is noted yet"
            else:
                mars[model.name] = mar
        return Chosen(mars=mars, refused=refused)

    def close(self) -> None:
        """Nothing runs that would have to be ended."""


def after_a_crash(
    served: Served | None, started_with: Path | None, record: Record, store: Path
) -> list[Path]:
    """
    Return the archives of one model to start with again, the best first; MLflow is not asked.

    What was served when the server died, unless a rollback or a quarantine speaks against it; then
    what deployments have on record as good; then what the server was started with.

    Args:
        served: What was served when it was last looked at; None if that was never known.
        started_with: The model's archive at the start of the server that died; None: it had none.
        record: Record of the model's deployments.
        store: Model store.
    """
    chosen: list[Path] = []
    instead = record.instead_of(served.version) if served else None
    if instead is not None:
        good, _ = instead
        chosen += _unaltered(store / good.mar, good.sha256)
    elif served is not None:
        chosen += _unaltered(served.mar, served.sha256)
    current = record.current()
    if current is not None:
        chosen += _unaltered(store / current.mar, current.sha256)
    if started_with is not None and started_with.exists():
        version = mar_file.version_of(started_with)
        if record.quarantine is None or record.quarantine.version != version:
            chosen.append(started_with)
    return list(dict.fromkeys(chosen))


def _unaltered(mar: Path, sha256: str) -> list[Path]:
    try:
        return [mar] if mar_file.sha256_of(mar) == sha256 else []
    except OSError:
        return []


def _choose(plan: Plan, sender: Connection) -> None:
    """Send the archives' paths; the body of the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the supervisor sends TERM
    command_line.Interruption(signal.SIGTERM)  # so that what this one started ends with it

    def command() -> int:
        from scripts.supervisor.alias_archive import NoArchive, served_archive

        mars: dict[str, Path] = {}
        refused: dict[str, str] = {}
        try:
            for model in plan.models:
                records = Records(state=plan.state, model_name=model.name)
                try:
                    mars[model.name] = served_archive(model.name, model.alias, plan.store, records)
                except NoArchive as error:
                    if len(plan.models) == 1:
                        raise
                    refused[model.name] = str(error)
            if not mars:
                raise NoArchive(" ".join(refused.values()))
            sender.send(Chosen(mars=mars, refused=refused))
        except KeyboardInterrupt:
            os._exit(command_line.INTERRUPTED)  # the supervisor says it
        return 0

    status = command_line.run(command, plan.debug)
    if status:
        raise SystemExit(status)
