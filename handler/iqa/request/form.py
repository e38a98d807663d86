"""
A form as it was sent (multipart/form-data, RFC 7578) -> its fields.

The front hands forms over as they are: TorchServe takes them apart only by their content type, and
answers broken ones with 500, and those of a million fields after minutes.
"""

from __future__ import annotations

import re
from typing import Final

from iqa.errors import ImageRejected

# No picture begins like this. RFC 2046 allows 70 characters.
START: Final = re.compile(rb"--([^\r\n]{1,200})\r\n")
# `name`, behind any other parameters; quoted by all clients that we know, bare in the standard.
NAME: Final = re.compile(
    rb'^content-disposition:[^;\r\n]*(?:;[ \t]*(?!name=)[^=;\r\n]+=(?:"[^"\r\n]*"|[^";\r\n]*))*'
    rb';[ \t]*name=(?:"([^"\r\n]*)"|([^";\s]+))',
    re.I | re.M,
)
MAX_FIELDS: Final = 1000
MAX_HEAD_BYTES: Final = 8192


def fields_of(body: bytes | bytearray) -> dict[str, bytes] | None:
    """
    Take a form apart.

    Args:
        body: Of a request.

    Returns:
        Content by name, of several of one name the last; None where the body is no form.

    Raises:
        ImageRejected: It breaks off, or has too many fields (400).
    """
    start = START.match(body)
    if start is None:
        return None
    delimiter = b"\r\n--" + bytes(start[1])
    fields: dict[str, bytes] = {}
    at = start.end()
    for _ in range(MAX_FIELDS):
        # A part may have no header at all; then its head is the empty line alone.
        head_end = body.find(b"\r\n\r\n", max(at - 2, 0), at + MAX_HEAD_BYTES)
        end = -1 if head_end < 0 else body.find(delimiter, head_end + 2)
        if end < 0:
            raise ImageRejected(
                "truncated",
                "form: expected each field up to its boundary, got one that breaks off. "
                "Send the whole form.",
            )
        name = NAME.search(body, at, head_end)
        if name is not None:
            text = (name[1] or name[2] or b"").decode(errors="replace")
            fields[text] = bytes(body[head_end + 4 : end])
        at = end + len(delimiter)
        if body[at : at + 2] == b"--":
            return fields
        at = body.find(b"\n", at) + 1 or len(body)
    raise ImageRejected(
        "undecodable",
        f"form: expected at most {MAX_FIELDS} fields, got more. Send the picture alone.",
    )
