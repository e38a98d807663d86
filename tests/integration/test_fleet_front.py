"""The nginx before several servers, as configured; the servers behind it only say who they are."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from scripts.nginx.fleet_address import render_fleet
from scripts.nginx.program import nginx_command, nginx_program
from scripts.nginx.settings import defaults
from tests.ports import free_port

KEYS = [f"client-{i}" for i in range(120)]
BODY = os.urandom(700_000)  # more than nginx keeps in memory


class Answering:
    """A server that answers with its name, or refuses as a front that stops does."""

    def __init__(self, name: str) -> None:
        self.name, self.port, self.status = name, free_port(), 200
        self.sizes: list[int] = []
        self.start()

    def start(self) -> None:
        """Listen."""
        answering, self.is_up = self, True

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                got = len(self.rfile.read(size))
                if not answering.is_up:  # a connection that was kept open breaks
                    self.close_connection = True
                    return
                answering.sizes.append(got)
                body = f"{answering.name} {self.headers.get('X-Sticky-Key')}".encode()
                self.send_response(answering.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and answer nobody."""
        self.is_up = False
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def servers() -> Iterator[list[Answering]]:
    """Three of them."""
    made = [Answering(name) for name in ("a", "b", "c")]
    yield made
    for one in made:
        one.stop()


@pytest.fixture
def url(servers: list[Answering], tmp_path: Path) -> Iterator[str]:
    """The address of the nginx before them."""
    port = free_port()
    settings = {**defaults(), "FRONT_LISTEN": f"127.0.0.1:{port}", "FRONT_DIR": str(tmp_path)}
    config = tmp_path / "fleet.conf"
    config.write_text(render_fleet(settings, ",".join(f"127.0.0.1:{s.port}" for s in servers)))
    process = subprocess.Popen(nginx_command(nginx_program(), config))
    deadline = time.monotonic() + 30
    while not (tmp_path / "nginx.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def ask(url: str, keys: list[str], body: bytes = b"image") -> list[str]:
    """Send a request for each key ("": none); return who answered, all with 200."""

    def one(key: str) -> str:
        headers = {"X-Sticky-Key": key} if key else {}
        reply = requests.post(f"{url}/predictions/iqa", data=body, headers=headers, timeout=30)
        assert reply.status_code == 200, reply.text
        name, _, told = reply.text.partition(" ")
        assert told == (key or "None")  # a server's own canary splits by it
        return name

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, keys))


def test_a_key_always_leads_to_the_same_server(url: str, servers: list[Answering]) -> None:
    """Each has some of the keys; who sends none is answered by all of them in turn."""
    first = ask(url, KEYS)
    assert ask(url, KEYS) == first
    assert min(Counter(first)[one.name] for one in servers) >= len(KEYS) / 8
    without = Counter(ask(url, [""] * 120))
    assert min(without[one.name] for one in servers) >= 120 / 8


@pytest.mark.parametrize("how", ["down", "stopping"])
def test_a_lost_server_hands_its_own_keys_on_and_gets_them_back(
    url: str, servers: list[Answering], how: str
) -> None:
    """No request is lost, with its body whole; the keys of the others stay where they are."""
    before = ask(url, KEYS)
    lost = servers[1]
    if how == "down":
        lost.stop()
    else:
        lost.status = 503
    during = ask(url, KEYS, BODY)
    for was, now in zip(before, during, strict=True):
        assert now != lost.name
        assert now == was or was == lost.name
    assert {size for one in servers for size in one.sizes} == {len(b"image"), len(BODY)}
    if how == "down":
        lost.start()
    lost.status = 200
    assert ask(url, KEYS) == before


def test_without_any_server_the_refusal_has_the_fronts_shape(
    url: str, servers: list[Answering]
) -> None:
    """503 with a reason and when to come again."""
    for one in servers:
        one.stop()
    reply = requests.post(f"{url}/predictions/iqa", data=b"image", timeout=30)
    assert reply.status_code == 503
    assert reply.json()["reason"] == "unavailable"
    assert reply.headers["Retry-After"] == "2"
    for one in servers:
        one.start()


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, "too_many_bytes"),
    ],
)
def test_what_it_refuses_itself_has_the_fronts_shape(
    url: str, request_: bytes, status: int, reason: str
) -> None:
    """JSON with a reason, as a single server's front answers."""
    said, body = _raw(url, request_)
    assert said == status
    assert json.loads(body)["reason"] == reason


def test_a_batch_is_told_its_own_limit(url: str) -> None:
    """It is a hundred times that of one picture."""
    limit = defaults()["FRONT_BATCH_BYTES"]
    head = f"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {10 * int(limit)}\r\n\r\n"
    said, body = _raw(url, head.encode())
    assert said == 413
    assert f"at most {limit} bytes" in json.loads(body)["message"]


def test_a_request_without_a_host_is_passed_on(url: str) -> None:
    """HTTP/1.0 has none, and some load balancers check by it."""
    said, body = _raw(url, b"POST /predictions/iqa HTTP/1.0\r\nContent-Length: 5\r\n\r\nimage")
    assert said == 200, body


def _raw(url: str, request_: bytes) -> tuple[int, bytes]:
    """Send bytes; return the status and the body."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request_)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


def test_nobody_reloads_by_this_address(url: str, servers: list[Answering]) -> None:
    """The servers take /reload-model from their own machine, where this nginx is."""
    for path in ("/reload-model", "//reload-model", "/x/../reload-model", "/%72eload-model"):
        reply = requests.post(url + path, data=b"", timeout=30)
        assert reply.status_code == 404, path
        assert reply.json()["reason"] == "not_found"
    assert not any(one.sizes for one in servers)


@pytest.mark.parametrize("replicas", ["", "127.0.0.1", "127.0.0.1:1;", "h:1,h:1", "h:1, ,h:2"])
def test_what_is_no_list_of_servers_is_refused(replicas: str) -> None:
    """Nothing that is given may become another directive."""
    with pytest.raises(ValueError, match="--replicas: expected"):
        render_fleet(defaults(), replicas)
