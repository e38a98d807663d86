"""The load generators measure what they say."""

from __future__ import annotations

import http.client
import shutil
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.load import Latency, Request, closed_loop, latency_of, percentile
from benchmarks.open_loop import NO_REPLY, OK, Phase, open_loop, summarise
from benchmarks.overload import recovery_s, windows_of
from tests.tiny_server import BODY, TinyServer

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


def run_open(server: TinyServer, rate_per_s: float, seconds: float, timeout_s: float = 5) -> Any:
    """Load a server at a constant rate; return the summary."""
    phase = Phase(rate_per_s=rate_per_s, seconds=seconds)
    sendings, cpu_s = open_loop(server.request(), [phase], timeout_s)
    return summarise(sendings, phase, client_cpu_s=cpu_s)


def one_waiting_client(server: TinyServer, requests: int) -> Latency:
    """Send the next request when the last is answered, as most clients do."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    latencies_s = []
    for _ in range(requests):
        started_s = time.monotonic()
        connection.request("POST", address.path, BODY)
        connection.getresponse().read()
        latencies_s.append(time.monotonic() - started_s)
    connection.close()
    return latency_of(latencies_s)


@pytest.mark.alone
def test_the_open_loop_shows_the_queue_that_a_closed_loop_hides() -> None:
    """After a stall of half a second, requests that were due meanwhile waited, and it says so."""
    with TinyServer(service_s=0.001, stall=20, stall_s=0.5).running() as server:
        closed = one_waiting_client(server, requests=100)
    with TinyServer(service_s=0.001, stall=20, stall_s=0.5).running() as server:
        opened = run_open(server, rate_per_s=100, seconds=1)
    assert opened.statuses == {"200": 100}
    # From the waiting client's side one in a hundred met the stall: its p95 knows nothing of it.
    assert closed.p95_ms < 50 < closed.max_ms
    # Half of the second's requests were due during the stall.
    assert opened.latency.p95_ms > 350
    assert opened.latency.p50_ms < opened.latency.p95_ms


@pytest.mark.alone
def test_the_open_loop_keeps_its_rate_when_the_server_is_too_slow() -> None:
    """Offered twice what a server does, the last request waits about half of the run."""
    with TinyServer(service_s=0.02).running() as server:
        load = run_open(server, rate_per_s=100, seconds=1)
    assert load.statuses == {"200": 100}
    assert load.latency.max_ms > 700
    assert load.lag.p99_ms < 100


@pytest.mark.alone
def test_refusals_are_counted_and_timed_apart() -> None:
    """What is refused at once does not make the accepted look fast."""
    with TinyServer(service_s=0.05, capacity=3).running() as server:
        load = run_open(server, rate_per_s=100, seconds=0.8)
    assert set(load.statuses) == {"200", "503"}
    assert load.latency.n == load.statuses["200"]
    assert load.refusal_latency.n == load.statuses["503"]
    assert load.latency.p50_ms > 50 > load.refusal_latency.p50_ms
    assert load.refused_within_50_ms > 0.9


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_the_open_loop_reads_every_kind_of_reply(framing: str) -> None:
    """A reply may end by its length, its last chunk, or with the connection."""
    with TinyServer(framing=framing).running() as server:
        load = run_open(server, rate_per_s=50, seconds=0.2)
    assert load.statuses == {"200": 10}
    assert server.received[0].startswith(b"POST /score?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: image/jpeg\r\n" in server.received[0]
    assert server.received[0].endswith(BODY)


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    """Servers may close what is idle; that is no error."""
    with TinyServer(idle_closes=True).running() as server:
        load = run_open(server, rate_per_s=50, seconds=0.4)
    assert load.statuses == {"200": 20}


def test_no_server_and_no_reply_are_errors() -> None:
    """Both are counted, and neither stops the run."""
    nowhere = Request(url="http://127.0.0.1:9/", body=b"", headers={})
    phase = Phase(rate_per_s=20, seconds=0.2)
    sendings, _ = open_loop(nowhere, [phase], timeout_s=1)
    assert [one.status for one in sendings] == [NO_REPLY] * 4
    with TinyServer(service_s=30).running() as server:
        load = run_open(server, rate_per_s=20, seconds=0.2, timeout_s=0.3)
    assert load.statuses == {"0": 4}


def test_phases_follow_each_other_and_are_summarised_apart() -> None:
    """Each request belongs to the phase in which it was due."""
    phases = [Phase(rate_per_s=20, seconds=0.5), Phase(rate_per_s=100, seconds=0.3)]
    with TinyServer().running() as server:
        sendings, _ = open_loop(server.request(), phases)
    counts = [
        summarise(sendings, phases[0]).latency.n,
        summarise(sendings, phases[1], began_s=0.5).latency.n,
    ]
    assert counts == [10, 30]


@pytest.mark.alone
def test_a_load_of_hours_begins_at_once_and_ends_when_told() -> None:
    """A million requests that may follow must not delay the first one, whose latency counts."""
    with TinyServer().running() as server:
        begin_s = time.monotonic() + 1  # a collection of garbage comes before
        sendings, _ = open_loop(
            server.request(), [Phase(rate_per_s=100, seconds=36_000)], begin_s=begin_s,
            is_ended=lambda: time.monotonic() > begin_s + 0.3,
        )  # fmt: skip
    assert {one.status for one in sendings} == {OK}
    assert sendings[0].done_s < 0.25


@pytest.mark.alone
@needs_wrk
def test_wrk_says_what_was_scored_and_what_was_refused() -> None:
    """Throughput counts scores alone."""
    with TinyServer(service_s=0.01, capacity=2).running() as server:
        load = closed_loop(server.request(), 4, 1)
    assert server.received[0].endswith(BODY)
    assert load.refused > 0
    assert load.rate_per_s == pytest.approx(load.scored / load.elapsed_s)
    assert load.scored < 120
    assert 0 < load.client_cpu_s < 1.5
    assert load.latency.p50_ms <= load.latency.p99_ms <= load.latency.max_ms


@needs_wrk
def test_wrk_against_nothing_is_an_error() -> None:
    """A server that is not there gives no figures."""
    with pytest.raises(RuntimeError, match="wrk: expected a result"):
        closed_loop(Request(url="http://nowhere.invalid:1/", body=b"", headers={}), 1, 1)


def test_percentiles_are_values_that_occurred() -> None:
    """The smallest value that so many percent do not exceed; by hand for 1..20 and for one."""
    values = [float(i) for i in range(1, 21)]
    assert [percentile(values, p) for p in (5, 50, 95, 99, 100)] == [1, 10, 19, 20, 20]
    assert percentile([7.0], 50) == 7.0
    latency = latency_of([0.003, 0.001, 0.002])
    assert (latency.n, latency.mean_ms, latency.max_ms) == (3, 2.0, 3.0)
    assert (latency.p50_ms, latency.p99_ms) == (2.0, 3.0)
    assert latency_of([]) == Latency(n=0, mean_ms=0, p50_ms=0, p95_ms=0, p99_ms=0, max_ms=0)


def test_recovery_is_the_first_window_that_is_normal() -> None:
    """Neither a refusal nor a slow window counts as recovered."""
    windows = [
        {"ends_s": 0.2, "failed": 3, "p50_ms": 5.0},
        {"ends_s": 0.4, "failed": 0, "p50_ms": 90.0},
        {"ends_s": 0.6, "failed": 0, "p50_ms": 9.0},
    ]
    assert recovery_s(windows, normal_ms=10.0) == 0.6
    assert recovery_s(windows, normal_ms=1.0) is None
    with TinyServer().running() as server:
        sendings, _ = open_loop(server.request(), [Phase(rate_per_s=50, seconds=0.4)])
    assert [window["failed"] for window in windows_of(sendings, 0.0, 0.4)] == [0, 0]
