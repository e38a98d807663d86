"""Where a request's picture may be, and what is said when it is not there."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import pytest
from iqa.errors import ImageRejected
from iqa.request.form import Field
from iqa.request.payload import fields_in, picture_in

from tests.request_rows import picture_of

PICTURE = b"\xff\xd8 any bytes"
TEXT = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    "row",
    [
        {"body": PICTURE},
        {"body": bytearray(PICTURE)},
        {"data": PICTURE},
        {"data": PICTURE, "body": b"other"},
        {"body": {"image": TEXT}},
        {"body": {"image": f"data:image/png;base64,{TEXT}"}},
        {"body": {"image": TEXT[:4] + "\r\n " + TEXT[4:]}},
        {"body": f'{{"image": "{TEXT}"}}'.encode()},
        {"body": bytearray(f'\ufeff\n {{"a": [1], "image": "{TEXT}"}}'.encode())},
        {"data": f'{{"image": "{TEXT}"}}'.encode()},
    ],
)
def test_a_picture_is_found_wherever_it_may_be(row: dict[str, Any]) -> None:
    """Raw bytes, a form field, base64 in JSON with or without a data URI."""
    assert picture_of(row) == PICTURE


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "got nothing"),
        ({"file": PICTURE}, "expected a file, got only text in the fields 'file'"),
        ({"body": "text"}, "got text"),
        ({"body": [1]}, "got JSON list"),
        ({"body": {}}, "got the keys none"),
        ({"body": {"picture": TEXT}}, "got the keys 'picture'"),
        ({"body": {"image": None}}, "got NoneType in it"),
        ({"body": {"image": "%%%"}}, "expected base64"),
        ({"body": {"image": "data:image/png,raw"}}, "expected a data URI in base64"),
        ({"body": {"image": "\ud800"}}, "expected base64"),
        ({"body": b"[1]"}, "got JSON list"),
        ({"body": b'{"image": 1e999}'}, "got float in it"),
        ({"body": b"{broken"}, "got none (Expecting property name"),
        ({"body": b'{"image": ' + b"9" * 5000 + b"}"}, "got none (Exceeds the limit"),
        ({"body": b"[" * 999}, "got none"),
        ({"body": b"[" * 100_000}, "got 100000 values and more"),
        ({"body": b'{"a":1,' * 5_000_000}, "got 15000000 values and more"),
    ],
)
def test_a_request_without_a_picture_is_refused_with_what_came(
    row: dict[str, Any], words: str
) -> None:
    """The message names what came, and how to send a file."""
    with pytest.raises(ImageRejected, match="Send the file itself") as caught:
        picture_of(row)
    assert words in str(caught.value)
    assert caught.value.status == 400


def test_base64_of_very_many_pieces_takes_no_more_memory() -> None:
    """A megabyte of text in pieces of one letter: no object is made of each."""
    text = TEXT + " A" * 500_001
    row = {"body": {"image": text}}
    tracemalloc.start()
    try:
        with pytest.raises(ImageRejected, match="expected base64"):
            picture_of(row)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(text)


FILE = b"\xff\xd8\0 with a zero byte, as all pictures have"


def field(name: str, content: bytes = FILE, is_file: bool = True) -> Field:
    """Return a field of a form."""
    return Field(name=name, content=content, is_file=is_file)


@pytest.mark.parametrize("name", ["file", "image", "data", "body", "picture[]", "", "x"])
@pytest.mark.parametrize("is_file", [True, False])
def test_the_only_file_of_a_form_is_taken_whatever_its_field_is_called(
    name: str, is_file: bool
) -> None:
    """Beside text, an option and a browser's empty inputs; also where it has no file name."""
    text = [field("note", b"no picture", is_file=False), field("format", b"png", is_file=False)]
    fields = [*text, field("second", b""), field(name, is_file=is_file), field("third", b"")]
    assert picture_in(fields) == FILE


@pytest.mark.parametrize(
    "fields",
    [
        [field("a"), field("b")],
        [field("data"), field("other")],
        [field("image"), field("image")],
        [field("data"), field("notes", b"text in a file")],
        [field("a", is_file=False), field("b", is_file=False)],
    ],
)
def test_a_form_with_two_files_is_refused_by_their_names(fields: list[Field]) -> None:
    """Which one is meant cannot be told: 400, and never silently one of them."""
    with pytest.raises(ImageRejected, match="form: expected one file, got 2, in") as caught:
        picture_in([field("note", b"text", is_file=False), *fields])
    assert (caught.value.status, caught.value.reason) == (400, "too_many_files")
    assert ", ".join(repr(one.name) for one in fields) in str(caught.value)


def test_a_file_that_is_empty_is_refused_as_such() -> None:
    """It is the only one: nothing else could be meant."""
    assert picture_in([field("a", b"text", is_file=False), field("file", b"")]) == b""


def test_what_torchserve_took_apart_tells_files_from_text() -> None:
    """It gives each field of a form a content type among the headers, an empty one to text."""
    headers = {
        "file": {"content-type": "image/svg+xml"},
        "note": {"content-type": ""},
        "host": "x",
    }
    row = {"note": bytearray(b"text"), "file": bytearray(b"<svg/>"), "host": bytearray(b"text")}
    assert [one.is_file for one in fields_in(row, headers)] == [False, True, False]
    assert picture_in(fields_in(row, headers)) == b"<svg/>"
