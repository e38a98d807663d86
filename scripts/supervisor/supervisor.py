"""
The process that keeps TorchServe running: starts it, starts it again, stops it without loss.

    run          archive -> TorchServe -> golden picture -> front -> watch until TERM or Ctrl-C
    _shut_down   not ready -> the front refuses and finishes -> TorchServe is idle -> all stopped

Meanwhile threads look whether TorchServe answers and is ready, and whether workers hang;
`status_endpoints.py` tells anyone.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from scripts.nginx import front_process
from scripts.nginx.program import nginx_program
from scripts.server import health, process_start
from scripts.server.state import Server, Supervision
from scripts.supervisor import hung_workers, start_archive
from scripts.supervisor.gateway import Gateway
from scripts.supervisor.readiness import Proof, Readiness, Verdict
from scripts.supervisor.server_across_restarts import FIRST_PAUSE_S, LastingServer, reap
from scripts.supervisor.settings import Plan
from scripts.supervisor.status_endpoints import Pages

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2


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
        self._front: front_process.Front | None = None
        self._lasting = LastingServer(plan, stopping, self._readiness, lambda: self._front)
        self._gateway: Gateway | None = None
        if plan.web is not None:
            self._gateway = Gateway(plan.web, plan.state.path, plan.drain_s, plan.web_log)

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
        choice = self._lasting.choose("fork")  # here, while there are no threads
        pages = Pages(self._plan, self._lasting, self._verdict).by_path()
        try:
            with health.listening(self._plan.health_host, self._plan.health_port, pages):
                try:
                    on_ready(*self._first_start(choice))
                    choice.close()  # it has long ended; nothing is left of it from here on
                    threading.Thread(target=self._lasting.look, daemon=True).start()
                    looking = (self._lasting.answering, self._stopping)
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
        self._lasting.start({name: [mar] for name, mar in chosen.mars.items()}, chosen.refused)
        proofs = self._readiness.look()
        server = self._lasting.refuse_what_is_wrong()
        if plan.front is not None:
            self._front = front_process.Front(plan.front, plan.front_log)
        if self._gateway is not None:
            self._gateway.wait(self._stopping)
        self._lasting.down_since_s = None
        return server, proofs

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_S):
            self._lasting.watch()
            if self._front is not None and not self._front.is_alive():
                self._restart_front(self._front)
            if self._front is not None:
                self._front.take_back_abandoned_split()
            if self._gateway is not None:
                self._gateway.watch()
            reap()

    def _restart_front(self, dead: front_process.Front) -> None:
        assert self._plan.front is not None
        logger.warning("front: it ended by itself; starting it again")
        dead.kill()
        try:
            self._front = front_process.Front(self._plan.front, self._plan.front_log)
        except (RuntimeError, ValueError, OSError) as error:
            logger.warning("%s", error)
            self._stopping.wait(FIRST_PAUSE_S)

    def _shut_down(self) -> None:
        """Stop all; what was accepted is answered first, if `hurry` is not set."""
        self._stopping.set()
        self._readiness.end("stopping")
        drain_s = self._plan.drain_s
        if self._front is not None and not self._front.stop(self._hurry, self._stop_gateway):
            logger.warning("front: not all accepted requests were answered in %g s", drain_s)
        self._stop_gateway()  # where there was no front yet
        self._lasting.stop(self._hurry)
        self._plan.state.forget_supervision()

    def _stop_gateway(self) -> None:
        """Let it finish what it asks of the front, which refuses everybody else by now."""
        if self._gateway is not None:
            self._gateway.stop(self._hurry)

    def _verdict(self, model_name: str | None = None) -> Verdict:
        """Return whether requests may come: past the front, where there is one."""
        verdict = self._readiness.verdict(model_name)
        has_way_in = self._front.is_alive() if self._front else self._plan.front is None
        if verdict.ready and not has_way_in:
            verdict = dataclasses.replace(verdict, ready=False, reason="the front is away")
        return verdict


def on_signals(stopping: threading.Event, hurry: threading.Event) -> None:
    """Let the first TERM, Ctrl-C or closed terminal stop all in order, the second one at once."""

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():
            hurry.set()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
