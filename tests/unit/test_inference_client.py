"""The gateway's connection to TorchServe, against a small server of the test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from web.forwarding import Inference, bytes_of
from web.torchserve_client import Unreachable, Upstream


def test_a_kept_connection_that_has_ended_is_replaced_once() -> None:
    """A server that closes after each reply loses no request; one that never answers is said."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        n_body = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        seen.append(await reader.readexactly(n_body))
        if seen[-1] != b"hang up":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

        async def body(text: bytes) -> AsyncIterator[bytes]:
            yield text

        for text in (b"one", b"two", b"three"):
            answer = await upstream.post("/", (), body(text), len(text))
            assert (answer.status, answer.body) == (200, b"ok")
        with pytest.raises(Unreachable):
            await upstream.post("/", (), body(b"hang up"), 7)
        server.close()
        with pytest.raises(Unreachable):
            await upstream.post("/", (), body(b"x"), 1)

    asyncio.run(scenario())
    assert seen[:3] == [b"one", b"two", b"three"]


def test_what_is_passed_on_and_what_is_not() -> None:
    """`traceparent`, the id and the encoding go on; what a handler might obey does not."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        trace = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        headers = [trace, (b"x-request-id", b"mine"), (b"describe", b"True"), (b"cookie", b"c")]
        inference = Inference(upstream)
        for _ in range(2):
            assert (await inference.score("iqa", headers, bytes_of(b"x"), 1)).status == 200
        await upstream.close()
        server.close()

    asyncio.run(scenario())
    for head in heads:
        assert head.startswith(b"POST /predictions/iqa HTTP/1.1\r\n")
        assert b"\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-" in head
        assert b"\r\nx-request-id: mine\r\n" in head
        assert b"describe" not in head and b"cookie" not in head
    assert len(heads) == 2
