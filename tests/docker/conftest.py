"""
The containers, up from nothing. Run by `make test-docker`, and only where it is asked for by name.

Everything carries a project name of its own, so a system that runs here is not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.stack import Stack
from tests.ports import free_port, is_free

# Below the ports that systems give to outgoing connections: 10,000 of these hold any other.
PORTS = {"INFERENCE_PORT": 24080, "MLFLOW_PORT": 24500, "PROMETHEUS_PORT": 24909}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out of `pytest tests`: it needs an engine and minutes."""
    here = Path(__file__).parent
    named = [Path(word.split("::")[0]).resolve() for word in config.args]
    return None if any(path == here or here in path.parents for path in named) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that building the images takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The system of docker-compose.yml, ready; everything of it is removed at the end."""
    ports = {
        name: os.environ.get(f"TEST_{name}") or str(_free(port)) for name, port in PORTS.items()
    }
    system = Stack(f"iqa-test-{os.getpid()}", ports)
    system.remove()
    try:
        system.up()
        yield system
    finally:
        system.remove()


def _free(wanted: int) -> int:
    """Return a port if it is free, else any."""
    return wanted if is_free(wanted) else free_port()
