"""What a request row of TorchServe holds -> the bytes of one picture."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from iqa.errors import ImageRejected
from iqa.request.form import fields_of

IMAGE_KEY: Final = "image"
HINT: Final = (
    'Send the file itself (curl -T FILE), a form (-F data=@FILE), or JSON {"image": "<base64>"}.'
)

# No picture begins like this.
JSON_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+[\[{]")
# Commas, colons and brackets: parsing makes an object or two at each, a gigabyte of 46 MB.
MAX_JSON_MARKS: Final = 1000


def picture_of(row: Mapping[str, Any]) -> bytes:
    """
    Find the picture's bytes in a request.

    Args:
        row: What TorchServe made of the request: `data` for a form field, `body` for a raw
            body, which is bytes, or a form or JSON as it was sent; with `decode_input_request`,
            also text and parsed JSON, by its content type.

    Returns:
        The file's content, perhaps empty.

    Raises:
        ImageRejected: The request holds no picture where one is expected (400).
    """
    body = row.get("body")
    if row.get("data") is None and isinstance(body, bytes | bytearray):
        fields = fields_of(body)
        if fields is not None:
            return _picture_in(fields)
    return _picture_in(row)


def _picture_in(row: Mapping[str, Any]) -> bytes:
    payload = row.get("data")
    if payload is None:
        payload = row.get("body")
    if payload is None:
        if not row:
            raise ImageRejected("empty", f"body: expected an image file, got nothing. {HINT}")
        fields = ", ".join(repr(str(name)[:40]) for name in list(row)[:5])
        raise ImageRejected(
            "undecodable", f"form: expected a file in the field 'data', got {fields}. {HINT}"
        )
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
