"""Servers that several files of these tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.server import RunningServer


@pytest.fixture(scope="session")
def talkative(server: RunningServer, make_server: Callable[..., RunningServer]) -> RunningServer:
    """A server without a front that logs all it can: each request, a copy, each answer."""
    other = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    folder = other.state_dir.parent
    other.environment |= {
        "FRONT": "0",
        "WORKERS": "1",
        "IQA_LOG_LEVEL": "INFO",
        "IQA_LOG_TO": str(folder / "copy.log"),
        "PREDICTION_LOG": str(folder / "predictions"),
    }
    done = other.run("--detach")
    assert done.returncode == 0, done.stderr + other.logs()
    other.first_words = done.stdout
    return other
