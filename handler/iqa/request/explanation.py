"""
What a client of `/explanations/NAME` asks for: the map as numbers or as a picture, of which class.

By a header or a field of a form. TorchServe 0.12 drops what follows the question mark of the
address; the front makes headers of what `iqa.request.options` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iqa.errors import ImageRejected

JSON: Final = "json"
PNG: Final = "png"
PNG_TYPE: Final = "image/png"
FORMAT_KEY: Final = "format"
HINT: Final = "Send the header Accept: image/png for a picture; numbers come without."


def wanted_format(row: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """
    Tell in which form the map is wanted.

    Args:
        row: Contents of the fields of a form that are no files, by their names.
        headers: The request's headers, in any spelling. TorchServe puts something about each field
            of a form between them.

    Returns:
        `JSON` or `PNG`. The field counts before the header; without either it is JSON.

    Raises:
        ImageRejected: Another form is asked for (400).
    """
    asked = row.get(FORMAT_KEY)
    if asked is not None:
        text = asked.decode(errors="replace") if isinstance(asked, bytes | bytearray) else asked
        if text not in (JSON, PNG):
            raise ImageRejected(
                "unknown_format", f"format: expected json or png, got {str(text)[:40]!r}. {HINT}"
            )
        return str(text)
    accepted = [
        value
        for name, value in headers.items()
        if name.lower() == "accept" and isinstance(value, str)
    ]
    return PNG if any(PNG_TYPE in value.lower() for value in accepted) else JSON
