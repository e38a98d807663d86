"""AVIF and HEIC files put together box by box: turned, tiled, described in colours, or lying."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iqa.imaging import heif_boxes, heif_sizes

PICTURES: Final = Path(__file__).parent / "pictures"
HDLR: Final = bytes(8) + b"pict" + bytes(13)
Property = tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Part:
    """
    One item of a file.

    Attributes:
        kind: Its type.
        content: Its bytes.
        properties: In their order.
        refers: (type of reference, numbers of items); items count from 1.
    """

    kind: bytes
    content: bytes
    properties: tuple[Property, ...] = ()
    refers: tuple[tuple[bytes, tuple[int, ...]], ...] = ()


def picture(name: str) -> bytes:
    """Return a file of `tests/pictures`."""
    return (PICTURES / name).read_bytes()


@functools.cache
def coded(body: bytes, *more: Property) -> Part:
    """Return the coded picture of a file as a part: its bytes, configuration and size."""
    container = heif_boxes.read(body)
    item = container.item(container.primary)
    kept = tuple(p for p in item.properties if p[0] in (b"av1C", b"hvcC", b"ispe", b"colr"))
    return Part(kind=item.kind, content=heif_sizes.payload(item, body), properties=(*kept, *more))


def box(kind: bytes, content: bytes) -> bytes:
    """Return one box."""
    return struct.pack(">I", len(content) + 8) + kind + content


def ispe(width: int, height: int) -> Property:
    """Return the property that gives a size."""
    return b"ispe", struct.pack(">III", 0, width, height)


def irot(quarters: int) -> Property:
    """Return the property that turns by so many quarters, against the clock."""
    return b"irot", bytes((quarters,))


def imir(axis: int) -> Property:
    """Return the property that mirrors: 0 exchanges top and bottom, 1 left and right."""
    return b"imir", bytes((axis,))


def nclx(primaries: int, transfer: int, matrix: int = 6) -> Property:
    """Return the property that names colours by numbers, of full range."""
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80)


def exif(block: bytes) -> Part:
    """Return EXIF as an item that describes the first one."""
    return Part(kind=b"Exif", content=bytes(4) + block, refers=((b"cdsc", (1,)),))


def grid(columns: int, rows: int, size: tuple[int, int], tiles: Sequence[int]) -> Part:
    """Return a picture of tiles."""
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    return Part(
        kind=b"grid", content=content, properties=(ispe(*size),), refers=((b"dimg", tuple(tiles)),)
    )


def file_of(parts: Sequence[Part], brand: bytes = b"heic", more: bytes = b"") -> bytes:
    """
    Return a file of these items, of which the first is the picture.

    Args:
        parts: Numbered from 1.
        brand: Of the file.
        more: Boxes behind the others.
    """
    head = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    properties: list[Property] = []
    table, infos, references = b"", b"", b""
    for number, part in enumerate(parts, 1):
        infos += box(b"infe", struct.pack(">IHH4s", 2 << 24, number, 0, part.kind) + b"\0")
        table += struct.pack(">HB", number, len(part.properties))
        for one in part.properties:
            if one not in properties:
                properties.append(one)
            is_needed = one[0] in (b"av1C", b"hvcC", b"irot", b"imir")
            table += bytes((is_needed << 7 | properties.index(one) + 1,))
        for kind, targets in part.refers:
            head_of = struct.pack(">HH", number, len(targets))
            references += box(kind, head_of + struct.pack(f">{len(targets)}H", *targets))
    ipco = box(b"ipco", b"".join(box(kind, content) for kind, content in properties))
    ipma = box(b"ipma", bytes(4) + struct.pack(">I", len(parts)) + table)

    def meta(start: int) -> bytes:
        places = b"\x44\0" + struct.pack(">H", len(parts))
        for number, part in enumerate(parts, 1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(part.content))
            start += len(part.content)
        return box(
            b"meta",
            bytes(4)
            + box(b"hdlr", HDLR)
            + box(b"pitm", bytes(4) + struct.pack(">H", 1))
            + box(b"iloc", bytes(4) + places)
            + box(b"iinf", bytes(4) + struct.pack(">H", len(parts)) + infos)
            + box(b"iprp", ipco + ipma)
            + (box(b"iref", bytes(4) + references) if references else b""),
        )

    start = len(head) + len(meta(0)) + 8
    content = b"".join(part.content for part in parts)
    return head + meta(start) + box(b"mdat", content) + more
