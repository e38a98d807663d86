"""
The system in containers, from nothing to nothing: `make test-docker`.

One system for all tests, in the order of this file: it is looked at, used, stopped, started and
removed.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from console.paths import ROOT
from scripts.docker_up import SAMPLE
from tests.docker.stack import INSIDE, Load, Stack

OURS = ("front", "torchserve", "web", "sidecar", "mlflow")
LONG_RUNNING = (*OURS, "prometheus")
UID = "10001"
SENDER = ROOT / "tests" / "docker" / "sender.py"
WEIGHTS = ROOT / "training" / "pretrained" / "model.safetensors"


def test_up_from_nothing_scores_a_picture_and_says_where_all_is(stack: Stack) -> None:
    """One command builds, starts, registers the shipped model, waits, scores, prints addresses."""
    words = stack.first_words
    said = re.search(r"^handler/golden/parrots.jpg: ([\d.]+) \(\w+\), iqa version 1, ", words, re.M)
    assert said is not None, words
    assert float(said[1]) == pytest.approx(stack.score()["score"], abs=0.01)
    for address in (stack.front, stack.mlflow, stack.prometheus):
        assert address in words
    assert stack.score()["model"]["version"] == "1"


def test_ready_and_healthy(stack: Stack) -> None:
    """The front passes readiness on with its reason, and every container is healthy by it."""
    told = requests.get(f"{stack.front}/ready", timeout=10)
    assert (told.status_code, told.json()["ready"], told.json()["version"]) == (200, True, "1")
    for service in OURS:
        _wait_healthy(stack, service)


def test_a_start_again_registers_nothing(stack: Stack) -> None:
    """`up` over a running system leaves the registry as it is."""
    stack.compose("up", "-d")
    listed = stack.python("-m", "scripts.model_info", "--all").stdout
    assert "1" in listed
    log = stack.compose("logs", "--no-color", "register")
    assert "versions are there, nothing registered" in log
    stack.wait_ready()


@pytest.mark.parametrize("service", OURS)
def test_no_container_may_more_than_it_needs(stack: Stack, service: str) -> None:
    """A user without rights or capabilities, a root that cannot be written, no compiler, no pip."""
    facts = stack.inside(service, INSIDE)
    assert facts["uids"] == [UID] * 4
    assert facts["capabilities"] == ["0" * 16] * 2
    assert facts["no_new_privileges"] == "1"
    assert facts["first_process"] == "tini"
    assert facts["may_write"] == (["/app/model-store/x"] if service == "sidecar" else [])
    assert facts["has_scratch"], "the tmpfs is there"
    assert facts["tools"] == []
    assert "pip" not in facts["packages"]


def test_the_server_runs_the_archive_s_code(stack: Stack) -> None:
    """No PYTHONPATH, no torch; a part of `iqa` (replies, logs), behind the archive's own."""
    facts = stack.inside("torchserve", INSIDE)
    assert sorted(facts["copies"]) == ["/app/handler", "/app/handler/iqa"]
    assert facts["iqa"] == ["__init__.py", "errors.py", "prediction_log", "tasks"]
    assert facts["PYTHONPATH"] is None
    assert facts["packages"] == ["iqa", "ts"]
    assert facts["archives"] == ["iqa-1.mar"]
    assert facts["environments"]["worker"]
    for variables in facts["environments"]["worker"]:
        first = variables["PYTHONPATH"].split(":")[0]
        assert first.startswith("/state/"), variables["PYTHONPATH"]
        assert first in facts["unpacked"]


