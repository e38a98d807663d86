"""
What holds the rows together: the digests of a row, and what is left of one that was erased.

    contenthash = SHA-256(salt + what can be erased)
    hash        = SHA-256(what stays, contenthash, prevhash)
    prevhash    = hash of the row before; of a segment's first row, of its entry in the manifest

A row holds salt and content, a tombstone the contenthash in their place: the chain over both is
the same. Without the salt nobody can tell from the contenthash what the content was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

Row = dict[str, Any]

NO_HASH: Final = "0" * 64
STAYS: Final = frozenset({"model", "version", "archive_sha256", "status", "reason"})
"""Of `data`, what says nothing of a picture, so that answers can still be counted."""
GOES: Final = frozenset({"subject", "traceparent"})
"""Of the row itself, what is erased."""
_NOT_CHAINED: Final = frozenset({"hash", "salt", "contenthash", "erased", "data", *GOES})
# Made once: `json.dumps` makes an encoder for each call, which takes longer than a row.
_SORTED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_AS_IT_IS: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def canonical(document: Any) -> bytes:
    """Return the one text of a JSON document that digests are made of: sorted, no spaces, ASCII."""
    return _SORTED(document).encode()


def sha256(content: bytes) -> str:
    """Return the SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def content_hash(row: Mapping[str, Any]) -> str:
    """
    Return the digest of what can be erased; a tombstone's is the one that it holds.

    Raises:
        KeyError: The row has no salt.
    """
    if "erased" in row:
        return str(row["contenthash"])
    content = {name: row[name] for name in GOES if name in row}
    content["data"] = {k: v for k, v in row.get("data", {}).items() if k not in STAYS}
    return sha256(str(row["salt"]).encode() + canonical(content))


def row_hash(row: Mapping[str, Any]) -> str:
    """
    Return what `hash` must be.

    Raises:
        KeyError: The row lacks what every row has.
    """
    kept = {name: value for name, value in row.items() if name not in _NOT_CHAINED}
    data = {name: value for name, value in row["data"].items() if name in STAYS}
    return sha256(canonical([kept, data, content_hash(row)]))


def chained(row: Row, row_id: str, prevhash: str, salt: str) -> Row:
    """
    Put a row into its place of a chain.

    Args:
        row: With neither id nor digests; it is changed.
        row_id: SEGMENT/NUMBER.
        prevhash: Of the row before.
        salt: Random, in hexadecimal.
    """
    row["id"], row["prevhash"], row["salt"] = row_id, prevhash, salt
    row["hash"] = row_hash(row)
    return row


def tombstone(row: Mapping[str, Any], erased_at: str) -> Row:
    """Return what stays of a row when its picture is erased; `hash` still holds."""
    kept = {k: v for k, v in row.items() if k not in GOES and k not in ("salt", "data")}
    data = {name: value for name, value in row["data"].items() if name in STAYS}
    return {**kept, "data": data, "contenthash": content_hash(row), "erased": erased_at}


def number_of(row: Mapping[str, Any], segment: str) -> int | None:
    """Return a row's place in its segment, from 0; None where its id is of another one."""
    name, _, number = str(row.get("id", "")).rpartition("/")
    return int(number) if name == segment and number.isdecimal() else None


def line_of(document: Mapping[str, Any]) -> bytes:
    """Return a row as a line of its file."""
    return _AS_IT_IS(document).encode() + b"\n"
