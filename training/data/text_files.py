"""Decode a text file that another program wrote: UTF-8, UTF-16 or Windows-1252."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# A zip archive, as of xlsx and ods, and the container of xls.
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def decoded(path: Path) -> str:
    """
    Return a file's text: by its byte order mark, else UTF-16, UTF-8 or Windows-1252.

    UTF-16 without a mark has a zero in each second byte of Latin text. Windows-1252 is what is
    left where the bytes are no UTF-8; that is logged, as a wrong guess changes names.

    Raises:
        ValueError: It is a workbook, or no text in any of these.
    """
    data = path.read_bytes()
    if data.startswith(_WORKBOOKS):
        raise ValueError(
            f"{path}: expected a text file, got a workbook. Save its sheet as CSV UTF-8."
        )
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(data) or _utf8_or_1252(data)
    if encoding == "cp1252":
        logger.info("%s: read as Windows-1252, as it is not UTF-8", path.name)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="ignore")
        line = 1 + len(re.findall(r"\r\n|\r|\n", before))
        raise ValueError(
            f"{path}, line {line}: expected text in UTF-8, UTF-16 or Windows-1252, got the byte "
            f"0x{data[error.start]:02x}. Save it as CSV UTF-8."
        ) from error
    if "\0" in text:
        raise ValueError(f"{path}: expected a text file, got a binary one. Save it as CSV UTF-8.")
    return text


def _utf16_without_mark(data: bytes) -> str | None:
    first, second = (data[start::2].count(0) / max(1, len(data) // 2) for start in (0, 1))
    if second > 0.4 and first < 0.1:
        return "utf-16-le"
    return "utf-16-be" if first > 0.4 and second < 0.1 else None


def _utf8_or_1252(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
