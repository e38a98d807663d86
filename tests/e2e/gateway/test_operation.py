"""The gateway in operation: reloads, readiness, deaths, overload, stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from benchmarks.reliability.versions import add_version, not_golden
from console.paths import ROOT
from scripts.rollout import drain
from scripts.server.process_end import has_ended
from scripts.server.state import StateDir
from tests.asking import PICTURE, TOKEN, ask, expect_refusal, post, process_of
from tests.deploying import wait_for
from tests.server import MakeServer, RunningServer
from training.registry import address, model_versions


def test_a_reload_serves_what_the_alias_names(
    gateway: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to do, a new version, a version that is refused: what happened is said each time."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gateway.environment["MLFLOW_TRACKING_URI"])
    address.connect()
    reply = post(gateway, "/reload-model")
    assert reply.status_code == 200, reply.text
    assert (reply.json()["previous_version"], reply.json()["model_version"]) == ("1", "1")
    good, bad = add_version(gateway.model_store), add_version(gateway.model_store, not_golden)
    model_versions.move_alias("iqa", "staging", good, "test")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, gateway, "/reload-model")
        wait_for(
            lambda: any("scripts.deploy sync" in line for line in gateway.processes()), "the sync"
        )
        expect_refusal(post(gateway, "/reload-model"), 409, "reload_under_way")
        reply = first.result()
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert (told["previous_version"], told["model_version"]) == ("1", good)
    assert told["message"] == f"iqa version {good} is served; version 1 was before"
    assert any("golden pictures" in line for line in told["log"])
    model_versions.move_alias("iqa", "staging", bad, "test")
    reply = post(gateway, "/reload-model")
    expect_refusal(reply, 409, "reload_refused")
    assert f"version {bad}" in reply.json()["message"]
    assert gateway.score(PICTURE)["model"]["version"] == good
    assert ask(gateway, "/health").json()["model_version"] == good
    model_versions.move_alias("iqa", "staging", good, "test")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # a name that now resolves to this machine
        {"Origin": "http://evil.example"},  # a page in this machine's browser
        {"Origin": "null"},
    ],
)
def test_no_other_site_can_reload(gateway: RunningServer, headers: dict[str, str]) -> None:
    """Being on this machine is not enough for a browser that shows another site."""
    expect_refusal(post(gateway, "/reload-model", headers=headers), 403, "forbidden")


def test_a_client_cannot_say_where_it_is(gateway: RunningServer) -> None:
    """The front overwrites X-Forwarded-For; the page's own origin may reload."""
    port = gateway.environment["WEB_PORT"]  # behind the front: as it would tell a far client
    url = f"http://127.0.0.1:{port}/reload-model"
    far = requests.post(url, headers={"X-Forwarded-For": "10.0.0.9"}, timeout=60)
    expect_refusal(far, 403, "forbidden")
    own = {"Origin": f"http://127.0.0.1:{gateway.environment['INFERENCE_PORT']}"}
    near = post(gateway, "/reload-model", headers={"X-Forwarded-For": "10.0.0.9", **own})
    assert near.status_code == 200, near.text