def test_workers_see_no_secret(stack: Stack) -> None:
    """What is in the container's environment by such a name is not in a worker's."""
    seen = stack.inside("torchserve", INSIDE)["environments"]
    secrets = {"REGISTRY_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
    assert all(secrets <= set(variables) for variables in seen["java"]), "else nothing is tested"
    assert seen["worker"]
    for variables in seen["worker"]:
        assert not secrets & set(variables)
        assert "not-for-workers" not in variables.values()
        assert variables["HARMLESS"] == "for-workers"


def test_only_the_way_in_and_the_pages_are_published(stack: Stack) -> None:
    """On loopback; server and side-car are on networks without a way out alone."""
    bound = {}
    for service in LONG_RUNNING:
        told = stack.inspect(service)["NetworkSettings"]["Ports"]
        bound[service] = [b for bindings in told.values() for b in bindings or []]
    assert {service for service, ports in bound.items() if ports} == {
        "front", "mlflow", "prometheus",
    }  # fmt: skip
    assert {b["HostIp"] for ports in bound.values() for b in ports} == {"127.0.0.1"}
    inside, registry = (f"{stack.project}_{name}" for name in ("inside", "registry"))
    for network in (inside, registry):
        assert json.loads(stack.docker("network", "inspect", network))[0]["Internal"] is True
    for service, networks in (
        ("torchserve", {inside}), ("web", {inside}), ("sidecar", {inside, registry}),
    ):  # fmt: skip
        assert set(stack.inspect(service)["NetworkSettings"]["Networks"]) == networks


@pytest.mark.parametrize("service", ["torchserve", "web", "front"])
def test_what_reads_bytes_of_clients_does_not_reach_the_registry(
    stack: Stack, service: str
) -> None:
    """By neither name nor address; the side-car does, so the question is asked rightly."""
    networks = stack.inspect("mlflow")["NetworkSettings"]["Networks"]
    addresses = ["mlflow", *(str(one["IPAddress"]) for one in networks.values())]
    assert not stack.reaches(service, addresses, 5000)
    assert "mlflow" in stack.reaches("sidecar", addresses, 5000)


def test_the_front_passes_on_what_it_should_and_nothing_else(stack: Stack) -> None:
    """Management, metrics and TorchServe's other paths are not there from outside."""
    for method, path in [
        ("GET", "/models"), ("POST", "/models?url=x.mar"), ("GET", "/metrics"),
        ("OPTIONS", "/"), ("POST", "/invocations"), ("POST", "/v2/repository/index"),
        ("POST", "/workflows?url=x"), ("POST", "/predictions/iqa/1"),
    ]:  # fmt: skip
        reply = requests.request(method, stack.front + path, timeout=10)
        assert reply.status_code in (404, 405), (method, path, reply.status_code)
        assert reply.json()["reason"] in ("not_found", "method_not_allowed")


def test_the_page_and_the_gateway_are_behind_the_front(stack: Stack) -> None:
    """One public port: the page, its API, a form, and the three files of a batch in order."""
    page = requests.get(f"{stack.front}/", timeout=30)
    assert (
        page.status_code == 200 and "unsafe-inline" not in page.headers["Content-Security-Policy"]
    )
    assert requests.get(f"{stack.front}/docs", timeout=30).status_code == 200
    health = requests.get(f"{stack.front}/health", timeout=30)
    assert health.status_code == 200
    assert health.json()["model_info"] == "Alias: staging", health.text
    picture = SAMPLE.read_bytes()
    expected = stack.score()["score"]
    for path in ("/predict", "/predict/"):
        reply = requests.post(stack.front + path, files={"file": ("a b.jpg", picture)}, timeout=60)
        assert reply.status_code == 200, reply.text
        assert reply.json()["image_name"] == "a b.jpg"
        assert reply.json()["score"] == pytest.approx(expected, abs=0.01)
    files = [("files", (f"{n}.jpg", body)) for n, body in enumerate((picture, b"none", picture))]
    batch = requests.post(f"{stack.front}/predict/batch", files=files, timeout=60).json()
    assert [result["status"] for result in batch["results"]] == [200, 400, 200], batch


def test_mlflow_answers_to_its_names_alone(stack: Stack) -> None:
    """Another Host header, as a page in a browser could bring one, is refused."""
    path = f"{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(path, timeout=30).status_code == 200
    assert requests.get(path, headers={"Host": "evil.example"}, timeout=30).status_code == 403


def test_another_model_is_served_without_a_failed_request(stack: Stack, tmp_path: Path) -> None:
    """Train against the compose MLflow, move the alias, the side-car swaps; nobody notices."""
    data = str(tmp_path / "data")
    commands = [
        ["training.demo_data", "--out", data, "--pictures", "40"],
        [
            "training.train", "--data-dir", data, "--crop-px", "192", "--epochs", "1",
            "--lr", "1e-4", "--weights", str(WEIGHTS), "--out", str(tmp_path / "run"),
            "--experiment", "docker-test",
        ],
        ["scripts.set_alias", "iqa", "2"],
    ]  # fmt: skip
    with Load(stack) as load:
        load.wait_for("1", 30)
        for command in commands:
            done = stack.python("-m", *command)
            assert done.returncode == 0, f"{command[0]}: {done.stdout}\n{done.stderr}"
        load.wait_for("2", 240)
        # The watch after the swap, in which it could still be taken back.
        time.sleep(12)
    assert load.failures == []
    assert set(load.versions) == {"1", "2"}
    assert load.versions == sorted(load.versions), "each request got one version, then the other"
    command = ["python", "-m", "scripts.deploy", "status", "--json"]
    status = json.loads(stack.docker("exec", stack.container("sidecar"), *command))
    assert (status["alias_version"], status["served_version"]) == ("2", "2")
    assert status["ready"] is True


def test_prometheus_has_it_all(stack: Stack) -> None:
    """Every target is up, its rules load, and the metrics of each kind are there."""
    deadline = time.monotonic() + 90
    wanted = {
        'iqa_scores_total{ModelVersion="2"}',
        'iqa_latency_seconds_bucket{ModelVersion="2"}',
        "iqa_processes",
        "iqa_alias_version == 2",
        "iqa_served_version == 2",
    }
    missing = set(wanted)
    while missing and time.monotonic() < deadline:
        missing = {expression for expression in wanted if not stack.query(expression)}
        time.sleep(1)
    assert not missing
    up = {(s["metric"]["job"], s["metric"]["instance"]): s["value"][1] for s in stack.query("up")}
    assert up
    assert set(up.values()) == {"1"}, up
    rules = requests.get(f"{stack.prometheus}/api/v1/rules", timeout=30).json()["data"]["groups"]
    assert rules
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_a_server_that_starts_while_mlflow_is_away_serves_what_it_served(stack: Stack) -> None:
    """A restart forgets nothing: the store's note names the archive."""
    stack.compose("stop", "mlflow", "torchserve")
    assert requests.get(f"{stack.front}/ready", timeout=10).status_code in (503, 504)
    stack.docker("start", stack.container("torchserve"))
    stack.wait_ready()
    assert stack.score()["model"]["version"] == "2"
    stack.docker("start", stack.container("mlflow"))
    _wait_healthy(stack, "mlflow")


def test_a_server_at_another_address_is_found_by_the_front(stack: Stack) -> None:
    """An upgrade makes the container anew, and nginx looks a name up once."""
    before = _address(stack, "torchserve")
    stack.compose("stop", "torchserve")
    # Somebody else gets the address, or the next one.
    inside = f"{stack.project}_inside"
    image = stack.inspect("front")["Config"]["Image"]
    other = stack.docker(
        "run", "-d", "--rm", "--network", inside, "--entrypoint", "sleep", image, "300"
    )
    try:
        stack.docker("start", stack.container("torchserve"))
        assert _address(stack, "torchserve") != before
        stack.wait_ready()
        assert stack.score()["model"]["version"] == "2"
    finally:
        stack.docker("rm", "--force", other)


def test_a_front_that_is_stopped_answers_what_it_accepted(stack: Stack) -> None:
    """TERM under load: each request is answered, told to come again, or refused; none is cut."""
    try:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(stack.inside, "sidecar", SENDER)
            time.sleep(3)
            stack.compose("stop", "front")
            answers = sent.result()
        state = stack.inspect("front")["State"]
    finally:  # the tests after this one want it
        stack.compose("start", "front")
    assert [a for a in answers if a not in (200, 503, "refused")] == []
    assert answers.count(200) >= 10
    assert state["ExitCode"] == 0
    stack.wait_ready()


@pytest.mark.parametrize("service", ["torchserve", "sidecar", "mlflow"])
def test_term_ends_each_container_in_order(stack: Stack, service: str) -> None:
    """Exit status 0 well before the engine would kill it."""
    begin_s = time.monotonic()
    stack.docker("stop", "--time", "60", stack.container(service))
    state = stack.inspect(service)["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), stack.logs()
    assert time.monotonic() - begin_s < 55
    stack.docker("start", stack.container(service))
    if service == "mlflow":
        _wait_healthy(stack, service)
    stack.wait_ready()


def test_down_leaves_nothing(stack: Stack) -> None:
    """No container, no network, no volume."""
    before = stack.left()
    assert before["containers"]
    assert before["networks"]
    assert before["volumes"]
    stack.remove()
    assert stack.left() == {"containers": [], "networks": [], "volumes": []}


def _wait_healthy(stack: Stack, service: str, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        health = stack.inspect(service)["State"]["Health"]
        if health["Status"] == "healthy":
            return
        assert time.monotonic() < deadline, f"{service}: {health}"
        time.sleep(0.5)


def _address(stack: Stack, service: str) -> str:
    networks = stack.inspect(service)["NetworkSettings"]["Networks"]
    return str(networks[f"{stack.project}_inside"]["IPAddress"])
