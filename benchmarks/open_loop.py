"""
Open loop: requests leave at a constant rate, whether replies come or not.

A request's latency counts from the moment it was due, so that a server which falls behind shows
its queue. Written here because nothing was found in Debian, PyPI or npm that does that cheaply:
hey (`-q`) and Locust (`constant_throughput`) limit a rate and wait for replies, like any closed
loop, and wrk2, vegeta and k6 are not packaged there. This shares two cores with what it measures,
and takes about 0.2 ms a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import Latency, Request, latency_of

LEAD_S: Final = 0.05
OK: Final = 200
REFUSED: Final = 503
NO_REPLY: Final = 0  # the connection failed, or the reply never came
MAX_LAG_P99_MS: Final = 20.0
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
CLOSE: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of constant rate; one follows the other without a pause."""

    rate_per_s: float
    seconds: float


@dataclass(slots=True)
class Sending:
    """
    One request's life, seconds from the start of the run.

    Attributes:
        due_s: When it should leave.
        handled_s: When the generator came round to it.
        done_s: When its reply was complete, or it was given up.
        status: Of HTTP, or `NO_REPLY`.
        is_repeated: It was sent again, on a new connection.
        is_unaccepted: Nobody took its (last) connection.
        reply: The body of the reply, where replies are kept.
    """

    due_s: float
    handled_s: float = 0.0
    done_s: float = 0.0
    status: int = NO_REPLY
    is_repeated: bool = False
    is_unaccepted: bool = False
    reply: bytes = b""


@dataclass(frozen=True, kw_only=True)
class OpenLoad:
    """
    One open-loop run, or one phase of it.

    Attributes:
        offered_per_s: The rate asked for.
        seconds: Its length.
        statuses: Requests by HTTP status; "0" had no reply.
        latency: Latency of those answered 200, from when they were due.
        refusal_latency: Latency of those answered 503.
        refused_within_50_ms: Share of the 503s, 0 to 1.
        lag: How late the generator came round to a request; it is part of the latencies.
        is_client_slow: The lag is so large that the latencies say more of the client.
        client_cpu_s: CPU time of the generator; 0 for a phase of several.
    """

    offered_per_s: float
    seconds: float
    statuses: dict[str, int]
    latency: Latency
    refusal_latency: Latency
    refused_within_50_ms: float
    lag: Latency
    is_client_slow: bool
    client_cpu_s: float


def open_loop(
    request: Request,
    phases: Sequence[Phase],
    timeout_s: float = 30.0,
    *,
    begin_s: float | None = None,
    is_ended: Callable[[], bool] = lambda: False,
    keeps_replies: bool = False,
) -> tuple[list[Sending], float]:
    """
    Send a request at constant rates.

    Args:
        request: What.
        phases: One after the other.
        timeout_s: How long after the last one is due replies are waited for.
        begin_s: When the run starts, on the monotonic clock; None: at once.
        is_ended: Asked before each request; those left are not sent once it says so.
        keeps_replies: Keep the bodies of replies.

    Returns:
        Each request in the order of their due times, and the generator's CPU seconds.
    """
    gc.collect()
    gc.disable()  # a full collection stops the clock for tens of milliseconds
    cpu_started_s = time.process_time()
    try:
        generator = _Generator(request, is_ended, keeps_replies=keeps_replies)
        asyncio.run(generator.run(_all_due_s(phases), timeout_s, begin_s))
    finally:
        gc.enable()
    return generator.sendings, time.process_time() - cpu_started_s


def summarise(
    sendings: Sequence[Sending], phase: Phase, began_s: float = 0.0, client_cpu_s: float = 0.0
) -> OpenLoad:
    """
    Summarise the requests that were due in one phase.

    Args:
        sendings: The requests of the whole run.
        phase: The phase.
        began_s: When it began, seconds from the start of the run.
        client_cpu_s: Passed on.
    """
    ended_s = began_s + phase.seconds
    own = [one for one in sendings if began_s <= one.due_s < ended_s]
    latencies: dict[int, list[float]] = {OK: [], REFUSED: []}
    for one in own:
        latencies.setdefault(one.status, []).append(one.done_s - one.due_s)
    refusals_s = latencies[REFUSED]
    lag = latency_of([one.handled_s - one.due_s for one in own])
    return OpenLoad(
        offered_per_s=phase.rate_per_s,
        seconds=phase.seconds,
        statuses={str(status): n for status, n in Counter(one.status for one in own).items()},
        latency=latency_of(latencies[OK]),
        refusal_latency=latency_of(refusals_s),
        refused_within_50_ms=sum(s <= 0.05 for s in refusals_s) / max(len(refusals_s), 1),
        lag=lag,
        is_client_slow=lag.p99_ms > MAX_LAG_P99_MS,
        client_cpu_s=client_cpu_s,
    )


