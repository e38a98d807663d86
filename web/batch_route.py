"""
`POST /predict/batch`: up to 100 files of one form, each scored on its own, results in their order.

The form is taken apart while it comes. A few files are under way at a time, and the client waits
meanwhile, so a batch of any size needs the memory of a few files.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from iqa.request.form import file_name
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

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
    respond,
    with_top_k,
)
from web.predict_route import MAX_FIELDS, boundary_of, chosen_model, form_parser
from web.refusals import Refused
from web.torchserve_client import Answer

MAX_FILES: Final = 100
MAX_FILE_BYTES: Final = 33 * 1024 * 1024
"""The handler takes 32 MiB, and says so of what is a little larger."""
MAX_BATCHES: Final = 8
"""Each may hold a file that is not whole yet; one more is refused."""
UNDER_WAY: Final = 8
"""Files of one batch."""
HELD_BYTES: Final = 48 * 1024 * 1024
"""Of all files under way, of all batches; a larger one goes alone."""


class _Held:
    """Bytes of files under way, of all batches, and a way to wait until there are fewer."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._freed = asyncio.Event()

    def free(self, n_bytes: int) -> None:
        """Take some away; whoever waits looks again."""
        self.n_bytes -= n_bytes
        self._freed.set()

    async def changed(self) -> None:
        """Wait until some are taken away."""
        self._freed.clear()
        await self._freed.wait()


class Batch:
    """
    The path as an ASGI application.

    Args:
        inference: Where the scores come from.
        aliases: {model name: alias}, the first one where a request names none.
    """

    def __init__(self, inference: Inference, aliases: Mapping[str, str]) -> None:
        self._inference, self._aliases = inference, aliases
        self._room, self._held = Room(MAX_BATCHES), _Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = with_top_k(scope)
        given = header(headers, b"x-request-id")
        request_id = given if SAFE_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        try:
            model_name = chosen_model(scope["query_string"], self._aliases)
            under_way = _UnderWay(self._inference, self._held, model_name, headers, request_id)
            with self._room.taken(1):
                try:
                    async for name, content in _files(boundary_of(headers), body_of(receive)):
                        await under_way.add(name, content)
                    answer = _answer(await under_way.results())
                finally:
                    under_way.cancel()
        except Refused as refused:
            answer = refused.answer()
        except ClientGone:
            return
        answer.headers[b"x-request-id"] = request_id
        await respond(send, answer)


class _UnderWay:
    """The files of one batch."""

    def __init__(
        self,
        inference: Inference,
        held: _Held,
        model_name: str,
        headers: list[tuple[bytes, bytes]],
        request_id: bytes,
    ) -> None:
        self._inference, self._held, self._model_name = inference, held, model_name
        self._headers = [pair for pair in headers if pair[0] in PASSED_FOR_EACH]
        self._request_id = request_id[:60]
        self._tasks: list[asyncio.Task[dict[str, Any]]] = []
        self._n_files = 0

    async def add(self, name: str | None, content: bytes | None) -> None:
        """
        Have a file scored, once there is room for it.

        Args:
            name: Of the file.
            content: None: it was too large to be kept.
        """
        n_bytes, held = len(content or b""), self._held

        while self._n_files >= UNDER_WAY or (
            held.n_bytes > 0 and held.n_bytes + n_bytes > HELD_BYTES
        ):
            await held.changed()
        self._n_files += 1
        held.n_bytes += n_bytes

        def ended(task: asyncio.Task[dict[str, Any]]) -> None:
            self._n_files -= 1
            held.free(n_bytes)

        task = asyncio.create_task(self._one(len(self._tasks), name, content))
        task.add_done_callback(ended)  # also of one that is given up before it began
        self._tasks.append(task)

    async def results(self) -> list[dict[str, Any]]:
        """Return all results in the order of the files."""
        return await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """Give up what is not scored yet."""
        for task in self._tasks:
            task.cancel()

    async def _one(self, index: int, name: str | None, content: bytes | None) -> dict[str, Any]:
        answer = await self._scored(index, content)
        return {"image_name": name, "status": answer.status, **json.loads(answer.body)}

    async def _scored(self, index: int, content: bytes | None) -> Answer:
        if content is None:
            return Refused(
                "too_many_bytes",
                f"file: expected at most {MAX_FILE_BYTES} bytes, got more. Send a smaller picture.",
            ).answer()
        own_id = (b"x-request-id", b"%b.%d" % (self._request_id, index))
        return await self._inference.score(
            self._model_name, [*self._headers, own_id], bytes_of(content), len(content)
        )


async def _files(
    boundary: str | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[tuple[str | None, bytes | None]]:
    """
    Yield name and content of each file of a form; content None where it is too large.

    Raises:
        Refused: It is no form, breaks off, or has more files than a batch may have (400).
    """
    if boundary is None:
        raise Refused(
            "undecodable",
            "body: expected a form with files (curl -F file=@FILE -F file=@FILE), got none.",
        )
    n_files = 0
    try:
        parser = form_parser(boundary)
        reader = _FormReader(parser)
        async for chunk in chunks:
            for file in reader.read(chunk):
                n_files += 1
                if n_files > MAX_FILES:
                    raise Refused(
                        "too_many_files",
                        f"form: expected at most {MAX_FILES} files, got more. Send several forms.",
                    )
                yield file
        parser.close()
    except ParserLimitReached as error:
        raise Refused(
            "undecodable",
            f"form: expected at most {MAX_FIELDS} fields with short heads, got more ({error}). "
            "Send the files alone, or several forms.",
        ) from error
    except MultipartError as error:
        raise Refused(
            "undecodable", f"form: expected a whole one, got none ({error}). Send it again."
        ) from error
    if not n_files:
        raise Refused("empty", "form: expected files (curl -F file=@FILE), got none.")


class _FormReader:
    """Puts the files of a form together."""

    def __init__(self, parser: PushMultipartParser) -> None:
        self._parser = parser
        self._segment: MultipartSegment | None = None
        self._pieces: list[bytes] = []
        self._n_bytes = 0

    def read(self, chunk: bytes) -> list[tuple[str | None, bytes | None]]:
        """Return the files that are whole with this chunk."""
        files: list[tuple[str | None, bytes | None]] = []
        for event in self._parser.parse(chunk):
            if isinstance(event, MultipartSegment):
                self._segment, self._pieces, self._n_bytes = event, [], 0
            elif event is not None:
                self._n_bytes += len(event)
                if self._n_bytes <= MAX_FILE_BYTES:
                    self._pieces.append(bytes(event))
                else:
                    self._pieces = []
            elif self._segment is not None and self._is_file(self._segment):
                is_kept = self._n_bytes <= MAX_FILE_BYTES
                content = b"".join(self._pieces) if is_kept else None
                files.append((file_name(self._segment), content))
        return files

    def _is_file(self, segment: MultipartSegment) -> bool:
        """Tell a file from text, and from an input that was left empty: no name, no content."""
        return bool(segment.filename or (segment.filename is not None and self._n_bytes))


def _answer(results: list[dict[str, Any]]) -> Answer:
    n_scored = sum(result["status"] == 200 for result in results)
    document = {"scored": n_scored, "refused": len(results) - n_scored, "results": results}
    return Answer(200, json.dumps(document).encode() + b"\n")
