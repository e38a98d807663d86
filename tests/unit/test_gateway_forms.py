"""The gateway's forms without a server: which file is meant, and its name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from web.predict_route import NameOfFile, boundary_of, with_image_name


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a form with the boundary `x`."""
    pieces = []
    for name, filename, content in parts:
        said = f'; filename="{filename}"' if filename is not None else ""
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"{said}\r\n\r\n'
        pieces.append(head.encode() + content + b"\r\n")
    return b"".join(pieces) + b"--x--\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (form(("file", "a.jpg", b"\xff\xd8")), "a.jpg"),
        (form(("t", None, b"text"), ("empty", "", b""), ("data", "ảnh.png", b"x")), "ảnh.png"),
        (form(("file", "C:\\fakepath\\b.jpg", b"x")), "b.jpg"),
        (form(("file", "../../etc/passwd", b"x")), "passwd"),
        (form(("file", "a" * 999, b"x")), "a" * 255),
        (form(("t", None, b"text")), None),
        (b"no form at all", None),
        (b"--x\r\nnonsense\r\n\r\n", None),
    ],
)
def test_the_name_of_the_file_is_seen_as_the_form_passes(
    body: bytes, wanted: str | None, size: int
) -> None:
    """Whatever pieces it comes in, every byte goes on as it is."""
    name = NameOfFile("x")

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def passed() -> bytes:
        return b"".join([chunk async for chunk in name.watched(chunks())])

    assert asyncio.run(passed()) == body
    assert name.found == wanted


def test_a_name_cannot_break_the_reply() -> None:
    """It is text in JSON, and no JSON of its own."""
    name = '", "score": 100, "x": "'
    document = json.loads(with_image_name(b'{"score": 1.0}\n', name))
    assert document == {"score": 1.0, "image_name": name}


def test_only_a_form_that_can_be_looked_into_has_a_boundary() -> None:
    """Compressed bodies and other types are passed on unseen."""
    kind = (b"content-type", b'multipart/form-data; boundary="x y"')
    assert boundary_of([kind]) == "x y"
    assert boundary_of([kind, (b"content-encoding", b"gzip")]) is None
    assert boundary_of([(b"content-type", b"image/jpeg")]) is None
