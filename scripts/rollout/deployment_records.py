"""
What deployments of one model leave on record, and the locks that keep them apart.

The record is one JSON file, replaced by a rename, so a process that is killed leaves the old one
or the new one. It holds what neither MLflow nor TorchServe remembers: which versions were good,
which one failed and why, and a rollback that the registry does not know of yet.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.server.file_lock import holder_of, locked
from scripts.server.state import StateDir, replace_text

logger = logging.getLogger(__name__)

FOLDER: Final = "rollouts"
OLD_FILE: Final = "deployment.json"
"""Where the record of the model `iqa` was before a server could have several models."""
KEPT_GOOD: Final = 10
"""How many versions back rollbacks can go."""
SYNC_WAIT_S: Final = 600.0
"""Longer than any sync: a build, a load, the watch and a drain."""


@dataclass(frozen=True, kw_only=True)
class Good:
    """A version that passed all checks while it was served; its archive by name and SHA-256."""

    version: str
    mar: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Hold:
    """
    A rollback that MLflow has not been told yet.

    Attributes:
        version: The version to serve, whatever the alias names.
        alias_version: What the alias named at the rollback; None if that was not known.
        reason: Why it holds.
        since_s: Seconds since 1970.
    """

    version: str
    alias_version: str | None
    reason: str
    since_s: float


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """A version that failed, why, and since when (seconds since 1970)."""

    version: str
    reason: str
    since_s: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """
    A version that some requests go to, or copies of them, beside the one that is served.

    Attributes:
        kind: `canary` or `shadow`.
        version: The candidate.
        share: Of the requests, in percent.
        step: Number of the step, from 1.
        steps: How many there are.
        since_s: When the step began, seconds since 1970.
    """

    kind: str
    version: str
    share: float
    step: int
    steps: int
    since_s: float


@dataclass(kw_only=True)
class Record:
    """
    All that is remembered of one model on one server.

    Attributes:
        alias_version: What the alias named when it was last asked.
        good: Served with success, oldest first; the last one is what should be served now.
        hold: See `Hold`.
        quarantine: See `Quarantine`; lifted when the alias moves or by --retry.
        retired_at_s: {version: since when it neither serves nor is kept}, on the system's
            monotonic clock: a clock that is set must not cut a drain short.
        no_standby: A version before the current one that could not be kept loaded.
        last_error: Why the last sync failed; None if it succeeded.
        trial: See `Trial`; what a process that died left here has no effect.
    """

    alias_version: str | None = None
    good: list[Good] = field(default_factory=list)
    hold: Hold | None = None
    quarantine: Quarantine | None = None
    retired_at_s: dict[str, float] = field(default_factory=dict)
    no_standby: str | None = None
    last_error: str | None = None
    trial: Trial | None = None

    def current(self) -> Good | None:
        """Return the version that this record says should be served."""
        return self.good[-1] if self.good else None

    def before(self, version: str | None) -> Good | None:
        """Return the last good version that is another one than `version`."""
        return next((good for good in reversed(self.good) if good.version != version), None)

    def add_good(self, new: Good) -> None:
        """Put a version at the end of the good ones; each stands there once."""
        others = [good for good in self.good if good.version != new.version]
        self.good = [*others, new][-KEPT_GOOD:]

    def previous(self) -> Good | None:
        """Return the good version before the current one: where a rollback leads."""
        current = self.current()
        return self.before(current.version) if current else None

    def find(self, version: str) -> Good | None:
        """Return a good version by its number."""
        return next((good for good in self.good if good.version == version), None)

    def instead_of(self, alias_version: str) -> tuple[Good, str] | None:
        """Return the version to serve in place of the alias's, and why; None: serve the alias's."""
        if self.hold is not None and self.hold.alias_version in (None, alias_version):
            good, reason = self.find(self.hold.version), f"held: {self.hold.reason}"
        elif self.quarantine is not None and self.quarantine.version == alias_version:
            good, reason = self.before(alias_version), f"quarantined: {self.quarantine.reason}"
        else:
            return None
        return None if good is None or good.version == alias_version else (good, reason)

    def refuse(self, version: str, reason: str) -> None:
        """Put a version in quarantine; it counts as good no longer."""
        self.quarantine = Quarantine(version=version, reason=reason, since_s=time.time())
        self.good = [good for good in self.good if good.version != version]
        if self.hold is not None and self.hold.version == version:
            self.hold = None

    def go_back_to(self, version: str) -> None:
        """Forget the good versions after this one: a rollback found them not good."""
        versions = [good.version for good in self.good]
        self.good = self.good[: versions.index(version) + 1]


def now_s() -> float:
    """Return seconds on a clock that all processes of this machine share and nobody sets."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@dataclass(frozen=True, kw_only=True)
