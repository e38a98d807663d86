"""
One TorchServe over all its restarts: which archives it is started with, and whether it answers.

    start     archives of each model, the best first -> TorchServe with one of each that loads
    restart   it died or hangs: end what is left of it, start what was served; growing pauses
    look      does it answer, and is it ready? The body of a thread
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
from iqa.prediction_log.segment import close_left_over

from scripts.nginx.front_process import Front
from scripts.rollout import drain
from scripts.rollout.deployment_records import Records
from scripts.server import process
from scripts.server.http_client import is_alive
from scripts.server.state import Server
from scripts.supervisor import start_archive
from scripts.supervisor.readiness import Readiness
from scripts.supervisor.settings import Plan
from scripts.supervisor.wait_until_idle import wait_until_idle

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
PING_TIMEOUT_S: Final = 5.0
MISSED_PINGS: Final = 3
"""TorchServe counts as hung after this many unanswered pings in a row."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 10.0
"""After this much service the next pause is the first one again."""
TRIES_EACH: Final = 2
"""Starts with one archive before the next best is tried."""
LOG_S: Final = 1.0
"""After the last answer, for its row in the prediction log: workers are killed by TorchServe."""

_NOT_SERVED: Final = (
    "%s is not served: %s The others are. Once it is mended: "
    "python -m scripts.deploy sync --model-name %s --retry"
)
_NONE_LEFT: Final = "no archive that was served is left; the next sync loads what the alias names."