def _all_due_s(phases: Sequence[Phase]) -> Iterator[float]:
    """Yield when each request is due: an hour of them, made at once, would delay the first ones."""
    began_s = 0.0
    for phase in phases:
        for i in range(round(phase.rate_per_s * phase.seconds)):
            yield began_s + i / phase.rate_per_s
        began_s += phase.seconds


class _Generator:
    """Sends what is due on connections that are kept, and opens one more when none is free."""

    def __init__(
        self,
        request: Request,
        is_ended: Callable[[], bool],
        *,
        keeps_replies: bool,
    ) -> None:
        self.sendings: list[Sending] = []
        self.keeps_replies = keeps_replies
        self._is_ended = is_ended
        address = urlsplit(request.url)
        self._host, self._port = address.hostname or "", address.port or 80
        fields = {
            "Host": f"{self._host}:{self._port}",
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        target = f"{address.path or '/'}{'?' * bool(address.query)}{address.query}"
        self.wire = f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + request.body
        self.free: list[_Connection] = []
        self._under_way = 0
        self._is_open = True
        self._connections: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(
        self, all_due_s: Iterator[float], timeout_s: float, begin_s: float | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._one_done = asyncio.Event()
        self._started_s = self._loop.time() + LEAD_S if begin_s is None else begin_s
        for due_s in all_due_s:
            # With nothing to wait for, replies still must be read.
            await asyncio.sleep(max(due_s - self.now_s(), 0.0))
            if self._is_ended():
                break
            sending = Sending(due_s, handled_s=self.now_s())
            self.sendings.append(sending)
            self._under_way += 1
            self.send(sending)
        deadline_s = self.now_s() + timeout_s
        while self._under_way and self.now_s() < deadline_s:
            self._one_done.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._one_done.wait(), deadline_s - self.now_s())
        if self._under_way:
            for sending in self.sendings:
                sending.done_s = sending.done_s or self.now_s()
        self._is_open = False  # what still comes is too late
        for task in self._opening:
            task.cancel()
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.sleep(0)

    def now_s(self) -> float:
        return self._loop.time() - self._started_s

    def send(self, sending: Sending) -> None:
        if self.free:
            self.free.pop().send(sending)
            return
        task = self._loop.create_task(self._send_on_new(sending))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def finish(self, sending: Sending, status: int, reply: bytes = b"") -> None:
        if not self._is_open:
            return
        sending.done_s, sending.status, sending.reply = self.now_s(), status, reply
        self._under_way -= 1
        self._one_done.set()

    def repeat_or_give_up(self, sending: Sending) -> None:
        """
        Handle a connection that broke without a word.

        Servers close idle connections, and may do so just when a request is on its way: that is
        for the client to repeat, once.
        """
        if sending.is_repeated or not self._is_open:
            self.finish(sending, NO_REPLY)
            return
        sending.is_repeated = True
        self.free.clear()  # they are as old as this one
        self.send(sending)

    async def _send_on_new(self, sending: Sending) -> None:
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), self._host, self._port
            )
        except OSError:
            sending.is_unaccepted = True
            self.finish(sending, NO_REPLY)
            return
        if connection.transport.is_closing():  # lost before it was of use
            self.finish(sending, NO_REPLY)
            return
        self._connections.add(connection)
        connection.send(sending)

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection in self.free:
            self.free.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, and just enough HTTP/1.1 to see a reply's end."""

    transport: asyncio.Transport

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._sending: Sending | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, sending: Sending) -> None:
        self._sending = sending
        self._received.clear()
        self.transport.write(self._generator.wire)

    def data_received(self, data: bytes) -> None:
        self._received += data
        received, sending = self._received, self._sending
        body_at = received.find(b"\r\n\r\n") + 4
        if body_at < 4 or sending is None:
            return
        head = bytes(received[: body_at - 2])
        if (length := LENGTH.search(head)) is not None:
            is_complete = len(received) >= body_at + int(length[1])
        else:
            is_complete = bool(CHUNKED.search(head)) and received.endswith(b"\r\n0\r\n\r\n")
        if not is_complete:
            return
        self._sending = None
        kept = bytes(received[body_at:]) if self._generator.keeps_replies else b""
        self._generator.finish(sending, int(head[9:12]), kept)
        if CLOSE.search(head):
            self.transport.close()
        else:
            self._generator.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.forget(self)
        sending, self._sending = self._sending, None
        if sending is None:
            return
        if self._received:  # a refusal may close before it has read all of the request
            head, _, body = bytes(self._received).partition(b"\r\n\r\n")
            status = int(head[9:12]) if head[9:12].isdigit() else NO_REPLY
            if status == OK and (LENGTH.search(head + b"\r\n") or CHUNKED.search(head)):
                status = NO_REPLY  # a score that was cut short is none
            self._generator.finish(sending, status, body)
        else:
            self._generator.repeat_or_give_up(sending)
