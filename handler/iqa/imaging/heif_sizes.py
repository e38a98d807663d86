"""
How many pixels a coded picture of AVIF or HEIC makes its decoder produce, from its own headers.

The container's size is only a promise: decoders allocate and decode what the sequence header (AV1
specification, 5.5) or the sequence parameter set (ITU-T H.265, 7.3.2.2) says, once for each frame.
"""

from __future__ import annotations

from iqa.imaging.heif_boxes import Item, NotReadable
from iqa.imaging.heif_units import Headers, UnitCounter, of_configuration, of_content


def headers_of(items: list[Item], body: bytes) -> list[Headers]:
    """
    Return what each coded picture of a file says of itself.

    Args:
        items: All of one kind.
        body: The file.

    Raises:
        NotReadable: Bytes are not all there, or are no coded picture, or too many units.
    """
    counter = UnitCounter()
    configured: dict[bytes, Headers] = {}  # a thousand tiles may share one of a thousand units
    found = []
    for item in items:
        config = item.property_of(b"av1C" if item.kind == b"av01" else b"hvcC") or b""
        if config not in configured:
            configured[config] = of_configuration(item.kind, config, counter)
        first = configured[config]
        own = of_content(item.kind, config, payload(item, body), counter)
        area, frames = max(first.area, own.area), first.frames + own.frames
        if not area or not frames:
            raise NotReadable("a coded picture without a header")
        found.append(Headers(area=area, frames=frames, shapes=first.shapes + own.shapes))
    return found


def expect_consistent(items: list[Item], headers: list[Headers]) -> None:
    """
    Refuse coded pictures of HEVC whose container says another size, depth or sampling.

    libheif and pi-heif 1.4 reserve memory by the container, and write what the decoder made: a
    depth of 9 bits in the one and of 8 in the other corrupts the memory of the process.

    Raises:
        NotReadable: They disagree, or tiles are of several depths.
    """
    told: set[int] = set()
    for item, header in zip(items, headers, strict=True):
        if item.kind != b"hvc1":
            continue
        config = item.property_of(b"hvcC") or b""
        says = (config[16] & 3, (config[17] & 7) + 8, (config[18] & 7) + 8)
        for shape in header.shapes:
            if (shape.chroma, *shape.depths) != says or shape.shown != item.size():
                raise NotReadable("a container that says another size or depth than its picture")
        told.add(says[1])
    if len(told) > 1:
        raise NotReadable("tiles of several depths")


def expect_within(items: list[Item], body: bytes, max_bytes: int) -> None:
    """
    Refuse items that are not in their file, or are more together than a file may be.

    Equal tiles may share their bytes (libavif writes them so), but each is copied.

    Raises:
        NotReadable: They are not in the file, or too large.
    """
    extents = [extent for item in items for extent in item.extents]
    if any(start > end or end > len(body) for start, end in extents):
        raise NotReadable("truncated: an item that ends behind the end of the file")
    if sum(end - start for start, end in extents) > max_bytes:
        raise NotReadable(f"items of more than {max_bytes} bytes in all")


def payload(item: Item, body: bytes) -> bytes:
    """
    Return the bytes of an item.

    Raises:
        NotReadable: They are not all in the file, or overlap in it.
    """
    expect_within([item], body, len(body))
    if not item.extents:
        raise NotReadable("truncated: an item without bytes")
    return b"".join(body[start:end] for start, end in item.extents)
