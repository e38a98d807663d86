"""
The client of the inference port: HTTP/1.1 over connections that are kept, bodies passed on.

A library's client was tried first: for a body of 63 kB over a kept connection aiohttp 3.14 took 1.6
to 2.8 times the CPU time of this one (side by side, a reply that costs nothing, a busy machine).
What is left out makes the difference: redirects, cookies, proxies, TLS, compressed replies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import httptools

Headers = Iterable[tuple[bytes, bytes]]

ANSWER_S: Final = 65.0
"""The front gives up after 60 s, and says so itself."""
CONNECT_S: Final = 5.0
IDLE_S: Final = 30.0
"""The front closes a connection after 60 s without a request; an older one is not tried."""
MAX_IDLE: Final = 128
REPEATABLE_BYTES: Final = 256 * 1024
"""What was sent is kept up to so much, for the case that a kept connection ends under it."""
MAX_REPLY_BYTES: Final = 8 * 1024 * 1024


class Unreachable(ConnectionError):
    """There was no answer: no connection, or one that ended too early."""


@dataclass(slots=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    body: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)


class Upstream:
    """
    Connections to one address.

    Args:
        url: `http://HOST:PORT` or `unix:PATH`.
    """

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._host, self._port = "localhost", 80
        if self._path is None:
            name, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
            self._host, self._port = (name.strip("[]"), int(port)) if name else (port, 80)
        self._idle: list[_Connection] = []

    async def get(self, path: str, timeout_s: float) -> Answer:
        """
        Ask for a path, over a connection of its own.

        Raises:
            Unreachable: No answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connect()
                try:
                    connection.send(self._head(b"GET", path, (), b""))
                    return await connection.answer()
                finally:
                    connection.close()
        except TimeoutError as error:
            raise Unreachable(f"no answer within {timeout_s:g} s") from error

    async def post(
        self, path: str, headers: Headers, chunks: AsyncIterator[bytes], n_bytes: int | None
    ) -> Answer:
        """
        Send a body as it comes.

        Args:
            path: Of the address.
            headers: Beside those of the body's length.
            chunks: The body.
            n_bytes: Its length, if it is known.

        Raises:
            Unreachable: No answer, nor on a second connection where what was sent is known still.
            TimeoutError: None in `ANSWER_S`.
        """
        framing = (
            b"transfer-encoding: chunked" if n_bytes is None else b"content-length: %d" % n_bytes
        )
        head = self._head(b"POST", path, headers, framing)
        sender = _Sender(head, chunks, is_chunked=n_bytes is None)
        async with asyncio.timeout(ANSWER_S):
            while True:
                connection = self._kept()
                was_kept = connection is not None
                if connection is None:
                    connection = await self._connect()
                try:
                    answer = await sender.send(connection)
                except BaseException as error:
                    connection.close()
                    if was_kept and isinstance(error, Unreachable) and sender.can_repeat:
                        continue
                    raise
                if connection.can_be_kept and sender.is_done and len(self._idle) < MAX_IDLE:
                    connection.kept_since_s = time.monotonic()
                    self._idle.append(connection)
                else:
                    connection.close()
                return answer

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _head(self, method: bytes, path: str, headers: Headers, framing: bytes) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (method, path.encode()), b"host: " + self._host.encode()]
        lines += [b"%b: %b" % pair for pair in headers]
        return b"\r\n".join([*lines, *([framing] if framing else []), b"\r\n"])

    def _kept(self) -> _Connection | None:
        oldest_s = time.monotonic() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet and connection.kept_since_s > oldest_s:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                if self._path is not None:
                    made = await loop.create_unix_connection(_Connection, self._path)
                else:
                    made = await loop.create_connection(_Connection, self._host, self._port)
        except OSError as error:  # a timeout is one as well
            raise Unreachable(str(error)) from error
        return made[1]


class _Sender:
    """One request's bytes, on their way; they can be sent again while all of them are known."""

    def __init__(self, head: bytes, chunks: AsyncIterator[bytes], *, is_chunked: bool) -> None:
        self._chunks, self._is_chunked = chunks, is_chunked
        self._sent: list[bytes] | None = [head]
        self._n_sent = 0
        self.is_done = False

    @property
    def can_repeat(self) -> bool:
        return self._sent is not None

    async def send(self, connection: _Connection) -> Answer:
        """Send what is known, then what comes; an answer before the end ends it."""
        assert self._sent is not None
        waiting = b"".join(self._sent)
        self._sent = [waiting]
        while not self.is_done and not connection.has_answer:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.is_done = True
                piece = b"0\r\n\r\n" if self._is_chunked else b""
            else:
                piece = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._is_chunked else chunk
            self._remember(piece)
            connection.send(waiting + piece if waiting else piece)
            waiting = b""
            if connection.is_full:
                await connection.drained()
        if waiting:
            connection.send(waiting)
        return await connection.answer()

    def _remember(self, piece: bytes) -> None:
        self._n_sent += len(piece)
        if self._sent is not None and self._n_sent <= REPEATABLE_BYTES:
            self._sent.append(piece)
        else:
            self._sent = None


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self.kept_since_s = 0.0
        self.is_open = False
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[Answer] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._status, self._headers = 0, {}  # type: int, dict[bytes, bytes]
        self._body: list[bytes] = []
        self._n_body = 0

    def send(self, data: bytes) -> None:
        """
        Send bytes of a request.

        Raises:
            Unreachable: The connection has ended.
        """
        if not self.is_open:
            raise Unreachable("the connection was closed")
        if data:
            self._transport.write(data)

    async def answer(self) -> Answer:
        """
        Return the answer to what was sent.

        Raises:
            Unreachable: The connection ends without one.
        """
        answer = await self._future()
        self._answered = None
        return answer

    @property
    def has_answer(self) -> bool:
        """Whether the answer is there, or nothing can come any more."""
        return self._future().done()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing came that nobody asked for."""
        return self.is_open and self._answered is None

    @property
    def can_be_kept(self) -> bool:
        """Whether another request may follow."""
        return self.is_open and bool(self._parser.should_keep_alive())

    @property
    def is_full(self) -> bool:
        """Whether the other side takes less than is sent."""
        return self._drained is not None

    async def drained(self) -> None:
        """Wait until more may be sent, or an answer is there."""
        if self._drained is not None:
            waited: set[asyncio.Future[Any]] = {self._drained, self._future()}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.resume_writing()
        self._fail(exc)

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, ValueError) as error:
            self.close()
            self._fail(error)

    def on_message_begin(self) -> None:
        self._headers, self._body, self._n_body = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._n_body += len(body)
        if self._n_body > MAX_REPLY_BYTES:
            raise ValueError(f"reply: expected at most {MAX_REPLY_BYTES} bytes, got more")
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        answered = self._future()
        if status >= 200 and not answered.done():  # 100 Continue is none
            answered.set_result(Answer(status, b"".join(self._body), self._headers))

    def _future(self) -> asyncio.Future[Answer]:
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
            if not self.is_open:
                self._fail(None)
        return self._answered

    def _fail(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Unreachable(str(error or "the connection was closed")))
            self._answered.exception()  # nobody may be waiting any more
