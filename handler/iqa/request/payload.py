"""What a request row of TorchServe holds -> the bytes of one picture."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from iqa.errors import ImageRejected
from iqa.request.form import Field, fields_of

IMAGE_KEY: Final = "image"
TEXT_FIELDS: Final = ("data", "body")
"""Text fields that are tried if a form has no file; `body` is TorchServe's name of a raw body."""
HINT: Final = (
    'Send the file itself (curl -T FILE), a form (-F file=@FILE), or JSON {"image": "<base64>"}.'
)

# No picture begins like this.
JSON_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+[\[{]")
# Commas, colons and brackets: parsing makes an object or two at each, a gigabyte of 46 MB.
MAX_JSON_MARKS: Final = 1000


def fields_in(row: Mapping[str, Any], headers: Mapping[str, Any]) -> list[Field]:
    """
    Return the fields of a request, whoever has taken its form apart.

    Args:
        row: What TorchServe made of the request: one key for each field of a form that it took
            apart, of several of one name the last; else `body`, which is bytes, or a form or JSON
            as it was sent; with `decode_input_request`, also text and parsed JSON.
        headers: The request's headers. TorchServe puts a content type for each field there, which
            is empty where the field is no file.

    Returns:
        The fields of the form; of a raw body one, `body`.

    Raises:
        ImageRejected: The form is broken (400).
    """
    body = row.get("body")
    if row.get("data") is None and isinstance(body, bytes | bytearray):
        fields = fields_of(body)
        if fields is not None:
            return fields
    return [
        Field(name=str(name), content=content, is_file=_has_content_type(headers.get(name)))
        for name, content in row.items()
    ]


def picture_in(fields: Sequence[Field]) -> bytes:
    """
    Find the picture's bytes in the fields of a request.

    Returns:
        The file's content, perhaps empty.

    Raises:
        ImageRejected: There is no picture where one is expected, or more than one (400).
    """
    payload = _chosen(fields).content
    if isinstance(payload, bytes | bytearray | memoryview):
        content = bytes(payload)
        if not JSON_START.match(content):
            return content
        payload = _parsed(content)
    if isinstance(payload, str):
        if not payload:
            return b""
        raise ImageRejected("undecodable", f"body: expected an image file, got text. {HINT}")
    if isinstance(payload, Mapping):
        return _from_json(payload)
    raise ImageRejected(
        "undecodable", f"body: expected an image file, got JSON {type(payload).__name__}. {HINT}"
    )


def image_name_in(fields: Sequence[Field]) -> str | None:
    """
    Return the name of the picture's file, where the client sent one.

    Raises:
        ImageRejected: As `picture_in`.
    """
    return _chosen(fields).file_name


def _chosen(fields: Sequence[Field]) -> Field:
    """
    Return the field that holds the picture: the only file, whatever its name is.

    Raises:
        ImageRejected: There is none, or which one is meant cannot be told (400).
    """
    # Some clients give no file a name. Text has no zero bytes, all formats of pictures do.
    files = [field for field in fields if field.is_file or _is_binary(field.content)]
    files = [field for field in files if field.content] or files[:1]  # a browser's empty inputs
    if len(files) > 1:
        raise ImageRejected(
            "too_many_files",
            f"form: expected one file, got {len(files)}, in the fields {_names(files)}. "
            "Send each image as a request of its own.",
        )
    text = [field for name in TEXT_FIELDS for field in reversed(fields) if field.name == name]
    if files or text:
        return (files or text)[0]
    if not fields:
        raise ImageRejected("empty", f"body: expected an image file, got nothing. {HINT}")
    raise ImageRejected(
        "undecodable",
        f"form: expected a file, got only text in the fields {_names(fields)}. {HINT}",
    )


def _is_binary(content: Any) -> bool:
    return isinstance(content, bytes | bytearray) and b"\0" in content


def _has_content_type(header: Any) -> bool:
    return isinstance(header, Mapping) and bool(header.get("content-type"))


def _names(fields: Sequence[Field]) -> str:
    return ", ".join(repr(field.name[:40]) for field in fields[:5])


def _parsed(body: bytes) -> Any:
    marks = sum(body.count(mark) for mark in (b",", b":", b"[", b"{"))
    if marks > MAX_JSON_MARKS:
        raise ImageRejected(
            "undecodable",
            f"JSON: expected one object with the key 'image', got {marks} values and more. {HINT}",
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ImageRejected(
            "undecodable",
            f"JSON: expected an object with the key 'image', got none ({str(error)[:80]}). {HINT}",
        ) from error


def _from_json(document: Mapping[str, Any]) -> bytes:
    text = document.get(IMAGE_KEY)
    if not isinstance(text, str):
        got = f"the keys {', '.join(repr(str(k)[:40]) for k in list(document)[:5]) or 'none'}"
        if IMAGE_KEY in document:
            got = f"{type(text).__name__} in it"
        raise ImageRejected(
            "undecodable", f"JSON: expected base64 text in the key 'image', got {got}. {HINT}"
        )
    if text.startswith("data:"):  # a data URI: data:image/png;base64,....
        header, _, text = text.partition(",")
        if not header.endswith(";base64"):
            raise ImageRejected(
                "undecodable",
                f"JSON: expected a data URI in base64, got {header[:40]!r}. {HINT}",
            )
    try:
        # Line breaks are common in base64 (MIME, the command base64), other foreign bytes are not.
        packed = text.encode("ascii").translate(None, b" \t\r\n\v\f")
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageRejected(
            "undecodable", f"JSON: expected base64 in the key 'image', got none ({error}). {HINT}"
        ) from error
