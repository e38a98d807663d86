"""A server with the gateway for the tests of one file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.asking import ask
from tests.deploying import wait_for
from tests.server import RunningServer


@pytest.fixture(scope="module")
def gateway(
    server: RunningServer, make_server: Callable[..., RunningServer], tmp_path_factory: Any
) -> Iterator[RunningServer]:
    """The shipped model as it is served by default, with a registry of its own."""
    kept = server.environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    registry = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copyfile(kept, registry)
    gateway = make_server(f"sqlite:///{registry}")
    gateway.model_store.mkdir()
    shutil.copy(server.model_store / "iqa-1.mar", gateway.model_store)
    gateway.environment |= {
        "WORKERS": "1",
        "RELOAD": f"{sys.executable} -m scripts.deploy sync --watch-s 0.5",
        "FRONT_PER_ADDRESS": "20",
    }
    done = gateway.run("--detach")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{gateway.logs()}"
    gateway.first_words = done.stdout
    wait_for(lambda: ask(gateway, "/health").status_code == 200, "the gateway", 60)
    yield gateway
    assert gateway.run("--stop").returncode == 0
    assert gateway.processes() == []
