"""Fixtures for the attacks: the server bare and behind its front, and a watch over its workers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server import RunningServer

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
    "REGISTRY_PASSWORD": "a-secret-of-the-tests",
    "SERVICE_API_KEY": "a-secret-of-the-tests",
    "GITHUB_TOKEN": "a-secret-of-the-tests",
    "IQA_WEBHOOK_SECRET": "a-secret-of-the-tests",
}
# Of one worker, whatever it has read: 80 MB at its start, and what its allocator keeps.
MAX_PSS_BYTES = 350_000_000


@pytest.fixture(scope="session")
def fronted(
    server: RunningServer, make_server: Callable[..., RunningServer]
) -> Iterator[RunningServer]:
    """The shipped model behind the front, with secrets in the environment of the start."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    fronted = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    fronted.environment |= SECRETS
    done = fronted.run("--detach", "--front")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{fronted.logs()}"
    yield fronted
    assert fronted.run("--stop").returncode == 0  # not at the end of all tests: it holds memory


@pytest.fixture(scope="session", params=["torchserve", "front"])
def door(request: pytest.FixtureRequest, server: RunningServer) -> RunningServer:
    """TorchServe's own port, and the front's."""
    if request.param == "torchserve":
        return server
    fronted: RunningServer = request.getfixturevalue("fronted")
    return fronted


@dataclass(frozen=True, kw_only=True)
class Workers:
    """
    The processes that score.

    Attributes:
        pids: Of all.
        pss_bytes: Memory of all, shared pages divided by those who share them.
        peak_bytes: Largest resident size that one of them ever had.
    """

    pids: tuple[int, ...]
    pss_bytes: int
    peak_bytes: int


def workers_of(server: RunningServer) -> Workers:
    """Return the workers of a server as they are now."""
    pids = tuple(sorted(worker["pid"] for worker in server.manage()[0]["workers"]))
    return Workers(
        pids=pids,
        pss_bytes=sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in pids) * 1024,
        peak_bytes=max(_kilobytes(pid, "status", "VmHWM:") for pid in pids) * 1024,
    )


def _kilobytes(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise ValueError(f"/proc/{pid}/{file}: expected a line {key}, got none.")


@pytest.fixture
def unharmed(door: RunningServer) -> Iterator[RunningServer]:
    """The door, with the check that the same workers live at the end, and hold little memory."""
    before = workers_of(door)
    yield door
    after = workers_of(door)
    assert after.pids == before.pids
    assert after.pss_bytes < MAX_PSS_BYTES * len(after.pids)
