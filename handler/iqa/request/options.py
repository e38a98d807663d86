"""
What a request asks for beside its picture: how many classes, and a map of which one.

By a field of a form or by a header. TorchServe 0.12 drops what follows the question mark of the
address, so the front makes headers of it (torchserve/front/nginx.conf.template).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from iqa.errors import ImageRejected
from iqa.request.form import Field

TOP_K: Final = "top_k"
CLASS: Final = "class"
HEADERS: Final = {
    TOP_K: ("X-Top-K", "x-top-k", "X-TOP-K"),
    CLASS: ("X-Class", "x-class", "X-CLASS"),
}
"""As the front passes it on, and as HTTP/2 and some clients write it; TorchServe keeps the
spelling."""
MAX_DIGITS: Final = 6


def asked(name: str, fields: Sequence[Field], headers: Mapping[str, Any]) -> str | None:
    """
    Return what a request asks for under a name; None where it asks for nothing.

    Args:
        name: A key of `HEADERS`.
        fields: Of the request; a text field counts before a header.
        headers: Of the request. TorchServe puts something about each field of a form between them.
    """
    for field in fields:
        if field.name == name and not field.is_file:
            content = field.content
            if isinstance(content, bytes | bytearray):
                return content.decode(errors="replace")
            return str(content)
    for header in HEADERS[name]:
        value = headers.get(header)
        if isinstance(value, str) and value:
            return value
    return None


def top_k_of(text: str | None) -> int | None:
    """
    Read how many classes a reply may hold.

    Args:
        text: The number, perhaps with percent signs, as in an address.

    Returns:
        1 or more; None where nothing is asked for.

    Raises:
        ImageRejected: It is no such number (400).
    """
    if text is None:
        return None
    digits = unquote(text).strip()
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS
    if not is_number or int(digits) == 0:
        raise ImageRejected(
            "bad_top_k",
            f"top_k: expected a whole number from 1 to {10**MAX_DIGITS - 1}, got {text[:40]!r}. "
            "Leave it out for what is usual.",
        )
    return int(digits)


def class_of(text: str | None, names: Sequence[str]) -> int | None:
    """
    Find the class that is meant.

    Args:
        text: A class's name or its number, as the reply gives them; the name perhaps with percent
            signs, as in an address.
        names: Of the classes, in the order of the outputs; empty where there are none.

    Returns:
        The number of the class, from 0; None where nothing is asked for.

    Raises:
        ImageRejected: There is no such class (400).
    """
    if text is None:
        return None
    for name in (text, unquote(text), unquote_plus(text)):
        if name in names:
            return names.index(name)
    if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and int(text) < len(names):
        return int(text)
    if not names:
        expected = "none, because this model has no classes"
    else:
        listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        expected = f"one of {listed}, or a number from 0 to {len(names) - 1}"
    raise ImageRejected(
        "unknown_class",
        f"class: expected {expected}, got {text[:40]!r}. "
        "Leave it out for a map of what the model answers.",
    )
