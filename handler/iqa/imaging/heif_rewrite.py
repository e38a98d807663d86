"""
The picture of an AVIF or a HEIC in a container written anew: what its decoder gets to see.

Decoders of containers are large, and files made to harm them are many: an item of an unknown type
is enough to crash pi-heif 1.4. So nothing of a stranger's boxes reaches one but the coded pictures,
and the properties that say how to show them.
"""

from __future__ import annotations

import struct
from typing import Final

from iqa.imaging.heif_boxes import Container
from iqa.imaging.heif_sizes import payload

ESSENTIAL: Final = (b"av1C", b"hvcC", b"irot", b"imir", b"clap", b"a1op", b"lsel")
KEPT: Final = (*ESSENTIAL, b"ispe", b"colr", b"pixi", b"auxC", b"a1lx")


def rewritten(container: Container, body: bytes, brand: bytes) -> bytes:
    """
    Return a file of the picture, its tiles and its alpha alone.

    Args:
        container: Of the body, checked.
        body: The file.
        brand: Of the new one.

    Raises:
        NotReadable: The bytes of an item are not all there.
    """
    numbers = container.needed()
    new = {number: place for place, number in enumerate(numbers, 1)}
    contents = [payload(container.item(number), body) for number in numbers]
    properties: dict[tuple[bytes, bytes], int] = {}
    associated, infos, references = b"", b"", b""
    for number in numbers:
        item = container.item(number)
        infos += _box(b"infe", struct.pack(">IHH4s", 2 << 24, new[number], 0, item.kind) + b"\0")
        kept = [(kind, content) for kind, content in item.properties if kind in KEPT][:127]
        associated += struct.pack(">HB", new[number], len(kept))
        for one in kept:
            index = properties.setdefault(one, len(properties) + 1)
            associated += struct.pack(">H", (one[0] in ESSENTIAL) << 15 | index)
        if item.parts:
            references += _reference(b"dimg", new[number], [new[part] for part in item.parts])
        if number in container.alpha_of and container.alpha_of[number] in new:
            references += _reference(b"auxl", new[container.alpha_of[number]], [new[number]])
    ipco = _box(b"ipco", b"".join(_box(kind, content) for kind, content in properties))
    ipma = _box(b"ipma", struct.pack(">II", 1, len(numbers)) + associated)
    behind = _box(b"iinf", bytes(4) + struct.pack(">H", len(numbers)) + infos)
    behind += _box(b"iprp", ipco + ipma)
    behind += _box(b"iref", bytes(4) + references) if references else b""
    before = _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    before += _box(b"pitm", bytes(4) + struct.pack(">H", 1))
    head = _box(b"ftyp", brand + bytes(4) + brand + b"mif1miaf")
    iloc_bytes = 8 + 8 + 14 * len(numbers)
    start = len(head) + 12 + len(before) + iloc_bytes + len(behind) + 8
    places = b"\x44\0" + struct.pack(">H", len(numbers))
    for place, content in enumerate(contents, 1):
        places += struct.pack(">HHHII", place, 0, 1, start, len(content))
        start += len(content)
    meta = _box(b"meta", bytes(4) + before + _box(b"iloc", bytes(4) + places) + behind)
    return head + meta + _box(b"mdat", b"".join(contents))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _reference(kind: bytes, source: int, targets: list[int]) -> bytes:
    count = len(targets)
    return _box(kind, struct.pack(f">HH{count}H", source, count, *targets))