class Records:
    """
    The record and the locks of one model's deployments.

    Attributes:
        state: The server's folder.
        model_name: Registered model.
    """

    state: StateDir
    model_name: str

    def read(self) -> Record:
        """Return what is on record; nothing, with a warning, if the file cannot be understood."""
        path = self._file
        if not path.exists() and self.model_name == "iqa":
            path = self.state.path / OLD_FILE
        try:
            return _record(json.loads(path.read_text()))
        except FileNotFoundError:
            return Record()
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            logger.warning(
                "%s: expected a record of deployments, got: %s. Starting a new one.",
                path.name, error,
            )  # fmt: skip
            return Record()

    @contextmanager
    def changing(self) -> Iterator[Record]:
        """
        Change the record, and the model's default with it: one process at a time.

        A sync looks for a hold and sets the default inside, a rollback sets both inside, so a sync
        never undoes a rollback. Nothing is written where the block raises.

        Raises:
            OSError: The record cannot be written, e.g. with a full disk; the old one is whole.
        """
        with locked(self._lock(""), 30.0, "a change of the deployment record"):
            record = self.read()
            before = dataclasses.asdict(record)
            yield record
            if dataclasses.asdict(record) != before:  # a watch asks every few seconds
                self.write(record)

    @contextmanager
    def one_sync_at_a_time(self, wait_s: float = SYNC_WAIT_S) -> Iterator[None]:
        """
        Hold the lock of syncs; where another process has it, say so and wait.

        Raises:
            TimeoutError: It is still held after `wait_s`.
        """
        with locked(self._lock("sync."), wait_s, "another sync"):
            yield

    @contextmanager
    def one_tidying_at_a_time(self, wait_s: float = SYNC_WAIT_S) -> Iterator[None]:
        """
        Hold the lock of whoever unloads retired versions; taken before that of syncs, never after.

        Raises:
            TimeoutError: It is still held after `wait_s`.
        """
        with locked(self._lock("tidying."), wait_s, "another process that unloads versions"):
            yield

    def is_tidying(self) -> bool:
        """Tell whether somebody waits to unload retired versions."""
        return holder_of(self._lock("tidying.")) is not None

    def write(self, record: Record) -> None:
        """
        Replace the record; for use inside `changing`, before a step that must not go unrecorded.

        Raises:
            OSError: It cannot be written; the old one is whole.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self._file, json.dumps(dataclasses.asdict(record), indent=2) + "\n")

    @property
    def _file(self) -> Path:
        return self.state.path / FOLDER / f"{self.model_name}.json"

    def _lock(self, kind: str) -> Path:
        return self._file.with_suffix(f".{kind}lock")


def _record(document: dict[str, Any]) -> Record:
    quarantine, hold, trial = document["quarantine"], document["hold"], document.get("trial")
    return Record(
        **{
            **document,
            "good": [Good(**good) for good in document["good"]],
            "hold": Hold(**hold) if hold else None,
            "quarantine": Quarantine(**quarantine) if quarantine else None,
            "trial": Trial(**trial) if trial else None,
        }
    )