class LastingServer:
    """
    TorchServe, started again when it dies.

    Args:
        plan: See `Plan`.
        stopping: Set when all is to be stopped.
        readiness: Told of each start and end.
        find_front: Returns the front, once there is one.

    Attributes:
        server: None before the first start.
        down_since_s: Of the monotonic clock; None while it serves.
        restarts: So far.
    """

    def __init__(
        self,
        plan: Plan,
        stopping: threading.Event,
        readiness: Readiness,
        find_front: Callable[[], Front | None],
    ) -> None:
        self._plan, self._stopping, self._readiness = plan, stopping, readiness
        self._find_front = find_front
        self.server: Server | None = None
        self.restarts = 0
        self._serves_since_s = time.monotonic()
        self.down_since_s: float | None = self._serves_since_s
        self._pause_s = FIRST_PAUSE_S
        self._missed_pings = 0

    def start(self, choices: Mapping[str, Sequence[Path]], refused: Mapping[str, str]) -> Server:
        """
        Start TorchServe with the best archive of each model that loads.

        Args:
            choices: By model, the best first. Where the best does not load and that of another
                model does, the next one is loaded beside it.
            refused: Why other models have none.

        Raises:
            RuntimeError, ValueError: TorchServe does not start, or none of the best loads.
        """
        plan, state = self._plan, self._plan.state
        best = {name: mars[0] for name, mars in choices.items()}
        server = process.start(best, plan.ports, plan.workers, state, hosts=plan.hosts)
        server = dataclasses.replace(
            server, wanted=plan.models, refused={**refused, **server.refused}
        )
        self._keep(server)
        if (front := self._find_front()) is not None:
            front.release()  # it knows its models: requests wait for the workers
        server = process.wait_until_ready(server, plan.workers, state, self._stopping)
        for name, mars in choices.items():
            for mar in mars[1:]:
                if name not in server.refused:
                    break
                logger.warning("%s: %s; trying %s", name, server.refused[name], mar.name)
                server = process.load(server, name, mar, plan.workers[name], state)
                server = process.wait_until_ready(server, plan.workers, state, self._stopping)
        self._keep(server)
        for name, reason in server.refused.items():
            logger.warning(_NOT_SERVED, name, reason, name)
        self._missed_pings = 0
        self._serves_since_s = time.monotonic()  # a slow start is no service
        self._readiness.begin(server)
        return server

    def _keep(self, server: Server) -> None:
        self.server = server
        self._plan.state.record_server(server)

    def refuse_what_is_wrong(self) -> Server:
        """
        Unload each model that does not score as proven, if another one does; return the server.

        Raises:
            RuntimeError: None does.
        """
        server = self.server
        assert server is not None
        wrong = {}
        for name in server.mars:
            verdict = self._readiness.verdict(name)
            if not verdict.ready:
                wrong[name] = verdict.reason
        if len(wrong) == len(server.mars):
            raise RuntimeError(f"TorchServe: {self._readiness.verdict(next(iter(wrong))).reason}")
        for name, reason in wrong.items():
            logger.warning(_NOT_SERVED, name, reason, name)
            server = process.refuse(server, name, reason)
        if wrong:
            self._keep(server)
            self._readiness.begin(server)
            self._readiness.look()
        return server

    def watch(self) -> None:
        """Start it again if it died or hangs; return at once otherwise."""
        server = self.server
        assert server is not None
        if server.process() is None:
            self._restart(server, "it ended by itself")
        elif self._missed_pings >= MISSED_PINGS:
            self._restart(server, f"it did not answer {MISSED_PINGS} times")

    def _restart(self, server: Server, why: str) -> None:
        """Start TorchServe again; return once it is up or all is to be stopped."""
        now_s = time.monotonic()
        self.down_since_s = now_s
        if now_s - self._serves_since_s > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        state = self._plan.state
        is_draining = drain.is_draining(state, server.started_at_s)
        self._readiness.end(f"restarting: {why}")
        logger.warning("TorchServe, process %d: %s; starting it again", server.pid, why)
        choices = {
            name: start_archive.after_a_crash(
                self._readiness.served(name),
                Path(server.mars[name]) if name in server.mars else None,
                Records(state=state, model_name=name).read(),
                self._plan.store,
            )
            for name in server.names
        }
        tries = 0
        while True:
            if (front := self._find_front()) is not None:
                with contextlib.suppress(OSError):  # a full disk: a moment of 404 in place of 503
                    front.hold()
            process.stop(self.server or server, patience_s=0)
            reap()
            if self._stopping.wait(self._pause_s):
                return
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self.restarts += 1
            try:
                mars = self.start(*self._best(choices, tries // TRIES_EACH)).mars
                break
            except KeyboardInterrupt:
                return
            except (RuntimeError, ValueError, OSError, SystemExit) as error:
                logger.warning("TorchServe: start %d failed: %s", tries + 1, error)
            tries += 1
        if is_draining:  # a drain counts from the server's start, and this one is meant as well
            try:
                drain.mark(state)
            except OSError as error:
                logger.warning("the drain is over, it cannot be marked anew: %s", error)
        self.down_since_s = None
        self._readiness.look()
        logger.warning(
            "TorchServe runs again with %s, %.1f s after",
            ", ".join(Path(mar).name for mar in mars.values()),
            time.monotonic() - now_s,
        )

    def _best(
        self, choices: Mapping[str, list[Path]], failed: int
    ) -> tuple[dict[str, list[Path]], dict[str, str]]:
        """
        Return the archives of each model to start with, and why other models have none.

        Args:
            choices: By model, the best first.
            failed: How many starts, with so many of the best ones, were in vain.
        """
        if not any(choices.values()):
            named = self._named()
            return {name: [mar] for name, mar in named.mars.items()}, named.refused
        left = {name: mars[min(failed, len(mars) - 1) :] for name, mars in choices.items() if mars}
        return left, {name: _NONE_LEFT for name in choices.keys() - left.keys()}

    def _named(self) -> start_archive.Chosen:
        """Return the archives that the aliases name: nothing that was served is left."""
        choice = self.choose("spawn")
        try:
            return choice.wait(self._stopping)
        finally:
            choice.close()

    def choose(self, method: str) -> start_archive.Choice | start_archive.Noted:
        """Have it found out what to serve, by a process made by `fork` or `spawn`."""
        if self._plan.from_store:
            return start_archive.Noted(self._plan.models, self._plan.store)
        return start_archive.Choice(self._plan, method)

    def look(self) -> None:
        """Look whether TorchServe answers and is ready; the body of the thread."""
        while not self._stopping.wait(LOOK_S):
            server = self.server
            if server is None or self.down_since_s is not None:
                continue
            try:
                answers = is_alive(server.addresses.inference, PING_TIMEOUT_S)
                if self.server is server:
                    self._missed_pings = 0 if answers else self._missed_pings + 1
                self._readiness.look()
            except Exception:
                logger.exception("readiness: a look failed")

    def answering(self) -> Server | None:
        """Return the server, unless it is down or Java itself does not answer."""
        return None if self.down_since_s is not None or self._missed_pings else self.server

    def stop(self, hurry: threading.Event) -> None:
        """Stop it, once it is idle and its last rows are written, if `hurry` is not set."""
        server, drain_s = self.server, self._plan.drain_s
        if server is None:
            return
        if self.down_since_s is None and not wait_until_idle(server, drain_s, hurry):
            logger.warning("TorchServe: expected it idle in %g s, got requests still", drain_s)
        if self._plan.prediction_log is not None:
            hurry.wait(LOG_S)
        process.stop(server)
        if self._plan.prediction_log is not None:
            # A worker has no time to: Java ends it by SIGKILL.
            with contextlib.suppress(OSError, ValueError):  # a full disk: the next worker does
                close_left_over(self._plan.prediction_log)
        self._plan.state.forget_server()


def reap() -> None:
    """As process 1 of a container, reap orphaned processes, Java included."""
    if os.getpid() != 1:
        return
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and child.name() != "nginx":
                os.waitpid(child.pid, os.WNOHANG)
