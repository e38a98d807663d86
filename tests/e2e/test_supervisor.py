"""The supervisor: /live and /ready are true, a dead TorchServe comes back, nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from console.paths import ROOT
from scripts.archive import mar_file
from tests.deploying import Load, wait_for
from tests.quick import Quick
from tests.server import MakeServer, RunningServer, running

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
NOWHERE = "http://127.0.0.1:9"


def _health(server: RunningServer, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and body; (0, {}) where nobody listens yet."""
    try:
        reply = server.health(path)
    except requests.ConnectionError:
        return 0, {}
    return reply.status_code, reply.json()


def _is_ready(server: RunningServer) -> bool:
    return _health(server, "/ready")[0] == 200


def _supervisor(server: RunningServer) -> psutil.Process:
    record = json.loads((server.state_dir / "supervisor.json").read_text())
    return psutil.Process(record["pid"])


@pytest.fixture(scope="module")
def seen() -> list[tuple[int, int, str]]:
    """What /live and /ready answered during the start: two statuses and the reason."""
    return []


@pytest.fixture(scope="module")
def supervised(
    quick: Quick,
    make_server: MakeServer,
    tmp_path_factory: pytest.TempPathFactory,
    seen: list[tuple[int, int, str]],
) -> Iterator[RunningServer]:
    """A server behind, with a store of its own, while MLflow is away all the time."""
    store = tmp_path_factory.mktemp("store")
    shutil.copy(quick.archive, store)
    supervised = make_server(NOWHERE, store)
    supervised.environment["WORKERS"] = "1"
    with subprocess.Popen(
        supervised.command("--detach"), env=supervised.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as start:  # fmt: skip
        while start.poll() is None:
            (live, _), (ready, body) = _health(supervised, "/live"), _health(supervised, "/ready")
            seen.append((live, ready, body.get("reason", "")))
            time.sleep(0.05)
        assert start.returncode == 0, f"{start.communicate()}\n{supervised.logs()}"
    yield supervised


def test_a_start_is_alive_and_not_ready_until_it_has_scored(
    supervised: RunningServer, seen: list[tuple[int, int, str]]
) -> None:
    """While loading /live is 200 and /ready 503; ready comes with the first right score."""
    assert (200, 503, "starting") in seen
    assert not [one for one in seen if one[0] not in (0, 200)]
    statuses = [ready for _, ready, _ in seen if ready]
    assert statuses == sorted(statuses, reverse=True)  # 503 ... 503 200, never back
    assert _health(supervised, "/ready") == (
        200, {"ready": True, "reason": "ready", "version": "1", "workers": 1},
    )  # fmt: skip
    assert supervised.score(PICTURE)["score"] > 0


def test_other_paths_and_methods_are_refused_in_json(supervised: RunningServer) -> None:
    """The health port knows three paths and reads only."""
    status, body = _health(supervised, "/nothing")
    assert (status, body["code"], body["reason"]) == (404, 404, "not_found")
    assert "/live, /ready" in body["message"]
    posted = requests.post(supervised.url("HEALTH_PORT", "/ready"), data=b"x", timeout=5)
    assert (posted.status_code, posted.json()["reason"]) == (405, "method_not_allowed")


def test_a_drain_takes_readiness_and_not_life(supervised: RunningServer) -> None:
    """While draining no load balancer may send requests; the process must not be restarted."""
    mark = supervised.state_dir / "draining"
    mark.touch()
    try:
        status, body = _health(supervised, "/ready")
        assert (status, body["reason"]) == (503, "draining")
        assert _health(supervised, "/live")[0] == 200
    finally:
        mark.unlink()
    assert _is_ready(supervised)


@pytest.mark.alone
def test_an_answer_comes_from_memory_under_load(supervised: RunningServer) -> None:
    """Probes do not wait in the queue: they take milliseconds while predictions wait."""
    url = supervised.url("INFERENCE_PORT", "/predictions/iqa")
    with Load(url, PICTURE, per_s=120) as load:
        time.sleep(0.5)
        took_s = []
        for _ in range(20):
            begin_s = time.monotonic()
            assert _is_ready(supervised)
            took_s.append(time.monotonic() - begin_s)
            time.sleep(0.02)
    waited_s = [answer.answered_s - answer.sent_s for answer in load.answers()]
    assert sorted(took_s)[10] < sorted(waited_s)[len(waited_s) // 2]
    assert sorted(took_s)[10] < 0.05


def test_what_was_served_comes_back_after_a_crash(supervised: RunningServer) -> None:
    """
    Java is killed: its orphans are ended, and the version that served serves soon.

    That is version 2 here, made default by hand; the start was with 1, and MLflow is away.
    """
    _add_version_2(supervised.model_store)
    management = supervised.url("MANAGEMENT_PORT", "/models")
    asked = "?url=iqa-2.mar&model_name=iqa&synchronous=true"
    assert requests.post(f"{management}{asked}", timeout=60).ok
    assert requests.put(f"{management}/iqa/2/set-default", timeout=10).ok
    wait_for(lambda: _health(supervised, "/ready")[1]["version"] == "2", "version 2 is seen", 5)
    before = supervised.members()
    assert len(before) >= 3  # Java and a worker of each version
    os.kill(supervised.state()["pid"], signal.SIGKILL)
    wait_for(lambda: not _is_ready(supervised), "not ready", 2)
    assert _health(supervised, "/live")[0] == 200
    # Within 10 s where nothing else runs (docs/reliability.md); tests share their machine.
    wait_for(lambda: _is_ready(supervised), "ready again", 40)
    assert supervised.score(PICTURE)["model"]["version"] == "2"
    assert running(before) == []
    assert _health(supervised, "/live")[1]["restarts"] == 1


@pytest.mark.alone
def test_a_worker_that_hangs_is_replaced_in_seconds(supervised: RunningServer) -> None:
    """TorchServe alone would wait for 30 s, and the requests behind it."""

    def pids() -> set[int]:
        (entry,) = supervised.torchserve().entries()
        return {int(one["pid"]) for one in entry["workers"] if one["status"] == "READY"}

    before = pids()
    hung = min(before)
    os.kill(hung, signal.SIGSTOP)
    began_s = time.monotonic()
    wait_for(lambda: not running([hung]), "ended", 10)
    assert time.monotonic() - began_s < 8
    wait_for(lambda: len(pids() - {hung}) == len(before), "replaced", 20)
    wait_for(lambda: _is_ready(supervised), "ready again", 20)
    assert supervised.score(PICTURE)["model"]["version"] == "2"


def test_a_torchserve_that_hangs_is_started_again(supervised: RunningServer) -> None:
    """Three pings without an answer: Java is killed and another one serves."""
    hung = supervised.state()["pid"]
    os.kill(hung, signal.SIGSTOP)
    wait_for(lambda: not _is_ready(supervised), "not ready", 12)
    wait_for(lambda: _is_ready(supervised), "ready again", 60)
    assert not running([hung])
    assert supervised.score(PICTURE)["model"]["version"] == "2"


def test_a_supervisor_that_is_killed_leaves_a_server_that_can_be_stopped(
    supervised: RunningServer,
) -> None:
    """--status says that nothing would start it again, --stop ends what is left, all of it."""
    supervisor = _supervisor(supervised)
    supervisor.kill()
    supervisor.wait(5)
    told = supervised.run("--status")
    assert told.returncode == 0
    assert "no supervisor" in told.stdout
    assert supervised.run("--stop").returncode == 0
    assert supervised.processes() == []
    assert not (supervised.state_dir / "server.json").exists()


def test_a_stop_in_the_middle_of_a_restart_leaves_nothing(
    supervised: RunningServer,
) -> None:
    """Java is killed and TERM comes while it is down: the supervisor ends with 0, alone."""
    with subprocess.Popen(
        supervised.command(), env=supervised.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("stop:"):
                break
        os.kill(supervised.state()["pid"], signal.SIGKILL)
        wait_for(lambda: not _is_ready(supervised), "not ready", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert supervised.processes() == []


def _add_version_2(store: Path) -> None:
    """Copy version 1's archive as another version."""
    with zipfile.ZipFile(store / "iqa-1.mar") as old, zipfile.ZipFile(
        store / "iqa-2.mar", "w"
    ) as new:  # fmt: skip
        for item in old.infolist():
            content = old.read(item)
            if item.filename == mar_file.PROVENANCE:
                document = json.loads(content)
                document["model"]["version"] = "2"
                content = json.dumps(document).encode()
            if item.filename == mar_file.MANIFEST:
                document = json.loads(content)
                document["model"]["modelVersion"] = "2"
                content = json.dumps(document).encode()
            new.writestr(item.filename, content)
