"""Fixtures for the attacks: a watch over the workers of the server, bare and behind its front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.quick import Quick
from tests.server import SECRETS, MakeServer, RunningServer

# Of one worker, whatever it has read: 80 MB at its start, and what its allocator keeps.
MAX_PSS_BYTES = 350_000_000


@dataclass(frozen=True, kw_only=True)
class Workers:
    """
    The processes that score.

    Attributes:
        pids: Of all.
        pss_bytes: Memory of all, shared pages divided by those who share them.
        peak_bytes: Largest resident size that one of them ever had.
        cpu_s: Processor time that all have taken.
    """

    pids: tuple[int, ...]
    pss_bytes: int
    peak_bytes: int
    cpu_s: float


def workers_of(server: RunningServer) -> Workers:
    """Return the workers of a server as they are now."""
    pids = tuple(sorted(worker["pid"] for worker in server.manage()[0]["workers"]))
    return Workers(
        pids=pids,
        pss_bytes=sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in pids) * 1024,
        peak_bytes=max(_kilobytes(pid, "status", "VmHWM:") for pid in pids) * 1024,
        cpu_s=sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids),
    )


def _kilobytes(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise ValueError(f"/proc/{pid}/{file}: expected a line {key}, got none.")


@pytest.fixture(scope="session")
def server(make_shared_server: MakeServer, quick: Quick) -> RunningServer:
    """TorchServe alone, with a version whose scores take milliseconds."""
    return make_shared_server().take(quick.archive, quick.registry).start("--no-front")


@pytest.fixture(scope="session")
def fronted(make_shared_server: MakeServer, quick: Quick) -> RunningServer:
    """The same as it is served by default, behind the front; there are secrets at its start."""
    fronted = make_shared_server().take(quick.archive, quick.registry)
    fronted.environment |= SECRETS
    return fronted.start()


@pytest.fixture
def unharmed(door: RunningServer) -> Iterator[RunningServer]:
    """The door, with the check that the same workers live at the end, and hold little memory."""
    before = workers_of(door)
    yield door
    after = workers_of(door)
    assert after.pids == before.pids
    assert after.pss_bytes < MAX_PSS_BYTES * len(after.pids)
