"""Forms as they are sent: what clients write, and what nobody should."""

from __future__ import annotations

import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from iqa.errors import ImageRejected
from iqa.request.form import MAX_FIELDS, MAX_HEAD_BYTES, Field, fields_of

from tests.request_rows import picture_of

PICTURE = b"\xff\xd8 any bytes, \r\n--\r\n-- among them"


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> bytes:
    """Return a form: (head of the part, content) each."""
    body = b"".join(
        f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts
    )
    return body + f"--{boundary}--\r\n".encode()


def disposition(parameters: str) -> str:
    """Return the header that names a field."""
    return f"Content-Disposition: form-data{parameters}"


@given(content=st.binary(), name=st.text("abcdef-_.[]", min_size=1), other=st.binary(max_size=20))
def test_what_a_client_library_writes_is_read(content: bytes, name: str, other: bytes) -> None:
    """Any content under any name comes back as it was sent, and files are told from text."""
    files = [(name, ("a.jpg", content)), (f"{name}2", (None, other)), (name, ("b", b""))]
    sent = requests.Request("POST", "http://x", files=files).prepare().body
    assert isinstance(sent, bytes)
    expected = [
        Field(name=name, content=content, is_file=True, file_name="a.jpg"),
        Field(name=f"{name}2", content=other, is_file=False),
        Field(name=name, content=b"", is_file=True, file_name="b"),
    ]
    assert fields_of(sent) == expected
    assert fields_of(bytearray(sent)) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        '; name="data"',
        "; name=data",
        '; filename="a.jpg"; name="data"',
        '; filename="x; name=evil"; name="data"',
        ';name="data";filename="C:\\a\\b.jpg"',
        "; name=\"data\"; filename*=UTF-8''a%20b.jpg",
    ],
)
def test_a_field_is_named_by_its_name_alone(parameters: str) -> None:
    """Whatever else stands beside it, and in which order."""
    body = form((disposition(parameters) + "\r\nContent-Type: image/jpeg", PICTURE))
    assert picture_of({"body": body}) == PICTURE


def test_letters_of_any_encoding_do_no_harm_in_names() -> None:
    """A file's name may be in Latin-1; a field's is UTF-8."""
    head = disposition('; name="data"; filename="NAME"').encode()
    body = form(("HEAD", PICTURE)).replace(b"HEAD", head.replace(b"NAME", b"\xe9t\xe9.jpg"))
    assert picture_of({"body": body}) == PICTURE
    assert fields_of(form((disposition('; name="\u00e9"'), b"a"))) == [
        Field(name="\u00e9", content=b"a", is_file=False)
    ]


@pytest.mark.parametrize(
    ("parameters", "is_file"),
    [
        ('; name="a"; filename="b"', True),
        ('; filename=b; name="a"', True),
        ("; name=\"a\"; filename*=UTF-8''b", True),
        ('; name="a"; filename=""', True),
        ('; name="a"', False),
        ('; name="a; filename=b"', False),
        ('; name="a"; x-filename=b', False),
    ],
)
def test_a_file_is_what_has_a_file_name(parameters: str, is_file: bool) -> None:
    """In any spelling that clients use; a parameter inside another one's quotes is none."""
    fields = fields_of(form((disposition(parameters), b"x")))
    assert fields is not None
    assert [field.is_file for field in fields] == [is_file]


def test_of_two_text_fields_of_one_name_the_last_counts() -> None:
    """As where TorchServe takes the form apart."""
    parts = [(disposition('; name="data"'), content) for content in (b"first", b"last")]
    assert picture_of({"body": form(*parts)}) == b"last"


@pytest.mark.parametrize("parameter", ["; a=b", "; ", ";", " ", ";a=", ';a="b"', '; name="'])
def test_a_head_made_of_anything_is_read_at_once(parameter: str) -> None:
    """As many parameters as fit, without the one that is looked for: no search goes back."""
    head = disposition(parameter * ((MAX_HEAD_BYTES - 100) // len(parameter)))
    body = form(*[(head, b"")] * 100)
    start_s = time.process_time()
    assert fields_of(body) is not None
    assert time.process_time() - start_s < 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form((disposition('; name="file"'), PICTURE)), "got only text in the fields 'file'"),
        (form((disposition(""), PICTURE)), "got nothing"),
        (form(("X: y", PICTURE)), "is broken (Missing Content-Disposition"),
        (form((disposition('; name="data"'), PICTURE))[:-10], "breaks off"),
        (form((disposition('; name="data"'), PICTURE))[:60], "breaks off"),
        (b"--a\r\n", "breaks off"),
        (b"--a\r\n" * 1_000_000, "is broken (Malformed segment header"),
        (form(*[(disposition('; name="a"'), b"")] * (MAX_FIELDS + 1)), "segment count"),
        (form((disposition(f'; name="{"a" * 9000}"'), b"")), "header length"),
        (form(("X: y\r\n" * 8 + disposition('; name="a"'), b"")), "header count"),
    ],
    ids=["other name", "no name", "no disposition", "no end", "half a head", "start", "starts",
         "many", "long name", "lines"],
)  # fmt: skip
def test_a_form_without_a_picture_is_refused_with_what_came(body: bytes, words: str) -> None:
    """400, and the message says what was missing."""
    with pytest.raises(ImageRejected, match=": expected ") as caught:
        picture_of({"body": body})
    assert words in str(caught.value)
    assert caught.value.status == 400


def test_each_limit_of_a_form_is_said() -> None:
    """One field with a long line is not told that its fields are too many."""
    with pytest.raises(ImageRejected) as caught:
        fields_of(form((disposition(f'; name="{"a" * MAX_HEAD_BYTES}"'), PICTURE)))
    assert str(caught.value) == (
        "form: expected at most 250 fields, each with at most 8 lines of at most 1536 bytes before "
        "its content, got more (Maximum segment header length exceeded). Send the picture alone."
    )


@pytest.mark.parametrize(
    "head",
    [
        disposition(";a=b" * 370), disposition(';a="' + '\\"' * 700), disposition(";" * 1400),
        "\r\n".join([disposition(";a=b" * 370)] * 7),
        "\r\n".join([disposition("; name=a"), *["Content-Type: a/b" + ";c=d" * 370] * 7]),
    ],
    ids=["parameters", "quotes", "semicolons", "dispositions", "types"],
)  # fmt: skip
def test_fields_with_heads_as_long_as_may_be_cost_little(head: str) -> None:
    """As many fields as are taken, with heads made to be parsed for long: under a second."""
    body = form(*[(head, b"")] * MAX_FIELDS)
    start_s = time.process_time()
    assert len(fields_of(body) or []) <= MAX_FIELDS
    assert time.process_time() - start_s < 1


def test_a_form_in_a_form_is_no_form() -> None:
    """The content of a field is a picture or JSON: nobody can nest forms without end."""
    inner = form((disposition('; name="data"'), PICTURE))
    outer = form((disposition('; name="data"'), inner), boundary="abc")
    assert picture_of({"body": outer}) == inner


@pytest.mark.parametrize("body", [b"", b"--", b"--\r\n", b"---", b"\r\n--a\r\n", PICTURE])
def test_what_is_no_form_is_left_alone(body: bytes) -> None:
    """It goes on to the decoder, which says what it is."""
    assert fields_of(body) is None
