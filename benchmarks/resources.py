"""What a server's processes use: CPU time over an interval, memory, threads and descriptors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

ROLES: Final = ("jvm", "worker", "front", "gateway", "supervisor", "side-car", "other")
"""Java; a TorchServe worker; the rest of our system; anything else, as all of a peer is."""
COMMANDS: Final = {
    "model_service_worker": "worker",
    "web.api:app": "gateway",
    "scripts.serve": "supervisor",
    "scripts.supervisor.supervisor": "supervisor",
    "scripts.deploy": "side-car",
}
"""What a command line holds, and the role of who was started by it."""


@dataclass(frozen=True, kw_only=True)
class CpuUse:
    """
    CPU time over an interval, in seconds of one core.

    Attributes:
        elapsed_s: The interval's length.
        server_s: The server's processes and those they started, user and system.
        by_role_s: The same by `ROLES`.
        strangers_s: Everything else on the machine, without server and client: others that ran, and
            the kernel's work for nobody. More than a few percent spoils a measurement.
    """

    elapsed_s: float
    server_s: float
    by_role_s: dict[str, float]
    strangers_s: float


class CpuMeter:
    """
    Measures from its making on.

    Args:
        find: Returns the server's processes; asked at both ends, as workers may be replaced.
    """

    def __init__(self, find: Callable[[], list[psutil.Process]]) -> None:
        self._find = find
        self._before = cpu_by_role(find())
        self._busy_before_s = _machine_busy_s()
        self._started_s = time.monotonic()

    def stop(self, client_s: float) -> CpuUse:
        """
        Return what was used since.

        Args:
            client_s: CPU seconds of the load generator meanwhile, not to be blamed on strangers.
        """
        elapsed_s = time.monotonic() - self._started_s
        after = cpu_by_role(self._find())
        by_role_s = {role: after[role] - self._before[role] for role in ROLES}
        server_s = sum(by_role_s.values())
        busy_s = _machine_busy_s() - self._busy_before_s
        return CpuUse(
            elapsed_s=elapsed_s,
            server_s=server_s,
            by_role_s=by_role_s,
            strangers_s=max(busy_s - server_s - client_s, 0.0),
        )


def cpu_by_role(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """
    Return CPU seconds since each process began, by role.

    Children that have ended and were waited for count with their parent, so a difference of two
    calls misses no process that lived in between.
    """
    total = dict.fromkeys(ROLES, 0.0)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total[role_of(process)] += (
                times.user + times.system + times.children_user + times.children_system
            )
    return total


def role_of(process: psutil.Process) -> str:
    """Return one of `ROLES`."""
    by_name = {"java": "jvm", "nginx": "front"}
    if (name := process.name()) in by_name:
        return by_name[name]
    command = " ".join(process.cmdline())
    return next((role for words, role in COMMANDS.items() if words in command), "other")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """
    What processes hold at one moment.

    Attributes:
        pss_bytes: Proportional set size by role: pages shared by n processes count 1/n each.
        threads: Threads of all processes together.
        descriptors: Open files and sockets of all together.
        processes: How many there are.
    """

    pss_bytes: dict[str, int]
    threads: int
    descriptors: int
    processes: int

    @property
    def total_pss_bytes(self) -> int:
        """All roles together."""
        return sum(self.pss_bytes.values())


def footprint(processes: Iterable[psutil.Process]) -> Footprint:
    """Return what processes hold now; one that has just ended counts nothing."""
    pss_bytes = dict.fromkeys(ROLES, 0)
    threads = descriptors = count = 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            pss_bytes[role_of(process)] += pss_of(process.pid)
            threads += process.num_threads()
            descriptors += process.num_fds()
            count += 1
    return Footprint(pss_bytes=pss_bytes, threads=threads, descriptors=descriptors, processes=count)


def pss_of(pid: int) -> int:
    """
    Return a process's proportional set size in bytes.

    From `smaps_rollup`, which the kernel adds up itself: psutil walks every mapping of `smaps`,
    and the process waits meanwhile.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0  # a zombie has no memory


def _machine_busy_s() -> float:
    """Return CPU seconds of all cores since boot that were not idle."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
