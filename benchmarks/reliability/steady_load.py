"""
Constant load in a process of its own, while this one does something to the server.

A process and not a thread: what the harness does meanwhile (MLflow's client, waiting, reading
logs) must not show in the latencies.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Final

from benchmarks.load import Request
from benchmarks.open_loop import Phase, Sending, open_loop

LEAD_S: Final = 0.2
READY_S: Final = 90.0
REPLIES_S: Final = 45.0
"""Longer than the server may take for a request (responseTimeout: 30 s), so none is given up."""


class SteadyLoad:
    """
    Sends a request at a constant rate while it is entered, and keeps every reply.

    Args:
        request: What.
        rate_per_s: How often.
        longest_s: It ends by itself after this time.
        replies_s: How long after the end replies are waited for.
    """

    def __init__(
        self,
        request: Request,
        rate_per_s: float,
        longest_s: float = 3600.0,
        replies_s: float = REPLIES_S,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._replies_s = replies_s
        self._told, teller = context.Pipe()
        self._ended = context.Event()
        phase = Phase(rate_per_s=rate_per_s, seconds=longest_s)
        self._process = context.Process(
            target=_generate, args=(request, phase, replies_s, self._ended, teller), daemon=True
        )
        self._begin_s = 0.0

    def __enter__(self) -> SteadyLoad:
        """Start, and return when the first request is about to leave."""
        self._process.start()
        self._expect(READY_S)
        self._begin_s = time.monotonic() + LEAD_S
        self._told.send(self._begin_s)
        time.sleep(LEAD_S)
        return self

    def __exit__(self, *error: object) -> None:
        """End it, whatever is on its way."""
        self._process.kill()
        self._process.join()

    def now_s(self) -> float:
        """Return seconds since the first request was due, as `Sending` counts."""
        return time.monotonic() - self._begin_s

    def end(self) -> list[Sending]:
        """Send nothing more; return all requests once they are answered, or given up."""
        self._ended.set()
        sendings: list[Sending] = self._expect(self._replies_s + READY_S)
        self._process.join()
        return sendings

    def _expect(self, wait_s: float) -> list[Sending]:
        if not self._told.poll(wait_s):
            raise RuntimeError(f"load generator: expected word within {wait_s:g} s, got none.")
        said: list[Sending] = self._told.recv()
        return said


def _generate(
    request: Request, phase: Phase, replies_s: float, ended: Event, teller: Connection
) -> None:
    """Send until told to end; called in the generator's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness, which ends this
    teller.send([])
    begin_s: float = teller.recv()
    sendings, _ = open_loop(
        request, [phase], replies_s, begin_s=begin_s, is_ended=ended.is_set, keeps_replies=True
    )
    teller.send(sendings)
