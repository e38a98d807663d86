"""What TorchServe answers wrongly, row by row of docs/security.md: not on the default start."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from console.paths import ROOT
from tests.attack.corpus import FORMS
from tests.attack.wire import GOOD, KEEP, PATH, SMUGGLED, asked, head, sent
from tests.deploying import wait_for
from tests.images import encode, photograph
from tests.quick import Quick
from tests.server import MakeServer, RunningServer

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
PICTURE = PARROTS.read_bytes()
LARGE = bytes(15_000_000)
HUGE = bytes(39_000_000)
UPLOADS = 10


class Held:
    """
    A connection that is left alone after it has said something.

    Args:
        port: On this machine.
        said: What is sent.
        answered: Read one answer first.
    """

    def __init__(self, port: int, said: bytes = b"", *, answered: bool = False) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=90)
        self._connection.sendall(said)
        if answered:
            assert self._connection.recv(65536).startswith(b"HTTP/1.1 200")
        self._since_s = time.monotonic()
        self._lasted_s: float | None = None
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def lasted_s(self) -> float:
        """Wait until the server ends it; return after how long that was."""
        self._thread.join()
        assert self._lasted_s is not None
        return self._lasted_s

    def is_open(self) -> bool:
        """Tell whether the server has it."""
        return self._thread.is_alive()

    def _wait(self) -> None:
        try:
            while self._connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
        finally:
            self._lasted_s = time.monotonic() - self._since_s
            self._connection.close()


@pytest.fixture(scope="module")
def fronted(quick: Quick, make_server: MakeServer) -> Iterator[RunningServer]:
    """A server of these tests' own, as it starts by default: they fill Java's memory."""
    fronted = make_server().take(quick.archive, quick.registry).start()
    yield fronted
    assert fronted.run("--stop").returncode == 0


@pytest.fixture(scope="module", autouse=True)
def idle(fronted: RunningServer) -> tuple[Held, Held]:
    """A connection without a word, and one after an answer: the second one takes a minute."""
    port = _port(fronted)
    return Held(port), Held(port, KEEP, answered=True)


def _port(server: RunningServer) -> int:
    return int(server.environment["INFERENCE_PORT"])


def _refused(reply: requests.Response, status: int) -> None:
    document = reply.json()
    assert (reply.status_code, document["code"]) == (status, status), document
    assert {"code", "type", "message", "reason"} == set(document)
    assert ": expected " in document["message"]


def _data_binary(server: RunningServer) -> None:
    said = subprocess.run(
        ["curl", "-sS", "--data-binary", f"@{PARROTS}", server.url("INFERENCE_PORT", PATH)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(said)["score"] == server.score(PICTURE)["score"]


def _broken_forms(server: RunningServer) -> None:
    broken = {name: form for name, form in FORMS.items() if form.bare == 500}
    assert len(broken) > 5
    for name, form in broken.items():
        arguments = form.make()
        reply = server.post(arguments.pop("data", None), **arguments)
        assert reply.status_code == form.status in (200, 400), (name, reply.text[:300])
        assert ("score" if reply.ok else "reason") in reply.json(), name


def _two_files(server: RunningServer) -> None:
    files = [("image", ("a.jpg", PICTURE)), ("image", ("b.jpg", PICTURE))]
    reply = server.post(files=files)
    _refused(reply, 400)
    assert reply.json()["reason"] == "too_many_files"


def _million_fields(server: RunningServer) -> None:
    started_s = time.monotonic()
    _refused(
        server.post(
            b"a=b&" * 1_000_000, headers={"Content-Type": "application/x-www-form-urlencoded"}
        ),
        400,
    )
    assert time.monotonic() - started_s < 5


def _unfinished_uploads(server: RunningServer) -> None:
    begun = head("Content-Length: 40000000") + HUGE
    held = [Held(_port(server), begun) for _ in range(UPLOADS)]
    wait_for(lambda: _bytes_on_disk(server) > 0.9 * UPLOADS * len(HUGE), "on disk", 10)
    _refused(server.post(bytes(34_000_000)), 413)
    assert server.score(PICTURE)["score"] > 0
    assert sum(one.is_open() for one in held) == UPLOADS
    for one in held:
        assert 9 < one.lasted_s() < 15


def _bytes_on_disk(server: RunningServer) -> int:
    """Return the size of the bodies that nginx keeps in files, which have no name any more."""
    master = psutil.Process(int((server.state_dir / "front" / "nginx.pid").read_text()))
    opened = [
        file for child in master.children() for file in Path(f"/proc/{child.pid}/fd").iterdir()
    ]
    return sum(file.stat().st_size for file in opened if "/front/body/" in os.readlink(file))


def _fifty_large(server: RunningServer) -> None:
    def small(_: int) -> int:
        return server.post(PICTURE).status_code

    with ThreadPoolExecutor(50) as large, ThreadPoolExecutor(2) as others:
        sending = [large.submit(server.post, LARGE) for _ in range(50)]
        answered = list(others.map(small, range(40)))
        replies = [sender.result() for sender in sending]
    reasons = Counter((reply.status_code, reply.json()["reason"]) for reply in replies)
    assert set(reasons) == {(400, "undecodable"), (503, "overloaded")}, reasons
    assert answered.count(200) == len(answered), Counter(answered)


def _preface(server: RunningServer) -> None:
    statuses, answer = sent(_port(server), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    assert statuses[:1] == [400], answer[:300]
    assert b'"reason": "bad_request"' in answer


def _too_large(server: RunningServer) -> None:
    reply = server.post(bytes(46_000_001))
    _refused(reply, 413)
    assert reply.json()["reason"] == "too_many_bytes"


def _two_in_one_go(server: RunningServer) -> None:
    slow = encode(photograph(3000, 2000), "PNG")
    first = head(f"Content-Length: {len(slow)}") + slow
    second = head("Content-Length: 1", "Connection: close") + b"x"
    assert sent(_port(server), first + second)[0] == [200, 400]


def _length_and_chunks(server: RunningServer) -> None:
    both = head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    statuses, answer = sent(_port(server), both + SMUGGLED + GOOD)
    assert statuses == [400], answer[:300]


def _description(server: RunningServer) -> None:
    # `/` is the page, which the gateway has for GET.
    for method, path, status in (("OPTIONS", "/", 405), ("GET", "/api-description", 404)):
        _refused(requests.request(method, server.url("INFERENCE_PORT", path), timeout=10), status)


def _other_models(server: RunningServer) -> None:
    for path in (f"{PATH}/99", f"{PATH}/1", "/predictions/other"):
        for kind in ("application/octet-stream", "application/x-www-form-urlencoded"):
            url = server.url("INFERENCE_PORT", path)
            _refused(requests.post(url, PICTURE, headers={"Content-Type": kind}, timeout=10), 404)


def _other_routes(server: RunningServer) -> None:
    for path in ("/models/iqa/invoke", "/v1/models/iqa:predict"):
        _refused(requests.post(server.url("INFERENCE_PORT", path), PICTURE, timeout=10), 404)
    # The gateway has this one, by the protocol's messages alone.
    url = server.url("INFERENCE_PORT", "/v2/models/iqa/infer")
    told = requests.post(url, PICTURE, timeout=10)
    assert (told.status_code, told.json()["reason"]) == (400, "bad_request")
    for method in ("GET", "DELETE", "PATCH", "OPTIONS"):
        _refused(requests.request(method, server.url("INFERENCE_PORT", PATH), timeout=10), 405)


def _refusals(server: RunningServer) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", PATH, 405)):
        code, answer = asked(_port(server), method, path)
        document = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        assert code == document["code"] == status
        assert document["reason"] in ("not_found", "method_not_allowed")


CHECKS: dict[str, Callable[[RunningServer], None]] = {
    "`curl --data-binary @photo.jpg`, which calls the file urlencoded": _data_binary,
    "a form that is broken, or of an unknown charset or encoding; broken urlencoding": (
        _broken_forms
    ),
    "two files of one name in a form": _two_files,
    "a million urlencoded fields in 4 MB": _million_fields,
    "ten unfinished uploads of 40 MB": _unfinished_uploads,
    "fifty large uploads at once": _fifty_large,
    "`PRI * HTTP/2.0`": _preface,
    "more than 46 MB": _too_large,
    "two requests in one go": _two_in_one_go,
    "`Content-Length` and `Transfer-Encoding` together": _length_and_chunks,
    "`OPTIONS /`, `GET /api-description`": _description,
    "another version or model: `/predictions/iqa/99`, `/predictions/other`": _other_models,
    "`/models/iqa/invoke`, `/v1/models/iqa:predict`, `/v2/models/iqa/infer`, any method on "
    "`/predictions/iqa`": _other_routes,
    "404, 405": _refusals,
}
IDLE = "an idle connection"


def test_every_row_of_the_page_is_checked() -> None:
    """docs/security.md and this file name the same requests."""
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.split("| request | TorchServe alone |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| ", table, re.MULTILINE)
    assert rows == [*CHECKS, IDLE]


@pytest.mark.alone
@pytest.mark.parametrize("row", CHECKS)
def test_by_default_nobody_can_do_this(fronted: RunningServer, row: str) -> None:
    """The row's request is scored or refused as its last column says, and others are served."""
    before = [worker["pid"] for worker in fronted.manage()[0]["workers"]]
    CHECKS[row](fronted)
    assert fronted.score(PICTURE)["score"] > 0
    assert [worker["pid"] for worker in fronted.manage()[0]["workers"]] == before


def test_by_default_an_idle_connection_is_ended(idle: tuple[Held, Held]) -> None:
    """The row that takes a minute: 10 s after its start, 60 s after its last answer."""
    silent, answered = idle
    assert 9 < silent.lasted_s() < 15
    assert 55 < answered.lasted_s() < 75
