"""Clients that are slow, silent or many: predictions of others go on as before."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from tests.attack.wire import GOOD, head
from tests.images import encode, photograph
from tests.server import RunningServer

PICTURE = encode(photograph(512, 384), "JPEG")
WANTED = 10_000
SPARE_FILES = 1000
REQUESTS = 40
MAX_FACTOR = 2.0
MAX_MORE_S = 0.03  # of noise, on a busy machine


@pytest.fixture(scope="module")
def many() -> Iterator[int]:
    """How many connections this process may open: 10,000, unless the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED + SPARE_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < WANTED + SPARE_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, WANTED + SPARE_FILES), hard))
    yield min(WANTED, most - SPARE_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _port(door: RunningServer) -> int:
    return int(door.environment["INFERENCE_PORT"])


@contextmanager
def opened(port: int, count: int, said: Callable[[int], bytes]) -> Iterator[list[socket.socket]]:
    """Hold so many connections, each of which has said something."""
    with ExitStack() as stack:
        held = []
        for index in range(count):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", port), timeout=20)
            )
            connection.sendall(said(index))
            held.append(connection)
        yield held


def _latency_s(door: RunningServer) -> float:
    """Return the median over some predictions, each on a connection of its own."""
    taken = []
    for _ in range(REQUESTS):
        started_s = time.perf_counter()
        assert door.post(PICTURE).status_code == 200
        taken.append(time.perf_counter() - started_s)
    return statistics.median(taken)


def _expect_as_before(door: RunningServer, before_s: float) -> None:
    during_s = _latency_s(door)
    assert during_s < MAX_FACTOR * before_s + MAX_MORE_S, (before_s, during_s)


@pytest.mark.alone
def test_ten_thousand_idle_connections_slow_nobody_down(unharmed: RunningServer, many: int) -> None:
    """Open and silent: predictions of others take as long as before."""
    before_s = _latency_s(unharmed)
    with opened(_port(unharmed), many, lambda _: b"") as held:
        assert len(held) >= 1000, "the limit of open files is too low for this test"
        _expect_as_before(unharmed, before_s)


@pytest.mark.alone
@pytest.mark.parametrize(
    "said",
    [
        lambda _: GOOD[:30],
        lambda _: head("Content-Length: 100000"),
        lambda _: head("Content-Length: 100000") + b"\xff\xd8\xff" * 1000,
        lambda _: head("Transfer-Encoding: chunked") + b"5\r\nhe",
        lambda _: head("Content-Length: 5", "Expect: 100-continue"),
    ],
    ids=["half a head", "no body", "half a body", "half a chunk", "waits for 100"],
)
def test_slow_clients_slow_nobody_down(
    unharmed: RunningServer, said: Callable[[int], bytes]
) -> None:
    """Two hundred unfinished requests hold no worker and no place in the queue."""
    before_s = _latency_s(unharmed)
    with opened(_port(unharmed), 200, said):
        _expect_as_before(unharmed, before_s)


@pytest.mark.alone
def test_a_client_that_sends_a_byte_at_a_time_is_served(unharmed: RunningServer) -> None:
    """Slow and honest: it gets its score, and others theirs meanwhile."""
    before_s = _latency_s(unharmed)
    with opened(_port(unharmed), 20, lambda _: GOOD[:-40]) as held:
        for rest in range(40, 0, -1):
            for connection in held:
                connection.sendall(GOOD[len(GOOD) - rest : len(GOOD) - rest + 1])
            if rest == 20:
                _expect_as_before(unharmed, before_s)
        for connection in held:
            assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.alone
def test_the_front_ends_what_is_unfinished(fronted: RunningServer) -> None:
    """After 10 s without a byte of a head or a body the connection is closed."""
    with opened(
        _port(fronted), 2, lambda i: (GOOD[:30], head("Content-Length: 100000"))[i]
    ) as held:
        started_s = time.monotonic()
        for connection in held:
            connection.settimeout(15)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
        assert time.monotonic() - started_s < 14


@pytest.mark.alone
def test_a_client_that_leaves_costs_no_answer(unharmed: RunningServer) -> None:
    """Fifty clients send a picture and hang up: the next one is answered soon."""
    before_s = _latency_s(unharmed)
    with opened(_port(unharmed), 50, lambda _: GOOD):
        pass
    started_s = time.monotonic()
    reply = requests.post(
        unharmed.url("INFERENCE_PORT", "/predictions/iqa"), data=PICTURE, timeout=20
    )
    assert reply.status_code == 200
    assert time.monotonic() - started_s < 60 * before_s
