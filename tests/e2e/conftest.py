"""Servers that several files of these tests share."""

from __future__ import annotations

import pytest

from tests.quick import Quick
from tests.server import MakeServer, RunningServer


@pytest.fixture(scope="session")
def talkative(quick: Quick, make_shared_server: MakeServer) -> RunningServer:
    """A server without a front that logs all it can: each request, a copy, each answer."""
    other = make_shared_server().take(quick.archive, quick.registry)
    folder = other.state_dir.parent
    other.environment |= {
        "FRONT": "0",
        "WORKERS": "1",
        "IQA_LOG_LEVEL": "INFO",
        "IQA_LOG_TO": str(folder / "copy.log"),
        "PREDICTION_LOG": str(folder / "predictions"),
    }
    return other.start()
