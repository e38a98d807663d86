"""`POST /v2/models/NAME/infer`: the Open Inference Protocol in front of `/predictions/NAME`."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from web import open_inference_messages
from web.forwarding import (
    PASSED_FOR_EACH,
    SAFE_ID,
    ClientGone,
    Inference,
    Receive,
    Room,
    Scope,
    Send,
    body_of,
    bytes_of,
    header,
    length_of,
    with_top_k,
)
from web.predict_route import known_model
from web.refusals import Refused
from web.torchserve_client import Answer, Headers

MAX_BYTES: Final = 46_000_000
"""As the front's limit for a body; where there is no front, it holds here."""
HELD_BYTES: Final = 4 * MAX_BYTES
"""Of the bodies of all requests; here they are held as a whole."""
UNDER_WAY: Final = 8
HEADER_LENGTH: Final = b"inference-header-content-length"


class Infer:
    """
    The path as an ASGI application.

    Args:
        inference: Where the scores come from.
        aliases: {model name: alias}.
    """

    def __init__(self, inference: Inference, aliases: Mapping[str, str]) -> None:
        self._inference, self._aliases = inference, aliases
        self._room = Room(HELD_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the path's parameters are `model_name` and perhaps `version`."""
        headers = with_top_k(scope)
        given = header(headers, b"x-request-id")
        request_id = given if SAFE_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        try:
            parameters = scope["path_params"]
            name = known_model(parameters["model_name"], self._aliases)
            with self._room.taken(_size(headers)):
                body = await _whole(receive)
                request = open_inference_messages.read(body, _header_length(headers))
                replies = await self._replies(name, headers, request_id, request)
            version = str(replies[0]["model"]["version"])
            _expect_version(parameters.get("version"), version)
            content, n_head = open_inference_messages.reply(request, name, version, replies)
            answer = Answer(200, content, {b"x-request-id": request_id})
        except open_inference_messages.Malformed as error:
            answer, n_head = failure(400, str(error), "bad_request"), None
        except Refused as refused:
            answer, n_head = failure(refused.status, str(refused), refused.reason), None
            answer.headers.update(refused.answer().headers)  # when to come again
        except _NotScored as error:
            answer, n_head = error.answer, None
        except ClientGone:
            return
        answer.headers[b"x-request-id"] = request_id
        await _respond(send, answer, n_head)

    async def _replies(
        self,
        name: str,
        headers: Headers,
        request_id: bytes,
        request: open_inference_messages.InferRequest,
    ) -> list[dict[str, Any]]:
        """
        Return a reply for each image.

        Raises:
            _NotScored: One of them got none; the protocol has one status for all.
        """
        room = asyncio.Semaphore(UNDER_WAY)
        passed = [pair for pair in headers if pair[0] in PASSED_FOR_EACH]

        async def one(index: int, image: memoryview) -> dict[str, Any]:
            own = request_id if len(request.images) == 1 else b"%b.%d" % (request_id[:60], index)
            async with room:
                answer = await self._inference.score(
                    name, [*passed, (b"x-request-id", own)], bytes_of(image), len(image)
                )
            document: dict[str, Any] = json.loads(answer.body)
            if answer.status != 200:
                where = f"image {index}: " if len(request.images) > 1 else ""
                said = failure(answer.status, f"{where}{document['message']}", document["reason"])
                said.headers = {**answer.headers, **said.headers}
                raise _NotScored(said)
            return document

        async with _Tasks() as tasks:
            return await tasks.all(one(i, image) for i, image in enumerate(request.images))


class _NotScored(Exception):
    """An image that was refused, with the answer to the whole request."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Tasks:
    """Tasks that end together: the first error gives up the others."""

    async def __aenter__(self) -> _Tasks:
        self._tasks: list[asyncio.Task[dict[str, Any]]] = []
        return self

    async def all(self, coroutines: Any) -> list[dict[str, Any]]:
        self._tasks = [asyncio.ensure_future(one) for one in coroutines]
        return await asyncio.gather(*self._tasks)

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()


def failure(status: int, message: str, reason: str) -> Answer:
    """Return an error in the protocol's shape, with our reason beside it."""
    document = {"error": message, "reason": reason}
    return Answer(status, json.dumps(document).encode() + b"\n")


def _size(headers: Headers) -> int:
    """
    Return how much room a request needs.

    Raises:
        Refused: It is too large (413), or compressed (415).
    """
    if header(headers, b"content-encoding") not in (b"", b"identity"):
        raise Refused(
            "unsupported_encoding", "Content-Encoding: expected none here, got one. Send it plain."
        )
    n_bytes = length_of(headers)
    if n_bytes is not None and n_bytes > MAX_BYTES:
        raise _too_large()
    return MAX_BYTES if n_bytes is None else n_bytes


async def _whole(receive: Receive) -> bytes:
    """
    Return a request's body.

    Raises:
        Refused: It is too large (413).
        ClientGone: It did not come as a whole.
    """
    pieces, n_bytes = [], 0
    async for chunk in body_of(receive):
        n_bytes += len(chunk)
        if n_bytes > MAX_BYTES:
            raise _too_large()
        pieces.append(chunk)
    return b"".join(pieces)


def _too_large() -> Refused:
    return Refused(
        "too_many_bytes",
        f"body: expected at most {MAX_BYTES} bytes, got more. Send fewer or smaller pictures.",
    )


def _header_length(headers: Headers) -> int | None:
    text = header(headers, HEADER_LENGTH)
    if not text:
        return None
    if not text.isdigit() or len(text) > 10:
        raise open_inference_messages.Malformed(
            f"Inference-Header-Content-Length: expected a number, got {text[:20]!r}."
        )
    return int(text)


def _expect_version(wanted: str | None, served: str) -> None:
    if wanted is not None and wanted != served:
        raise Refused(
            "not_found", f"version: expected {served}, which is served, got {wanted[:20]!r}."
        )


async def _respond(send: Send, answer: Answer, n_head: int | None) -> None:
    kind = b"application/json" if n_head is None else b"application/octet-stream"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer.body))]
    if n_head is not None:
        headers.append((HEADER_LENGTH, b"%d" % n_head))
    for name in (b"x-request-id", b"retry-after"):
        if name in answer.headers:
            headers.append((name, answer.headers[name]))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
