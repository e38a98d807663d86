"""Parts of the supervisor whose failure must not end the server: the gateway, a drain's mark."""

from __future__ import annotations

import logging
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.rollout import drain
from scripts.server.state import StateDir
from scripts.supervisor import gateway, server_across_restarts
from scripts.supervisor.gateway import Gateway, WebSettings

SETTINGS = WebSettings(port=1, inference_url="", ready_url="", models="iqa@staging")


@pytest.mark.parametrize("full", ["web.json.new", "logs"])
def test_a_gateway_that_cannot_be_put_on_record_does_not_end_the_supervisor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    full: str,
) -> None:
    """On a full disk the record or the log's folder cannot be written: it is said."""
    popen = subprocess.Popen

    def sleep(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return popen(["sleep", "60"], **options)

    monkeypatch.setattr(gateway.subprocess, "Popen", sleep)
    (tmp_path / full).symlink_to("/dev/full")
    one = Gateway(SETTINGS, tmp_path, 0.0, tmp_path / "logs" / "web.log")
    with caplog.at_level(logging.WARNING):
        one.watch()
    hurry = threading.Event()
    hurry.set()
    one.stop(hurry)
    assert "gateway: [Errno" in caplog.text


def test_a_restart_on_a_full_disk_does_not_end_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The front cannot be held nor a drain marked anew: the server serves again, which is said."""
    state = StateDir.at(tmp_path)
    drain.mark(state)
    (tmp_path / f"{drain.DRAINING_FILE}.new").symlink_to("/dev/full")
    plan: Any = SimpleNamespace(state=state, store=tmp_path)
    readiness: Any = SimpleNamespace(end=lambda why: None, look=lambda: None)

    def full() -> None:
        raise OSError(28, "No space left on device")

    front: Any = SimpleNamespace(hold=full)
    lasting = server_across_restarts.LastingServer(
        plan, threading.Event(), readiness, lambda: front
    )
    server: Any = SimpleNamespace(started_at_s=0.0, pid=1, names=(), mars={}, process=lambda: None)
    lasting.server = server
    monkeypatch.setattr(server_across_restarts.process, "stop", lambda *_, **__: None)
    monkeypatch.setattr(lasting, "_best", lambda *_: ({}, {}))
    monkeypatch.setattr(lasting, "start", lambda *_: server)
    with caplog.at_level(logging.WARNING):
        lasting.watch()
    assert "the drain is over, it cannot be marked anew: [Errno 28]" in caplog.text
    assert lasting.down_since_s is None
