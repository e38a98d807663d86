"""One picture's way: what of a request is passed on, and the answer as ASGI sends it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, quote

from web.refusals import JSON_TYPE, Refused, unavailable, with_reason
from web.torchserve_client import Answer, Headers, Unreachable, Upstream

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TOP_K: Final = b"x-top-k"
STICKY_KEY: Final = b"x-sticky-key"
"""By which the front, where it splits the requests between two versions, knows a client again."""
PASSED: Final = (b"content-encoding", b"x-request-id", b"traceparent", STICKY_KEY, TOP_K)
"""Headers of a client that the inference port gets as well."""
PASSED_FOR_EACH: Final = (b"traceparent", STICKY_KEY, TOP_K)
"""Those of a request with several pictures that go with each of them."""
RETURNED: Final = (b"x-request-id", b"retry-after", b"accept-encoding")
"""Headers of the inference port that the client gets as well."""
SAFE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
MAX_UNDER_WAY: Final = 256
"""The front takes 64 at once; what waits here costs up to half a megabyte each."""


class Room:
    """
    A limit that many requests share; who finds no room is refused, and waits for nobody.

    Args:
        limit: In any unit.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """
        Take some while it is entered.

        Raises:
            Refused: There is not so much (503).
        """
        if amount > self._left:
            raise Refused(
                "overloaded",
                "gateway: expected room for the request, got none left. Send it again after the "
                "seconds in Retry-After.",
                "Overloaded",
            )
        self._left -= amount
        try:
            yield
        finally:
            self._left += amount


class ClientGone(ConnectionError):
    """The client went away before its body had come as a whole."""


class Inference:
    """
    The inference port, as all paths of the gateway use it.

    Args:
        upstream: Its client.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._room = Room(MAX_UNDER_WAY)

    async def score(
        self, model_name: str, headers: Headers, chunks: AsyncIterator[bytes], n_bytes: int | None
    ) -> Answer:
        """
        Have a picture scored.

        Args:
            model_name: Known.
            headers: Of the client; what is in `PASSED` goes on.
            chunks: Of the body.
            n_bytes: Of the body, if known.

        Returns:
            The score, or a refusal in our shape.

        Raises:
            ClientGone: `chunks` raised it.
        """
        passed = [pair for pair in headers if pair[0] in PASSED]
        # As the front does: TorchServe takes forms apart by it, and answers broken ones with 500.
        passed.append((b"content-type", b"application/octet-stream"))
        passed.append((b"x-request-start", b"%.3f" % time.time()))
        path = f"/predictions/{model_name}"
        try:
            with self._room.taken(1):
                answer = await self._upstream.post(path, passed, chunks, n_bytes)
        except ClientGone:
            raise
        except Refused as refused:
            return refused.answer()
        except (Unreachable, TimeoutError) as error:
            return unavailable(error).answer()
        return answer if answer.status == 200 else with_headers(with_reason(answer), answer)


def with_headers(answer: Answer, original: Answer) -> Answer:
    """Return an answer with what the original's headers say to the client."""
    answer.headers = {**original.headers, **answer.headers}
    return answer


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    """
    Yield a request's body as it comes.

    Raises:
        ClientGone: Its connection ended before.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client closed the connection")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def bytes_of(content: bytes | memoryview) -> AsyncIterator[bytes]:
    """Yield bytes that are there."""
    yield bytes(content)


def length_of(headers: Headers) -> int | None:
    """Return the Content-Length of a request; None where it is sent in chunks."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


def header(headers: Headers, wanted: bytes) -> bytes:
    """Return a request's header; empty where there is none."""
    return next((value for name, value in headers if name == wanted), b"")


def with_top_k(scope: Scope) -> list[tuple[bytes, bytes]]:
    """
    Return a request's headers, with what follows `?top_k=` as a header: the handler reads it so.

    It is quoted, so that it stays one header; the handler refuses what is no number. An empty one
    is none, as at the front.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    query: bytes = scope["query_string"]
    named = parse_qs(query.decode("latin-1"), keep_blank_values=True) if query else {}
    wanted = named.get("top_k", [""])[-1]
    if not wanted:
        return headers
    return [*(pair for pair in headers if pair[0] != TOP_K), (TOP_K, quote(wanted).encode())]


async def respond(send: Send, answer: Answer) -> None:
    """Send an answer to the client."""
    headers = [JSON_TYPE, (b"content-length", b"%d" % len(answer.body))]
    headers += [(name, answer.headers[name]) for name in RETURNED if name in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
