"""The picture in a request row of TorchServe, as the handler finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iqa.request.payload import fields_in, picture_in


def picture_of(row: Mapping[str, Any]) -> bytes:
    """Return the picture's bytes; raise `ImageRejected` where there is none."""
    return picture_in(fields_in(row, {}))
