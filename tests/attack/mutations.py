"""Change picture files: bytes anywhere, and the parts that their formats are made of."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final

MAX_BYTES: Final = 200_000  # of a changed file: small ones are read by the thousand
EDGES: Final = (
    0, 1, 2, 4, 7, 8, 16, 31, 32, 64, 100, 127, 128, 255, 256, 1024, 4096, 30000, 32767, 32768,
    65535, 65536, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1,
)  # fmt: skip
JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
BOXES_OF_BOXES: Final = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iref": 12, b"iinf": 14}

Parts = list[bytes]


def mutate(rng: random.Random, body: bytes, others: Sequence[bytes]) -> bytes:
    """
    Return a file changed in one to six ways.

    Args:
        rng: Decides everything.
        body: The file.
        others: Files to take parts from.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        change = rng.choice(CHANGES)
        body = change(rng, body, rng.choice(others))[:MAX_BYTES]
    return body


def parts_of(body: bytes) -> Parts:
    """Return a file as the parts of its format; joined, they are the file."""
    if body.startswith(b"\x89PNG"):
        return _split(body, 8, lambda at: 12 + int.from_bytes(body[at : at + 4]))
    if body.startswith(b"RIFF"):
        return _split(body, 12, lambda at: 8 + int.from_bytes(body[at + 4 : at + 8], "little"))
    if body.startswith((b"II", b"MM")):
        return _split(body, 10, lambda _: 12)
    if body.startswith(b"\xff\xd8"):
        return _split(body, 2, lambda at: _segment_length(body, at))
    if body[4:8] == b"ftyp":
        return _split(body, 0, lambda at: _box_length(body, at))[1:]
    if body.startswith(b"GIF8"):
        return _split(body, 13, lambda at: 1 + body[at])
    return _split(body, 14, lambda _: max(1, len(body) // 16))


def _box_length(body: bytes, at: int) -> int:
    """Return the length of a box of AVIF or HEIC; of one that holds others, that of its head."""
    return BOXES_OF_BOXES.get(body[at + 4 : at + 8], int.from_bytes(body[at : at + 4]))


def _segment_length(body: bytes, at: int) -> int:
    if body[at + 1 : at + 2] and body[at + 1] in JPEG_BARE:
        return 2
    if body[at : at + 2] == b"\xff\xda":  # the picture: cut at the next marker that is none of it
        end = body.find(b"\xff\xd9", at)
        return (end if end > 0 else len(body)) - at
    return 2 + int.from_bytes(body[at + 2 : at + 4])


def _split(body: bytes, first: int, length_at: Callable[[int], int]) -> Parts:
    parts, at = [body[:first]], first
    while at < len(body) and len(parts) < 500:
        end = at + max(1, length_at(at))
        parts.append(body[at:end])
        at = end
    return [*parts, body[at:]]


def mended(body: bytes) -> bytes:
    """Return a PNG with right checksums, or a RIFF file with its right length; others as is."""
    if body.startswith(b"\x89PNG"):
        parts = parts_of(body)
        for index, part in enumerate(parts[1:], 1):
            if len(part) >= 12:
                checksum = zlib.crc32(part[4:-4])
                parts[index] = part[:-4] + struct.pack(">I", checksum)
        return b"".join(parts)
    if body.startswith(b"RIFF") and len(body) >= 12:
        return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]
    return body


def _flip(rng: random.Random, body: bytes, _: bytes) -> bytes:
    changed = bytearray(body or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[_place(rng, changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _edge_number(rng: random.Random, body: bytes, _: bytes) -> bytes:
    size = rng.choice((1, 2, 2, 4, 4, 8))
    order = rng.choice(("big", "little"))
    value = (rng.choice(EDGES) & (256**size - 1)).to_bytes(size, order)
    at = _place(rng, body)
    return body[:at] + value + body[at + size :]


def _near_number(rng: random.Random, body: bytes, _: bytes) -> bytes:
    """Add or take away a little: lengths that are nearly right."""
    size, order = rng.choice((1, 2, 4)), rng.choice(("big", "little"))
    at = _place(rng, body)
    value = int.from_bytes(body[at : at + size], order) + rng.randint(-9, 9)
    return body[:at] + (value & (256**size - 1)).to_bytes(size, order) + body[at + size :]


def _cut(rng: random.Random, body: bytes, _: bytes) -> bytes:
    return body[: _place(rng, body)]


def _remove(rng: random.Random, body: bytes, _: bytes) -> bytes:
    at = _place(rng, body)
    return body[:at] + body[at + rng.choice((1, 2, 4, 16, 200)) :]


def _repeat(rng: random.Random, body: bytes, _: bytes) -> bytes:
    at, length = _place(rng, body), rng.choice((1, 2, 4, 12, 100, 2000))
    return body[:at] + body[at : at + length] * rng.choice((2, 3, 10, 200)) + body[at + length :]


def _noise(rng: random.Random, body: bytes, _: bytes) -> bytes:
    at = _place(rng, body)
    return body[:at] + rng.randbytes(rng.choice((1, 2, 4, 16, 256))) + body[at:]


def _cross(rng: random.Random, body: bytes, other: bytes) -> bytes:
    return body[: _place(rng, body)] + other[_place(rng, other) :]


def _append(rng: random.Random, body: bytes, other: bytes) -> bytes:
    return body + other


def _drop_part(rng: random.Random, body: bytes, _: bytes) -> bytes:
    parts = parts_of(body)
    del parts[rng.randrange(len(parts))]
    return b"".join(parts)


def _double_part(rng: random.Random, body: bytes, _: bytes) -> bytes:
    parts = parts_of(body)
    at = rng.randrange(len(parts))
    return b"".join(parts[:at] + parts[at : at + 1] * rng.choice((2, 2, 3, 50)) + parts[at + 1 :])


def _swap_parts(rng: random.Random, body: bytes, _: bytes) -> bytes:
    parts = parts_of(body)
    a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[a], parts[b] = parts[b], parts[a]
    return mended(b"".join(parts))


def _foreign_part(rng: random.Random, body: bytes, other: bytes) -> bytes:
    parts = parts_of(body)
    parts.insert(rng.randint(1, len(parts)), rng.choice(parts_of(other)))
    return mended(b"".join(parts))


def _change_one_part(rng: random.Random, body: bytes, other: bytes) -> bytes:
    parts = parts_of(body)
    at = rng.randrange(len(parts))
    parts[at] = rng.choice((_flip, _edge_number, _near_number, _noise))(rng, parts[at], other)
    return mended(b"".join(parts))


def _mend(rng: random.Random, body: bytes, other: bytes) -> bytes:
    return mended(_flip(rng, body, other))


def _place(rng: random.Random, body: bytes | bytearray) -> int:
    """Return a position: the header more often than the rest."""
    if not body:
        return 0
    return rng.randrange(min(len(body), rng.choice((16, 64, 256, len(body)))))


CHANGES: Final[tuple[Callable[[random.Random, bytes, bytes], bytes], ...]] = (
    _flip, _edge_number, _edge_number, _near_number, _cut, _remove, _repeat, _noise, _cross,
    _append, _drop_part, _double_part, _swap_parts, _foreign_part, _change_one_part,
    _change_one_part, _change_one_part, _mend,
)  # fmt: skip
