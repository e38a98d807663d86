"""
`POST /predict`: one picture, passed on as it comes; the reply gets the name of its file.

The front's `/predict` without a query goes past it, straight to the model: this is the way of
`?model=NAME`, and of a gateway that is asked by itself.

It is ASGI and no more: FastAPI describes the path and has no part in a request.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import parse_qs

from iqa.request.form import file_name
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from web.forwarding import (
    ClientGone,
    Inference,
    Receive,
    Scope,
    Send,
    body_of,
    header,
    length_of,
    respond,
    with_top_k,
)
from web.refusals import Refused
from web.torchserve_client import Headers

MAX_FIELDS: Final = 250


class Predict:
    """
    The path as an ASGI application.

    Args:
        inference: Where the score comes from.
        aliases: {model name: alias}, the first one where a request names none.
    """

    def __init__(self, inference: Inference, aliases: Mapping[str, str]) -> None:
        self._inference, self._aliases = inference, aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = with_top_k(scope)
        try:
            model_name = chosen_model(scope["query_string"], self._aliases)
            name = NameOfFile(boundary_of(headers))
            chunks = name.watched(body_of(receive))
            answer = await self._inference.score(model_name, headers, chunks, length_of(headers))
        except Refused as refused:
            answer = refused.answer()
        except ClientGone:
            return
        if answer.status == 200:
            answer.body = with_image_name(answer.body, name.found)
        await respond(send, answer)


def chosen_model(query: bytes, aliases: Mapping[str, str]) -> str:
    """
    Return the model that `?model=NAME` means.

    Raises:
        Refused: It is not served (404).
    """
    named = parse_qs(query.decode("latin-1"), keep_blank_values=True) if query else {}
    name = named["model"][-1] if "model" in named else next(iter(aliases))
    return known_model(name, aliases)


def known_model(name: str, aliases: Mapping[str, str]) -> str:
    """
    Return a model's name.

    Raises:
        Refused: It is not served (404).
    """
    if name not in aliases:
        raise Refused(
            "not_found", f"model: expected one of {', '.join(aliases)}, got {name[:80]!r}."
        )
    return name


def with_image_name(body: bytes, name: str | None) -> bytes:
    """Add `image_name` to a reply, which is one JSON object, without reading the rest."""
    return b'%b, "image_name": %b}\n' % (body.rstrip()[:-1], json.dumps(name).encode())


def boundary_of(headers: Headers) -> str | None:
    """Return the boundary of a form; None where the body is none that can be looked into."""
    content_type = header(headers, b"content-type")
    if not content_type.startswith(b"multipart/") or header(headers, b"content-encoding"):
        return None
    _, options = parse_options_header(content_type.decode("latin-1"))
    return options.get("boundary")


def form_parser(boundary: str) -> PushMultipartParser:
    """
    Return a parser of a form that comes in pieces.

    Raises:
        MultipartError: The boundary is none.
    """
    return PushMultipartParser(
        boundary, max_segment_count=MAX_FIELDS, max_header_size=1536, header_charset="latin-1"
    )


class NameOfFile:
    """
    The name of the file in a form, seen while the form passes by.

    What is broken is no matter here: the handler refuses it, with its reason.

    Args:
        boundary: Of the form; None: there is none.
    """

    def __init__(self, boundary: str | None) -> None:
        self.found: str | None = None
        self._segment: MultipartSegment | None = None
        self._parser: PushMultipartParser | None = None
        if boundary:
            try:
                self._parser = form_parser(boundary)
            except MultipartError:
                self._parser = None

    async def watched(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield chunks as they are, and look at them until the name is known."""
        async for chunk in chunks:
            if self._parser is not None:
                self._look(self._parser, chunk)
            yield chunk

    def _look(self, parser: PushMultipartParser, chunk: bytes) -> None:
        try:
            for event in parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    self._segment = event
                elif event is not None and self._segment and self._segment.filename:
                    self.found = file_name(self._segment)  # the first file that is not empty
                    self._parser = None
                    return
        except MultipartError:
            self._parser = None
        else:
            if parser.closed:
                self._parser = None
