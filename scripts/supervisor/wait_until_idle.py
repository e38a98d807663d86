"""
Wait until TorchServe has nothing to do.

It does not tell what a worker has in hand. A worker that uses no CPU time scores nothing, which
shows in half a second. `drain.py` must not stop a worker that only waits, so it allows the longest
request its time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Final

import psutil

from scripts.server.http_client import NotNow
from scripts.server.state import Server

LOOK_S: Final = 0.2
IDLE_CPU_S: Final = 0.025
"""CPU in LOOK_S: an eighth of a scoring worker's, above that of its report each second."""
QUIET_LOOKS: Final = 2


def wait_until_idle(server: Server, limit_s: float, hurry: threading.Event) -> bool:
    """
    Wait until no request waits and no worker computes.

    Args:
        server: It may still get requests, and is not idle as long; one that is gone is.
        limit_s: At most.
        hurry: Set where nothing is to be waited for any more.

    Returns:
        Whether it became idle.
    """
    deadline = time.monotonic() + limit_s
    used_s: dict[int, float] = {}
    quiet = 0
    while quiet < QUIET_LOOKS:
        if server.process() is None:
            return True
        if time.monotonic() > deadline:
            return False
        before_s, used_s, waiting = used_s, {}, 0
        try:
            for entry in server.entries():
                waiting += int(entry["jobQueueStatus"]["pendingRequests"])
                for worker in entry["workers"]:
                    with contextlib.suppress(psutil.Error):
                        times = psutil.Process(int(worker["pid"])).cpu_times()
                        used_s[int(worker["pid"])] = times.user + times.system
        except (NotNow, KeyError, ValueError):
            waiting = 1  # busy, for all that is known
        computes = any(used_s[pid] - before_s.get(pid, 0.0) > IDLE_CPU_S for pid in used_s)
        quiet = 0 if waiting or computes else quiet + 1
        if quiet < QUIET_LOOKS and hurry.wait(LOOK_S):
            return False
    return True