def test_a_token_opens_the_reload_to_others(gateway: RunningServer, tmp_path: Path) -> None:
    """With one, alone on a port: 401 without it and with another, 200 with it."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    port = str(int(gateway.environment["INFERENCE_PORT"]) + 9)
    environment = {
        **gateway.environment,
        "WEB_INFERENCE_URL": gateway.url("INFERENCE_PORT", ""),
        "WEB_READY_URL": gateway.url("HEALTH_PORT", "/ready"),
        "RELOAD_TOKEN_FILE": str(tmp_path / "token"),
    }
    alone = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "web.api:app", "--port", port, "--log-level", "warning"],
        cwd=ROOT, env=environment,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{url}/health"), "the gateway alone", 60)
        assert requests.post(f"{url}/predict", data=PICTURE, timeout=60).json()["score"] > 0
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}):
            reply = requests.post(f"{url}/reload-model", headers=headers, timeout=60)
            expect_refusal(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "server.example"}
        assert requests.post(f"{url}/reload-model", headers=right, timeout=120).status_code == 200
    finally:
        alone.terminate()
        assert alone.wait(30) in (0, -signal.SIGTERM)


def test_health_is_what_ready_says_in_every_fault(gateway: RunningServer) -> None:
    """Draining, a supervisor that hangs, a server that died: /health and v2 say 503 as well."""
    is_up = ask(gateway, "/health")
    assert is_up.json() | {"model_version": "", "reason": ""} == {
        "status": "ok", "model_status": "loaded", "model_name": "iqa", "model_version": "",
        "model_info": "Alias: staging", "reason": "",
    }  # fmt: skip
    port = gateway.environment["WEB_PORT"]

    def said() -> dict[str, int]:
        return {
            path: requests.get(f"http://127.0.0.1:{port}{path}", timeout=30).status_code
            for path in ("/health", "/v2/health/ready", "/v2/models/iqa/ready")
        }

    all_down, all_up = set([503]), set([200])
    state = StateDir.at(gateway.state_dir)
    drain.mark(state)
    wait_for(lambda: gateway.health("/ready").status_code == 503, "draining", 20)
    assert set(said().values()) == all_down
    assert ask(gateway, "/health").json()["reason"] == "draining"
    drain.end(state)
    wait_for(lambda: set(said().values()) == all_up, "ready again", 20)
    supervisor = psutil.Process(
        json.loads((gateway.state_dir / "supervisor.json").read_text())["pid"]
    )
    supervisor.suspend()
    try:
        assert set(said().values()) == all_down
    finally:
        supervisor.resume()
    wait_for(lambda: set(said().values()) == all_up, "ready again", 20)
    psutil.Process(gateway.state()["pid"]).kill()
    wait_for(lambda: gateway.health("/ready").status_code == 503, "it is seen", 20)
    reasons: set[str] = set()
    while gateway.health("/ready").status_code == 503:
        before, told, after = gateway.health("/ready"), said(), gateway.health("/ready")
        if before.status_code == after.status_code == 503:
            assert set(told.values()) == all_down
        reply = post(gateway, "/predict", data=PICTURE)
        assert reply.status_code in (200, 503), reply.text
        if reply.status_code == 503:
            assert reply.json()["reason"] in ("unavailable", "expired")  # it waited for a worker
            assert int(reply.headers["retry-after"]) > 0
            reasons.add(reply.json()["reason"])
    assert "unavailable" in reasons
    wait_for(lambda: set(said().values()) == all_up, "ready again", 60)


def test_a_gateway_that_dies_comes_back_and_scores_go_on(gateway: RunningServer) -> None:
    """It is started again; meanwhile its paths say 503, and /ready and /predictions are well."""
    dead = process_of(gateway)
    dead.kill()
    assert post(gateway, "/predict", data=PICTURE).status_code == 200  # goes past it
    wait_for(lambda: has_ended(dead), "dead", 10)
    assert gateway.score(PICTURE)["score"] > 0
    assert gateway.health("/ready").status_code == 200
    wait_for(lambda: ask(gateway, "/health").status_code == 200, "back", 60)
    assert process_of(gateway).pid != dead.pid
    assert post(gateway, "/predict/", data=PICTURE).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
def test_overload_is_refused_as_by_the_front(gateway: RunningServer, path: str) -> None:
    """The front counts an address once: 20 at a time here, 429 for the next; nothing else fails."""

    def one(_: int) -> requests.Response:
        return post(gateway, path, data=PICTURE)

    with ThreadPoolExecutor(60) as pool:
        replies = list(pool.map(one, range(120)))
    counts = {status: 0 for status in (200, 429)}
    for reply in replies:
        counts[reply.status_code] += 1
        if reply.status_code == 429:
            expect_refusal(reply, 429, "too_many_requests")
    assert counts[200] >= 20


def test_a_stop_in_the_middle_of_a_batch_loses_no_file(
    gateway: RunningServer, make_server: MakeServer
) -> None:
    """What was accepted is scored, also what the gateway has not asked for yet."""
    server = make_server(gateway.environment["MLFLOW_TRACKING_URI"], gateway.model_store)
    server.environment |= {"WORKERS": "1"}
    assert server.run("--detach").returncode == 0
    wait_for(lambda: ask(server, "/health").status_code == 200, "the gateway", 60)
    files = [("file", (f"{index}.jpg", PICTURE)) for index in range(100)]
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(post, server, "/predict/batch", files=files)
        time.sleep(0.5)
        assert server.run("--stop").returncode == 0
        reply = under_way.result()
    assert reply.status_code == 200, reply.text
    assert reply.json()["scored"] == 100
    assert server.processes() == []


def test_without_the_web_its_paths_are_not_there(
    gateway: RunningServer, make_server: MakeServer
) -> None:
    """`--no-web` leaves it out: no process, no path, predictions as before."""
    server = make_server(gateway.environment["MLFLOW_TRACKING_URI"], gateway.model_store)
    server.environment |= {"WORKERS": "1", "WEB": "0"}
    done = server.run("--detach")
    assert done.returncode == 0
    assert "page:" not in done.stdout
    assert not any("web.api" in line for line in server.processes())
    for path in ("/", "/predict", "/health", "/docs", "/v2/health/ready", "/reload-model"):
        reply = post(server, path, data=PICTURE)
        assert (reply.status_code, reply.json()["reason"]) == (404, "not_found")
    assert server.score(PICTURE)["score"] > 0
    assert server.run("--stop").returncode == 0


def test_a_gateway_that_is_left_over_is_ended(gateway: RunningServer) -> None:
    """A killed supervisor leaves it behind; `--stop` ends it, and the port is free for a start."""
    supervisor = psutil.Process(
        json.loads((gateway.state_dir / "supervisor.json").read_text())["pid"]
    )
    left = process_of(gateway)
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_for(lambda: not supervisor.is_running(), "it is gone", 10)
    assert left.is_running()
    assert gateway.run("--stop").returncode == 0
    assert gateway.processes() == []


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
