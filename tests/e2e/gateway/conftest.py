"""A server with the gateway for the tests of one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.asking import ask
from tests.deploying import wait_for
from tests.quick import Quick
from tests.server import MakeServer, RunningServer


@pytest.fixture(scope="module")
def gateway(quick: Quick, make_server: MakeServer) -> Iterator[RunningServer]:
    """The quick version as it is served by default."""
    gateway = make_server().take(quick.archive, quick.registry)
    gateway.environment |= {
        "WORKERS": "1",
        "RELOAD": f"{sys.executable} -m scripts.deploy sync --watch-s 0.5",
        "FRONT_PER_ADDRESS": "20",
    }
    gateway.start()
    wait_for(lambda: ask(gateway, "/health").status_code == 200, "the gateway", 60)
    yield gateway
    assert gateway.run("--stop").returncode == 0
    assert gateway.processes() == []
