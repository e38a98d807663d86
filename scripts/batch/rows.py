"""
A reply as a flat row, and the columns of an output: the same for every image and every task.

Nothing here knows a task. What a reply holds is flattened by the kind of its values. The columns
are those of one sample reply, so a file whose images are all refused has them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

Row = dict[str, Any]
"""{column: text, number or None}. What an image lacks is missing."""
Columns = dict[str, str]
"""{name: kind}, in the order of the output; see `KINDS`."""

FILENAME: Final = "filename"
REASON: Final = "reason"
MESSAGE: Final = "message"
PRECISION: Final = "model_precision"
VERSION: Final = "model_version"
DIGEST: Final = "model_sha256"
KINDS: Final = ("text", "integer", "number")
NOT_COLUMNS: Final = frozenset({"model"})
"""Of a reply: it stands in the last columns, the same in every row."""

# Faults that another run may not meet: of a drive, a machine, a moment.
PASSING: Final = frozenset({"unreadable", "timeout", "crashed", "failed"})
"""Reasons that are no refusal by the decoder."""


def flat(reply: Mapping[str, Any]) -> Row:
    """
    Flatten a reply.

    Args:
        reply: JSON, as the server would send it.

    Returns:
        `{"interval": [a, b]}` as `interval_low` and `interval_high`, `{"image": {"width": w}}` as
        `width`, `{"probabilities": {"cat": p}}` as `prob_cat`, `{"causes": {"blur": n}}` as
        `cause_blur`, lists of words as one text with spaces; other lists and objects as JSON.
    """
    row: Row = {}
    for key, value in reply.items():
        if key in NOT_COLUMNS:
            continue
        if key == "image":
            row |= value
        elif key == "probabilities" and isinstance(value, Mapping):
            row |= {f"prob_{name}": number for name, number in value.items()}
        elif key == "causes" and isinstance(value, Mapping):
            row |= {f"cause_{name}": points for name, points in value.items()}
        elif key == "interval":
            row["interval_low"], row["interval_high"] = value
        elif isinstance(value, list) and all(isinstance(word, str) for word in value):
            row[key] = " ".join(value)
        elif isinstance(value, Mapping | list):
            row[key] = json.dumps(value)
        else:
            row[key] = value
    return row


def columns_of(sample: Mapping[str, Any]) -> Columns:
    """
    Return the columns of an output.

    Args:
        sample: Any reply of the model.
    """
    told = {name: _kind(value) for name, value in flat(sample).items()}
    last = dict.fromkeys((REASON, MESSAGE, VERSION, PRECISION, DIGEST), "text")
    return {FILENAME: "text", **told, **last}


def refused(name: str, reason: str, message: str) -> Row:
    """Return the row of an image that has no score."""
    return {FILENAME: name, REASON: reason, MESSAGE: message}


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "text"
    return {int: "integer", float: "number"}.get(type(value), "text")
