"""
A form as it was sent (multipart/form-data, RFC 7578) -> its fields.

The front hands forms over as they are: TorchServe takes them apart only by their content type, and
answers broken ones with 500, and those of a million fields after minutes.

`multipart` does the work, within limits that are set here. A form with an image of 60 kB takes it
13 us, regular expressions of our own took 9 us, `python-multipart` 25 us; a request takes 15 ms. A
form of 46 MB of tiny fields is refused after 4 ms (29 ms, 16 ms). It copies the body once more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from iqa.errors import ImageRejected
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

# No picture begins like this. RFC 2046 allows 70 characters. The boundary is read from here: the
# front passes no content type on, and some clients name another one in theirs.
START: Final = re.compile(rb"--([^\r\n]{1,200})\r\n")
QUOTED: Final = re.compile(r'"[^"]*+"')
ENCODED_NAME: Final = re.compile(r";\s*+filename\*=", re.I)
# Together they bound what is parsed: heads made for it take 0.3 s, and with 1000 fields 1 s.
MAX_FIELDS: Final = 250
MAX_HEAD_BYTES: Final = 1536  # of one line: the name of a file, twice, once in percent signs
MAX_HEAD_LINES: Final = 8
MAX_FILE_NAME: Final = 255


@dataclass(frozen=True, kw_only=True)
class Field:
    """
    One field of a form.

    Attributes:
        name: Perhaps empty, and perhaps that of another field as well.
        content: Bytes; what TorchServe has decoded may be text or JSON.
        is_file: It was sent as a file, and not as text.
        file_name: Of the file, without folders; None where it has none.
    """

    name: str
    content: Any
    is_file: bool
    file_name: str | None = None


def fields_of(body: bytes | bytearray) -> list[Field] | None:
    """
    Take a form apart.

    Args:
        body: The request's body.

    Returns:
        All that have a name or are files, in their order; None where the body is no form.

    Raises:
        ImageRejected: It breaks off, is no form in spite of its start, or has too many fields
            (400).
    """
    start = START.match(body)
    if start is None:
        return None
    parser = PushMultipartParser(
        bytes(start[1]),
        max_header_size=MAX_HEAD_BYTES,
        max_header_count=MAX_HEAD_LINES,
        max_segment_count=MAX_FIELDS,
        header_charset="latin-1",  # any byte: the name of a file may be in whatever is local there
    )
    try:
        fields = _fields(parser, body)
    except ParserLimitReached as error:
        raise ImageRejected(
            "undecodable",
            f"form: expected at most {MAX_FIELDS} fields, each with at most {MAX_HEAD_LINES} lines "
            f"of at most {MAX_HEAD_BYTES} bytes before its content, got more ({error}). "
            "Send the picture alone.",
        ) from error
    except MultipartError as error:
        raise ImageRejected(
            "undecodable",
            f"form: expected multipart/form-data, got one that is broken ({str(error)[:80]}). "
            "Send the picture alone.",
        ) from error
    try:
        parser.close()
    except MultipartError as error:
        raise ImageRejected(
            "truncated",
            "form: expected each field up to its boundary, got one that breaks off. "
            "Send the whole form.",
        ) from error
    return fields


def _fields(parser: PushMultipartParser, body: bytes | bytearray) -> list[Field]:
    fields: list[Field] = []
    name, is_file, content, of_file = "", False, b"", None
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            name, is_file, content = _utf8(event.name), _is_file(event), b""
            of_file = file_name(event)
        elif event is not None:
            content = bytes(event)  # of a body in one piece, all of it
        elif name or is_file:
            fields.append(Field(name=name, content=content, is_file=is_file, file_name=of_file))
    return fields


def file_name(part: MultipartSegment) -> str | None:
    """Return the name of a part's file, without folders; browsers send it in UTF-8."""
    if part.filename is None:
        return None
    return _utf8(part.filename).replace("\\", "/").rpartition("/")[2][:MAX_FILE_NAME] or None


def _is_file(part: MultipartSegment) -> bool:
    if part.filename is not None:
        return True
    # RFC 7578 forbids this spelling, the library does not look for it, and some clients use it.
    disposition = QUOTED.sub("", part.header("Content-Disposition", ""))
    return ENCODED_NAME.search(disposition) is not None


def _utf8(name: str) -> str:
    return name.encode("latin-1", "replace").decode(errors="replace")
