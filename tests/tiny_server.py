"""An HTTP server for the load generators: what it takes, and when it stalls, is known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.load import Request

BODY = b"x" * 63_000


class TinyServer:
    """
    An HTTP server that answers one request at a time.

    Args:
        service_s: How long each takes.
        stall: Number of the request that takes `stall_s` instead.
        capacity: More than so many waiting are refused with 503.
        framing: How a reply says its end: length, chunked or close.
        idle_closes: Close each connection after its first reply, without saying so.
    """

    def __init__(
        self,
        service_s: float = 0.0,
        stall: int = -1,
        stall_s: float = 0.0,
        capacity: int = 10_000,
        framing: str = "length",
        idle_closes: bool = False,
    ) -> None:
        self.service_s, self.stall, self.stall_s = service_s, stall, stall_s
        self.capacity, self.framing, self.idle_closes = capacity, framing, idle_closes
        self.received: list[bytes] = []
        self.url = ""
        self._waiting = 0

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                self.received.append(head + await reader.readexactly(length))
                await self._answer(writer, len(self.received) - 1)
                if self.framing == "close" or self.idle_closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, number: int) -> None:
        if self._waiting >= self.capacity:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return
        self._waiting += 1
        async with self._turn:
            await asyncio.sleep(self.stall_s if number == self.stall else self.service_s)
        self._waiting -= 1
        heads = {
            "length": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        }
        writer.write(heads[self.framing])

    @contextmanager
    def running(self) -> Iterator[TinyServer]:
        """Serve from a thread of its own."""
        loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        server = loop.run_until_complete(asyncio.start_server(self._handle, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/score?a=b"
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.01))
            server.close()
            loop.close()

    def request(self) -> Request:
        """Return a request to it."""
        return Request(url=self.url, body=BODY, headers={"Content-Type": "image/jpeg"})
