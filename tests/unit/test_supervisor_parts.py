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


def test_a_slow_start_is_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies as soon as it is up, each time, is started after longer and longer."""
    now_s, module = [100.0], server_across_restarts
    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(module, "time", clock)
    up: Any = SimpleNamespace(
        started_at_s=0.0, pid=1, names=(), mars={}, refused={}, process=lambda: None
    )
    monkeypatch.setattr(module.dataclasses, "replace", lambda server, **_: server)
    monkeypatch.setattr(module.process, "stop", lambda *_, **__: None)
    monkeypatch.setattr(module.process, "start", lambda *_, **__: up)

    def slowly(*_: Any) -> Any:
        now_s[0] += module.STEADY_S + 5
        return up

    monkeypatch.setattr(module.process, "wait_until_ready", slowly)
    state: Any = SimpleNamespace(record_server=lambda _: None)
    plan: Any = SimpleNamespace(state=state, ports=None, workers={}, hosts=None, models=())
    readiness: Any = SimpleNamespace(end=lambda _: None, look=lambda: None, begin=lambda _: None)
    stopping: Any = SimpleNamespace(wait=lambda pause_s: pauses_s.append(pause_s))
    pauses_s: list[float] = []
    lasting = module.LastingServer(plan, stopping, readiness, lambda: None)
    monkeypatch.setattr(lasting, "_best", lambda *_: ({}, {}))
    monkeypatch.setattr(module.drain, "is_draining", lambda *_: False)
    lasting.server = up
    for _ in range(3):
        lasting.watch()
        now_s[0] += 1
    assert pauses_s == [0.5, 1.0, 2.0]
    now_s[0] += module.STEADY_S
    lasting.watch()
    assert pauses_s[-1] == module.FIRST_PAUSE_S
