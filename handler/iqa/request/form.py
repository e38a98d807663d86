"""
A form as it was sent (multipart/form-data, RFC 7578) -> its fields.

The front hands forms over as they are: TorchServe takes them apart only by their content type, and
answers broken ones with 500, and those of a million fields after minutes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from iqa.errors import ImageRejected

# No picture begins like this. RFC 2046 allows 70 characters.
START: Final = re.compile(rb"--([^\r\n]{1,200})\r\n")
# Up to a parameter, behind any others. Nothing is tried twice (`++`): a head without the parameter
# would take for ever.
UP_TO: Final = (
    rb"^content-disposition:[^;\r\n]*+"
    rb'(?:;[ \t]*+(?!%b)[^=;\r\n]++=(?:"[^"\r\n]*+"|[^";\r\n]*+))*+;[ \t]*+'
)
# Quoted by all clients that we know, bare in the standard.
NAME: Final = re.compile(UP_TO % b"name=" + rb'name=(?:"([^"\r\n]*)"|([^";\s]+))', re.I | re.M)
FILE_NAME: Final = re.compile(UP_TO % rb"filename\*?=" + rb"filename\*?=", re.I | re.M)
MAX_FIELDS: Final = 1000
MAX_HEAD_BYTES: Final = 8192


@dataclass(frozen=True, kw_only=True)
class Field:
    """
    One field of a form.

    Attributes:
        name: Perhaps empty, and perhaps that of another field as well.
        content: Bytes; what TorchServe has decoded may be text or JSON.
        is_file: It was sent as a file, and not as text.
    """

    name: str
    content: Any
    is_file: bool


def fields_of(body: bytes | bytearray) -> list[Field] | None:
    """
    Take a form apart.

    Args:
        body: Of a request.

    Returns:
        All that have a name, in their order; None where the body is no form.

    Raises:
        ImageRejected: It breaks off, or has too many fields (400).
    """
    start = START.match(body)
    if start is None:
        return None
    delimiter = b"\r\n--" + bytes(start[1])
    fields: list[Field] = []
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
            is_file = FILE_NAME.search(body, at, head_end) is not None
            content = bytes(body[head_end + 4 : end])
            fields.append(Field(name=text, content=content, is_file=is_file))
        at = end + len(delimiter)
        if body[at : at + 2] == b"--":
            return fields
        at = body.find(b"\n", at) + 1 or len(body)
    raise ImageRejected(
        "undecodable",
        f"form: expected at most {MAX_FIELDS} fields, got more. Send the picture alone.",
    )
