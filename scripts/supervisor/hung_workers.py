"""
Notice a worker that hangs, long before TorchServe does.

TorchServe ends a worker that has not answered for `responseTimeout`, 30 s; until then its place is
gone, and with it half of what two cores can do. From the outside a hang shows earlier: requests
wait, and the worker sleeps without having used any CPU. A worker that hangs in a loop looks busy,
and is left to TorchServe.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from scripts.server.http_client import NotNow
from scripts.server.state import Server

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
PATIENCE_S: Final = 1.5
MIN_LOOKS: Final = 3
"""So that a pause of Java's collector, during which workers idle, is not taken for a hang."""
ASLEEP: Final = (psutil.STATUS_SLEEPING, psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
"""State of a process that sleeps, and does not wait for a core or a disk."""


def watch(find: Callable[[], Server | None], stopping: threading.Event) -> None:
    """
    End workers that hang; TorchServe then starts others. The body of a thread.

    Args:
        find: Returns the server to look at; None while there is none that could answer.
        stopping: Ends this.
    """
    hung = HungWorkers()
    while not stopping.wait(LOOK_S):
        server = find()
        if server is None:
            hung = HungWorkers()
            continue
        try:
            entries = server.entries()
        except NotNow:
            continue  # that it does not answer is for others to notice
        for process in hung.look(entries, time.monotonic()):
            logger.warning("worker %d: it hangs; ending it", process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()


@dataclass(frozen=True, kw_only=True)
class _Sleep:
    """Since when, and for how many looks, a worker has used no CPU."""

    cpu_s: float
    since_s: float
    looks: int


class HungWorkers:
    """What has to be remembered from one look to the next."""

    def __init__(self) -> None:
        self._asleep: dict[int, _Sleep] = {}

    def look(self, entries: Sequence[dict[str, Any]], now_s: float) -> list[psutil.Process]:
        """
        Return the workers that hang; ending one makes TorchServe start another.

        Args:
            entries: As of `Server.entries`, of all versions of all models.
            now_s: On the monotonic clock; at least twice as often as `PATIENCE_S`.
        """
        seen: dict[int, _Sleep] = {}
        hung = []
        for entry in entries:
            is_waited_for = int(entry["jobQueueStatus"]["pendingRequests"]) > 0
            for worker in entry["workers"]:
                pid = int(worker["pid"])
                if worker["status"] != "READY" or pid <= 0:
                    continue
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(pid)
                    sleep = self._sleep(process, now_s, is_waited_for=is_waited_for)
                    if sleep is None:
                        continue
                    seen[pid] = sleep
                    if sleep.looks >= MIN_LOOKS and now_s - sleep.since_s >= PATIENCE_S:
                        hung.append(process)
        self._asleep = seen
        return hung

    def _sleep(
        self, process: psutil.Process, now_s: float, *, is_waited_for: bool
    ) -> _Sleep | None:
        """Return how long a worker has slept; None if it has not, or may."""
        status = process.status()
        if status not in ASLEEP or (status == psutil.STATUS_SLEEPING and not is_waited_for):
            return None
        times = process.cpu_times()
        cpu_s = times.user + times.system
        before = self._asleep.get(process.pid)
        if before is None or before.cpu_s != cpu_s:
            return _Sleep(cpu_s=cpu_s, since_s=now_s, looks=1)
        return _Sleep(cpu_s=cpu_s, since_s=before.since_s, looks=before.looks + 1)
