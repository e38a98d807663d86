"""
A rolling order for several servers that follow one alias: `sync --fleet DIR --max-unavailable 1`.

Each server has a side-car of its own. The side-cars of a machine share a folder:

    NAME.turn-0.lock        held by whoever brings a version in; there are `max_unavailable` of them
    NAME.refused.json       the version that a server refused, which one and why: others leave it
    NAME.at.SERVER.lock     held by a server's side-car while it lives
    NAME.at.SERVER.json     what that side-car last saw of its server

The kernel frees a lock with the process that held it, so nobody who dies holds the others back, and
no clock decides who lives. Why so: docs/decisions/0047.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.server.client import Loaded
from scripts.server.file_lock import holder_of, locked
from scripts.server.http_client import NotNow
from scripts.server.state import replace_text

logger = logging.getLogger(__name__)

POLL_S: Final = 0.1
TURN_WAIT_S: Final = 600.0
"""Then the round ends, and the next one asks the alias again."""
CHANGE_WAIT_S: Final = 10.0


class HeldBack(NotNow):
    """Another server refused the version, or too many are away; this one could take it."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version that a server refused, and since when (seconds since 1970)."""

    version: str
    replica: str
    reason: str
    since_s: float


@dataclass(frozen=True, kw_only=True)
class Member:
    """A server, as its side-car last saw it; `served` is None where it is away."""

    replica: str
    served: str | None


class Turn:
    """The right to bring a version in; ends with its block, or before."""

    def __init__(self, held: ExitStack | None = None) -> None:
        self._held = held

    def end(self) -> None:
        """Let the next server begin."""
        if self._held is not None:
            self._held.close()


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """
    The servers of one machine that follow one alias of one model.

    Attributes:
        folder: Shared by their side-cars; made if missing. On a file system with `flock`.
        model_name: Registered model.
        replica: Name of this server among them.
        max_unavailable: How many may be between two versions or away at once.

    Raises:
        ValueError: The name cannot be a file's, or nobody could ever begin.
    """

    folder: Path
    model_name: str
    replica: str
    max_unavailable: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.:-]+", self.replica):
            raise ValueError(
                f"--replica: expected letters, digits and . : _ -, got {self.replica!r}."
            )
        if self.max_unavailable < 1:
            raise ValueError(f"--max-unavailable: expected 1 or more, got {self.max_unavailable}.")

    @contextmanager
    def turn(self, version: str, expect_still_wanted: Callable[[], None]) -> Iterator[Turn]:
        """
        Wait until this server may bring a version in, and keep the right to for the block.

        Args:
            version: The version.
            expect_still_wanted: Raises where somebody decided otherwise; asked once it may begin.

        Raises:
            HeldBack: Another server refused it, or so many are away that nobody may begin.
            NotNow: Others are still at it after ten minutes.
        """
        deadline, is_said = time.monotonic() + TURN_WAIT_S, False
        with ExitStack() as held:
            while not self._takes_a_turn(version, held):
                if not is_said:
                    logger.info("version %s: waiting for another server of the fleet", version)
                    is_said = True
                if time.monotonic() > deadline:
                    raise NotNow(
                        f"version {version}: expected its turn within {TURN_WAIT_S:g} s, got "
                        f"others still at it. Look at the other servers: {self.folder}"
                    )
                time.sleep(POLL_S * random.uniform(0.5, 1.5))
            expect_still_wanted()
            self._lift(lambda refusal: refusal.version != version)
            yield Turn(held)

    def refuse(self, version: str, reason: str) -> None:
        """Hold a version back on the other servers."""
        refusal = Refusal(
            version=version, replica=self.replica, reason=reason, since_s=time.time()
        )  # fmt: skip
        with self._changing():
            replace_text(self._refused, json.dumps(dataclasses.asdict(refusal)) + "\n")

    def forgive(self, version: str | None = None) -> None:
        """End a refusal: this server serves the version after all, or, with None, a new try."""
        self._lift(
            lambda refusal: (
                version is None or (refusal.version == version and refusal.replica == self.replica)
            )
        )

    def refusal(self) -> Refusal | None:
        """Return what holds a version back, if anything does."""
        try:
            return Refusal(**json.loads(self._refused.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def members(self) -> list[Member]:
        """Return the servers whose side-cars live, this one included."""
        found = []
        for path in sorted(self.folder.glob(f"{self.model_name}.at.*.json")):
            if holder_of(path.with_suffix(".lock")) is None:
                continue
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, TypeError):
                found.append(Member(**json.loads(path.read_text())))
        return found

    @contextmanager
    def present(self) -> Iterator[None]:
        """
        Count this server among the others for the block.

        Raises:
            TimeoutError: A side-car of the same name lives.
        """
        with locked(self._own.with_suffix(".lock"), 0.0, f"side-car of server {self.replica}"):
            yield

    def tell(self, served: Loaded | None) -> None:
        """Tell the others what this server serves; None, or no ready worker: it is away."""
        version = served.version if served is not None and served.ready > 0 else None
        member = Member(replica=self.replica, served=version)
        text = json.dumps(dataclasses.asdict(member)) + "\n"
        if not self._own.exists() or self._own.read_text() != text:
            replace_text(self._own, text)

    def _takes_a_turn(self, version: str, held: ExitStack) -> bool:
        away = [
            one.replica
            for one in self.members()
            if one.served is None and one.replica != self.replica
        ]
        if len(away) >= self.max_unavailable:
            raise HeldBack(
                f"version {version} is held back: expected fewer than {self.max_unavailable} "
                f"servers of the fleet away, got {', '.join(away)}. Bring them back."
            )
        for turn in self._turns:
            try:
                held.enter_context(locked(turn, 0.0, "another server's turn"))
            except TimeoutError:
                continue
            others = [one for one in self._turns if one != turn and holder_of(one) is not None]
            if len(others) + len(away) < self.max_unavailable:
                self._expect_not_refused(version)  # by whoever had the turn before
                return True
            held.close()
            break
        self._expect_not_refused(version)
        return False

    def _expect_not_refused(self, version: str) -> None:
        refusal = self.refusal()
        if refusal is None or refusal.version != version or refusal.replica == self.replica:
            return
        raise HeldBack(
            f"version {version} is held back: server {refusal.replica} refused it: "
            f"{refusal.reason} Move the alias, or try again: "
            f"python -m scripts.deploy sync --model-name {self.model_name} --retry"
        )

    def _lift(self, is_over: Callable[[Refusal], bool]) -> None:
        with self._changing():
            refusal = self.refusal()
            if refusal is not None and is_over(refusal):
                self._refused.unlink()
                logger.info("version %s is no longer held back", refusal.version)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self._path("lock"), CHANGE_WAIT_S, "a change of the fleet's refusal"):
            yield

    def _path(self, kind: str) -> Path:
        return self.folder / f"{self.model_name}.{kind}"

    @property
    def _turns(self) -> list[Path]:
        return [self._path(f"turn-{number}.lock") for number in range(self.max_unavailable)]

    @property
    def _refused(self) -> Path:
        return self._path("refused.json")

    @property
    def _own(self) -> Path:
        return self._path(f"at.{self.replica}.json")
