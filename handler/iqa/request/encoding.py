"""
A body with the header Content-Encoding -> the body as it was before (RFC 9110, section 8.4).

Neither TorchServe 0.12 nor the front decompresses: the body comes as it was sent. Only what the
standard library undoes is taken, gzip and deflate; each piece is bounded, so that a small body that
unpacks to gigabytes costs no more than a large one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from iqa.errors import ImageRejected

HEADER: Final = "content-encoding"
TAKEN: Final = "gzip, deflate"
GZIP: Final = ("gzip", "x-gzip")
# Of zlib: what stands around the compressed stream.
GZIP_BITS: Final = 16 + zlib.MAX_WBITS
ZLIB_BITS: Final = zlib.MAX_WBITS
BARE_BITS: Final = -zlib.MAX_WBITS

READ_BYTES: Final = 65_536
WRITE_BYTES: Final = 1_048_576
"""Most that is unpacked in one step before the total is checked."""
BASE64_SHARE: Final = 1.4  # of text over what is in it; with line breaks
MAX_MEMBERS: Final = 1024  # of a gzip file; bgzip writes one for each 64 KiB
MAX_WORDS: Final = 60  # of a client's header that are repeated to it


def plain_row(
    row: Mapping[str, Any], headers: Mapping[str, Any], max_bytes: int
) -> Mapping[str, Any]:
    """
    Undo the encoding of a request's body.

    Args:
        row: What TorchServe made of the request. Without a raw `body` it is left alone: a form that
            TorchServe took apart was not encoded.
        headers: The request's headers, in whatever spelling.
        max_bytes: Limit of the file in the body. The body may be larger by what base64 adds, as an
            unencoded one may.

    Returns:
        The row, with a plain body.

    Raises:
        ImageRejected: An encoding that is not taken (415), a damaged body (400), or one that
            unpacks to too much (413).
    """
    body = row.get("body")
    if not body or not isinstance(body, bytes | bytearray):
        return row
    named = [
        word.strip().lower()
        for name, value in headers.items()
        if name.lower() == HEADER and isinstance(value, str)
        for word in value.split(",")
    ]
    encodings = [name for name in named if name not in ("", "identity")]
    if not encodings:
        return row
    if len(encodings) > 1 or encodings[0] not in (*GZIP, "deflate"):
        raise ImageRejected(
            "unsupported_encoding",
            "Content-Encoding: expected gzip, deflate or none, "
            f"got {', '.join(encodings)[:MAX_WORDS]!r}. Send the body as it is.",
        )
    return {**row, "body": _unpacked(body, encodings[0], int(BASE64_SHARE * max_bytes))}


def _unpacked(body: bytes | bytearray, encoding: str, limit: int) -> bytearray:
    bits = GZIP_BITS if encoding in GZIP else _deflate_bits(body)
    decompressor = zlib.decompressobj(bits)
    members, most = 1, MAX_MEMBERS if encoding in GZIP else 1  # RFC 1952, section 2.2
    plain = bytearray()
    with memoryview(body) as view:
        for start in range(0, len(body), READ_BYTES):
            packed: memoryview | bytes = view[start : start + READ_BYTES]
            while packed:
                if decompressor.eof:
                    if members == most:
                        end = "its end" if most == 1 else f"member {most}"
                        raise _damaged(encoding, f"more behind {end}")
                    members += 1
                    decompressor = zlib.decompressobj(bits)
                try:
                    plain += decompressor.decompress(packed, WRITE_BYTES)
                except zlib.error as error:
                    raise _damaged(encoding, str(error)) from error
                if len(plain) > limit:
                    raise ImageRejected(
                        "too_many_bytes",
                        f"body: expected at most {limit} bytes when unpacked, got more. "
                        "Send a smaller file.",
                    )
                packed = decompressor.unconsumed_tail or decompressor.unused_data
    if not decompressor.eof:
        raise _damaged(encoding, "an end before its time", "truncated")
    return plain


def _deflate_bits(body: bytes | bytearray) -> int:
    """Tell deflate as the standard has it, in zlib's frame, from the bare one that some send."""
    is_framed = body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    return ZLIB_BITS if is_framed else BARE_BITS


def _damaged(encoding: str, what: str, reason: str = "undecodable") -> ImageRejected:
    return ImageRejected(
        reason,
        f"body: expected it in {encoding}, as Content-Encoding says, got {what}. "
        "Send the whole body, or leave the header out.",
    )
