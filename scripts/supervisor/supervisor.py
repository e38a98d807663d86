"""
The process that keeps TorchServe running: starts it, starts it again, stops it without loss.

    run          archive -> TorchServe -> golden picture -> front -> watch until TERM or Ctrl-C
    _restart     it died or hangs: end what is left of it, start what was served; growing pauses
    _shut_down   not ready -> the front refuses and finishes -> TorchServe is idle -> all stopped

Meanwhile a thread looks whether TorchServe answers and is ready; `health.py` tells anyone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from scripts.nginx import front
from scripts.nginx.program import nginx_program
from scripts.rollout import drain
from scripts.rollout.records import Records
from scripts.server import health, process, process_start
from scripts.server.client import is_alive
from scripts.server.state import Server, Supervision
from scripts.supervisor import hung_workers, start_archive
from scripts.supervisor.gateway import Gateway
from scripts.supervisor.metrics import Census
from scripts.supervisor.readiness import Proof, Readiness, Verdict
from scripts.supervisor.settings import Plan
from scripts.supervisor.wait_until_idle import wait_until_idle

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
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
GIVEN_UP_S: Final = 120.0
"""/live answers 503 after a restart of this length, so that an orchestrator can act."""

_NOT_SERVED: Final = (
    "%s is not served: %s The others are. Once it is mended: "
    "python -m scripts.deploy sync --model-name %s --retry"
)
_NONE_LEFT: Final = "no archive that was served is left; the next sync loads what the alias names."


class Supervisor:
    """
    One TorchServe over all its restarts, and the front.

    Args:
        plan: See `Plan`.
        stopping: Set when all is to be stopped; a second signal sets `hurry` as well.
        hurry: Set when nothing is to be waited for any more.
    """

    def __init__(self, plan: Plan, stopping: threading.Event, hurry: threading.Event) -> None:
        self._plan, self._stopping, self._hurry = plan, stopping, hurry
        self._started_at_s = process_start.started_at_s(os.getpid())
        self._readiness = Readiness(self._started_at_s, plan.state)
        self._census = Census(plan.state)
        self._server: Server | None = None
        self._front: front.Front | None = None
        self._gateway: Gateway | None = None
        if plan.web is not None:
            self._gateway = Gateway(plan.web, plan.state.path, plan.drain_s, plan.web_log)
        self._restarts = 0
        self._pause_s = FIRST_PAUSE_S
        self._began_at_s = time.monotonic()
        self._down_since_s: float | None = self._began_at_s
        self._missed_pings = 0

    def run(self, on_ready: Callable[[Server, list[Proof]], None]) -> None:
        """
        Start, watch, and stop when `stopping` is set.

        Args:
            on_ready: Called once, with the server and each model's reply to a golden image.

        Raises:
            KeyboardInterrupt: It was to be stopped before it was ready.
            RuntimeError, ValueError, OSError: The first start failed; nothing is left of it.
            SystemExit: There is no archive; why was said.
        """
        choice = self._choose("fork")  # here, while there are no threads
        try:
            with health.listening(self._plan.health_host, self._plan.health_port, self._pages()):
                try:
                    on_ready(*self._first_start(choice))
                    choice.close()  # it has long ended; nothing is left of it from here on
                    threading.Thread(target=self._look, daemon=True).start()
                    looking = (self._answering, self._stopping)
                    threading.Thread(target=hung_workers.watch, args=looking, daemon=True).start()
                    self._watch()
                finally:
                    self._shut_down()
        finally:
            choice.close()

    def _first_start(
        self, choice: start_archive.Choice | start_archive.Noted
    ) -> tuple[Server, list[Proof]]:
        plan = self._plan
        if plan.front is not None:
            nginx_program()  # said before an archive is built
        plan.state.record_supervision(
            Supervision(
                pid=os.getpid(),
                started_at_s=self._started_at_s,
                health_port=plan.health_port,
                front_port=plan.front_port,
            )
        )
        chosen = choice.wait(self._stopping)
        if self._gateway is not None:  # it takes a second or two, and so does TorchServe
            self._gateway.start()
        self._start({name: [mar] for name, mar in chosen.mars.items()}, chosen.refused)
        proofs = self._readiness.look()
        server = self._refuse_what_is_wrong()
        if plan.front is not None:
            self._front = front.Front(plan.front, plan.front_log)
        if self._gateway is not None:
            self._gateway.wait(self._stopping)
        self._down_since_s = None
        return server, proofs

    def _start(self, choices: Mapping[str, Sequence[Path]], refused: Mapping[str, str]) -> Server:
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
        self._began_at_s = time.monotonic()
        best = {name: mars[0] for name, mars in choices.items()}
        server = process.start(best, plan.ports, plan.workers, state, hosts=plan.hosts)
        server = dataclasses.replace(
            server, wanted=plan.models, refused={**refused, **server.refused}
        )
        self._keep(server)
        if self._front is not None:
            self._front.release()  # it knows its models: requests wait for the workers
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
        self._readiness.begin(server)
        return server

    def _keep(self, server: Server) -> None:
        self._server = server
        self._plan.state.record_server(server)

    def _refuse_what_is_wrong(self) -> Server:
        """
        Unload each model that does not score as proven, if another one does; return the server.

        Raises:
            RuntimeError: None does.
        """
        server = self._server
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

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_S):
            server = self._server
            assert server is not None
            if server.process() is None:
                self._restart(server, "it ended by itself")
            elif self._missed_pings >= MISSED_PINGS:
                self._restart(server, f"it did not answer {MISSED_PINGS} times")
            if self._front is not None and not self._front.is_alive():
                self._restart_front(self._front)
            if self._front is not None:
                self._front.take_back_abandoned_split()
            if self._gateway is not None:
                self._gateway.watch()
            _reap()

    def _restart(self, server: Server, why: str) -> None:
        """Start TorchServe again; return once it is up or all is to be stopped."""
        now_s = time.monotonic()
        self._down_since_s = now_s
        if now_s - self._began_at_s > STEADY_S:
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
            if self._front is not None:
                self._front.hold()
            process.stop(self._server or server, patience_s=0)
            _reap()
            if self._stopping.wait(self._pause_s):
                return
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._restarts += 1
            try:
                mars = self._start(*self._best(choices, tries // TRIES_EACH)).mars
                break
            except KeyboardInterrupt:
                return
            except (RuntimeError, ValueError, OSError, SystemExit) as error:
                logger.warning("TorchServe: start %d failed: %s", tries + 1, error)
            tries += 1
        if is_draining:  # a drain counts from the server's start, and this one is meant as well
            drain.mark(state)
        self._down_since_s = None
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
        choice = self._choose("spawn")
        try:
            return choice.wait(self._stopping)
        finally:
            choice.close()

    def _choose(self, method: str) -> start_archive.Choice | start_archive.Noted:
        if self._plan.from_store:
            return start_archive.Noted(self._plan.models, self._plan.store)
        return start_archive.Choice(self._plan, method)

    def _restart_front(self, dead: front.Front) -> None:
        assert self._plan.front is not None
        logger.warning("front: it ended by itself; starting it again")
        dead.kill()
        try:
            self._front = front.Front(self._plan.front, self._plan.front_log)
        except (RuntimeError, ValueError, OSError) as error:
            logger.warning("%s", error)
            self._stopping.wait(FIRST_PAUSE_S)

    def _look(self) -> None:
        """Look whether TorchServe answers and is ready; the body of the thread."""
        while not self._stopping.wait(LOOK_S):
            server = self._server
            if server is None or self._down_since_s is not None:
                continue
            try:
                answers = is_alive(server.addresses.inference, PING_TIMEOUT_S)
                if self._server is server:
                    self._missed_pings = 0 if answers else self._missed_pings + 1
                self._readiness.look()
            except Exception:
                logger.exception("readiness: a look failed")

    def _answering(self) -> Server | None:
        """Return the server, unless it is down or Java itself does not answer."""
        return None if self._down_since_s is not None or self._missed_pings else self._server

    def _shut_down(self) -> None:
        """Stop all; what was accepted is answered first, if `hurry` is not set."""
        self._stopping.set()
        self._readiness.end("stopping")
        drain_s = self._plan.drain_s
        if self._front is not None and not self._front.stop(self._hurry, self._stop_gateway):
            logger.warning("front: not all accepted requests were answered in %g s", drain_s)
        self._stop_gateway()  # where there was no front yet
        server = self._server
        if server is not None:
            if self._down_since_s is None and not wait_until_idle(server, drain_s, self._hurry):
                logger.warning("TorchServe: expected it idle in %g s, got requests still", drain_s)
            if self._plan.prediction_log is not None:
                self._hurry.wait(LOG_S)
            process.stop(server)
            self._plan.state.forget_server()
        self._plan.state.forget_supervision()

    def _stop_gateway(self) -> None:
        """Let it finish what it asks of the front, which refuses everybody else by now."""
        if self._gateway is not None:
            self._gateway.stop(self._hurry)

    def _pages(self) -> dict[str, Callable[[], health.Answer]]:
        by_model = {
            f"/ready/{model.name}": functools.partial(self._ready, model.name)
            for model in self._plan.models
        }
        return {
            "/live": self._live, "/ready": self._ready, **by_model, "/models": self._models,
            "/metrics": self._metrics,
        }  # fmt: skip

    def _ready(self, model_name: str | None = None) -> health.Answer:
        verdict = self._verdict(model_name)
        return health.in_json(200 if verdict.ready else 503, dataclasses.asdict(verdict))

    def _models(self) -> health.Answer:
        """Answer what should be served, and whether it is; a deploy tool elsewhere asks this."""
        document = {
            model.name: {
                "alias": model.alias,
                "wanted_workers": model.workers,
                **dataclasses.asdict(self._verdict(model.name)),
            }
            for model in self._plan.models
        }
        return health.in_json(200, document)

    def _verdict(self, model_name: str | None = None) -> Verdict:
        """Return whether requests may come: past the front, where there is one."""
        verdict = self._readiness.verdict(model_name)
        has_way_in = self._front.is_alive() if self._front else self._plan.front is None
        if verdict.ready and not has_way_in:
            verdict = dataclasses.replace(verdict, ready=False, reason="the front is away")
        return verdict

    def _live(self) -> health.Answer:
        down_since_s = self._down_since_s
        down_s = time.monotonic() - down_since_s if down_since_s is not None else 0.0
        is_first = self._restarts == 0 and down_since_s is not None
        is_live = is_first or down_s <= GIVEN_UP_S  # a first start may build an archive
        reason = "starting" if is_first else f"down for {down_s:.0f} s" if down_s else "running"
        document = {"live": is_live, "reason": reason, "restarts": self._restarts}
        return health.in_json(200 if is_live else 503, document)

    def _metrics(self) -> health.Answer:
        ready = {model.name: self._verdict(model.name).ready for model in self._plan.models}
        page = self._census.exposition(self._server, self._restarts, ready)
        return health.Answer(status=200, body=page, content_type=health.PROMETHEUS)


def on_signals(stopping: threading.Event, hurry: threading.Event) -> None:
    """Let the first TERM, Ctrl-C or closed terminal stop all in order, the second one at once."""

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():
            hurry.set()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _reap() -> None:
    """As process 1 of a container, reap orphaned processes, Java included."""
    if os.getpid() != 1:
        return
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and child.name() != "nginx":
                os.waitpid(child.pid, os.WNOHANG)
