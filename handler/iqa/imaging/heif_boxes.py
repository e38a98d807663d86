"""
The container of AVIF and HEIC taken apart: which items make up the picture, and how large they are.

ISO/IEC 14496-12 (boxes), 23008-12 (HEIF), 23000-22 (MIAF). Read before any decoder is: what is
decoded, its size, what turns it, and its colours come from here. What the coded pictures themselves
say of their size: `heif_sizes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

# A grid of 50 megapixels in Apple's tiles of 512 x 512 has 190 items; libheif takes 1000.
MAX_ITEMS: Final = 1000
MAX_BOXES: Final = 4096
MAX_EXTENTS: Final = 4096
MAX_ASSOCIATIONS: Final = 16_384

CODED: Final = {b"av01": "AVIF", b"hvc1": "HEIC"}
"""Types of items that are taken, and the format that they make of a file."""
GRID: Final = b"grid"
TURNING: Final = (b"irot", b"imir")
ALPHA_URNS: Final = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
)


class NotReadable(ValueError):
    """The boxes make no picture; the message says why, in a few words."""


@dataclass
class Item:
    """
    One item of the container.

    Attributes:
        kind: Its type, such as `hvc1`, `grid`, `Exif`; four bytes.
        extents: (start, end) of its bytes in the file.
        properties: (type, content) of each that is associated with it.
        parts: Items that it is made of.
    """

    kind: bytes = b""
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def property_of(self, kind: bytes) -> bytes | None:
        """Return the content of the first property of a type; None where there is none."""
        return next((content for name, content in self.properties if name == kind), None)

    def size(self) -> tuple[int, int]:
        """
        Return (width, height) as the property `ispe` gives them, before any turning.

        Raises:
            NotReadable: There is none.
        """
        content = self.property_of(b"ispe")
        if content is None or len(content) < 12:
            raise NotReadable("an item without a size")
        return int.from_bytes(content[4:8]), int.from_bytes(content[8:12])


@dataclass(frozen=True, kw_only=True)
class Container:
    """
    The items of a file.

    Attributes:
        items: By their number.
        primary: Number of the one that is the picture.
        alpha_of: Which item holds the transparency of which.
        has_tracks: Whether the file is a sequence as well.
    """

    items: dict[int, Item]
    primary: int
    alpha_of: dict[int, int]
    has_tracks: bool

    def coded(self) -> list[Item]:
        """
        Return the coded items that are decoded for the picture: itself, its tiles, its alpha.

        Raises:
            NotReadable: It is made of something else, or of parts that are not there.
        """
        items = [self.item(number) for number in self.needed()]
        grids = [item for item in items[:2] if item.kind == GRID]
        return [item for item in items if not any(item is grid for grid in grids)]

    def needed(self) -> list[int]:
        """
        Return the numbers of all items that the picture needs, itself the first.

        Raises:
            NotReadable: It is made of parts that are not there, or of one several times.
        """
        found = [self.primary]
        found += [self.alpha_of[self.primary]] if self.primary in self.alpha_of else []
        for number in list(found):
            item = self.item(number)
            if item.kind == GRID:
                # A tile may have an alpha of its own, where the grid has none.
                found += item.parts + [self.alpha_of[i] for i in item.parts if i in self.alpha_of]
                if not item.parts:
                    raise NotReadable("a grid of no tiles")
            elif item.parts:
                raise NotReadable("a picture derived from others")
        if len(set(found)) < len(found):
            raise NotReadable("an item that is used twice")
        if any(self.item(number).parts for number in found if self.item(number).kind != GRID):
            raise NotReadable("a tile derived from others")
        return found

    def item(self, number: int) -> Item:
        """
        Return an item.

        Raises:
            NotReadable: There is none of this number.
        """
        if number not in self.items:
            raise NotReadable("an item that is not there")
        return self.items[number]


def read(body: bytes) -> Container:
    """
    Take a file apart.

    Raises:
        NotReadable: No picture among the boxes, boxes that break off or lie, or too many of them.
    """
    counter = _Counter()
    meta: tuple[int, int] | None = None
    has_tracks = False
    for kind, start, end in counter.boxes(body, 0, len(body)):
        if kind == b"meta" and meta is None:
            meta = (start + 4, end)
        elif kind == b"moov":
            has_tracks = True
    if meta is None:
        raise NotReadable("no picture" if not has_tracks else "a sequence without a still picture")
    inner = {kind: (start, end) for kind, start, end in counter.boxes(body, *meta)}
    if missing := {b"pitm", b"iinf", b"iloc", b"iprp"} - set(inner):
        raise NotReadable(f"no box {sorted(missing)[0].decode()}")
    try:
        items = _items(counter, body, *inner[b"iinf"])
        _locate(body, *inner[b"iloc"], inner.get(b"idat", (0, 0)), items)
        _associate(counter, body, *inner[b"iprp"], items)
        start, _ = inner[b"pitm"]
        primary = _number(body, start + 4, 2 if body[start] == 0 else 4)
        alpha_of = _refer(counter, body, *inner.get(b"iref", (0, 0)), items)
    except IndexError as error:
        raise NotReadable("a box that breaks off") from error
    container = Container(items=items, primary=primary, alpha_of=alpha_of, has_tracks=has_tracks)
    container.item(primary)
    return container


class _Counter:
    """Walks boxes, and counts those of the whole file."""

    def __init__(self) -> None:
        self._left = MAX_BOXES

    def boxes(self, body: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """
        Yield (type, start of the content, end) of each box between two places.

        Raises:
            NotReadable: One reaches beyond the end, or there are too many.
        """
        while start + 8 <= end:
            self._left -= 1
            if self._left < 0:
                raise NotReadable(f"more than {MAX_BOXES} boxes")
            size, kind, content = (
                int.from_bytes(body[start : start + 4]),
                body[start + 4 : start + 8],
                8,
            )
            if size == 1:
                size, content = int.from_bytes(body[start + 8 : start + 16]), 16
            elif size == 0:
                size = end - start
            if size < content or start + size > end:
                raise NotReadable("truncated: a box that ends behind the end of the file")
            yield kind, start + content, start + size
            start += size


def _number(body: bytes, at: int, size: int) -> int:
    if at + size > len(body):
        raise NotReadable("a box that breaks off")
    return int.from_bytes(body[at : at + size])


def _items(counter: _Counter, body: bytes, start: int, end: int) -> dict[int, Item]:
    wide = body[start] != 0
    first = start + (8 if wide else 6)
    items: dict[int, Item] = {}
    for kind, at, _ in counter.boxes(body, first, end):
        version = body[at]
        if kind != b"infe" or version not in (2, 3):
            continue
        number_bytes = 2 if version == 2 else 4
        kind_at = at + 4 + number_bytes + 2
        items[_number(body, at + 4, number_bytes)] = Item(body[kind_at : kind_at + 4])
        if len(items) > MAX_ITEMS:
            raise NotReadable(f"more than {MAX_ITEMS} items")
    return items


def _locate(
    body: bytes, start: int, end: int, idat: tuple[int, int], items: dict[int, Item]
) -> None:
    """Note where each item's bytes lie."""
    version, at = body[start], start + 4
    offset_bytes, length_bytes = body[at] >> 4, body[at] & 15
    base_bytes, index_bytes = body[at + 1] >> 4, body[at + 1] & 15 if version else 0
    number_bytes = 2 if version < 2 else 4
    count, at = _number(body, at + 2, number_bytes), at + 2 + number_bytes
    extents_left = MAX_EXTENTS
    for _ in range(min(count, MAX_ITEMS)):
        number, at = _number(body, at, number_bytes), at + number_bytes
        method = _number(body, at, 2) & 15 if version else 0
        at += 4 if version else 2  # construction method, and the number of the file
        base, at = _number(body, at, base_bytes), at + base_bytes
        extents, at = _number(body, at, 2), at + 2
        extents_left -= extents
        if extents_left < 0:
            raise NotReadable(f"more than {MAX_EXTENTS} extents")
        for _ in range(extents):
            at += index_bytes
            offset, at = _number(body, at, offset_bytes), at + offset_bytes
            length, at = _number(body, at, length_bytes), at + length_bytes
            if method > 1:
                raise NotReadable("an item inside another one")
            origin, limit = idat if method else (0, len(body))
            begin = origin + base + offset
            if number in items:
                items[number].extents.append((begin, begin + length if length else limit))
        if at > end:
            raise NotReadable("a box that breaks off")


def _associate(
    counter: _Counter, body: bytes, start: int, end: int, items: dict[int, Item]
) -> None:
    """Give each item its properties."""
    properties: list[tuple[bytes, bytes]] = []
    tables = []
    for kind, at, stop in counter.boxes(body, start, end):
        if kind == b"ipco":
            properties = [
                (name, body[first:last]) for name, first, last in counter.boxes(body, at, stop)
            ]
        elif kind == b"ipma":
            tables.append(at)
    left = MAX_ASSOCIATIONS
    for at in tables:
        number_bytes = 2 if body[at] == 0 else 4
        wide = body[at + 3] & 1
        count, at = _number(body, at + 4, 4), at + 8
        for _ in range(min(count, MAX_ITEMS)):
            number, at = _number(body, at, number_bytes), at + number_bytes
            some, at = body[at], at + 1
            left -= some
            if left < 0:
                raise NotReadable(f"more than {MAX_ASSOCIATIONS} properties of items")
            for _ in range(some):
                index = _number(body, at, 2) & 0x7FFF if wide else body[at] & 0x7F
                at += 2 if wide else 1
                if number in items and 0 < index <= len(properties):
                    items[number].properties.append(properties[index - 1])


def _refer(
    counter: _Counter, body: bytes, start: int, end: int, items: dict[int, Item]
) -> dict[int, int]:
    """Give each grid its tiles; return which item holds the alpha of which."""
    alpha_of: dict[int, int] = {}
    if start == end:
        return alpha_of
    number_bytes = 2 if body[start] == 0 else 4
    for kind, at, stop in counter.boxes(body, start + 4, end):
        if kind not in (b"dimg", b"auxl"):
            continue
        source, at = _number(body, at, number_bytes), at + number_bytes
        count, at = _number(body, at, 2), at + 2
        if at + count * number_bytes > stop or count > MAX_ITEMS:
            raise NotReadable("references to more items than there can be")
        targets = [_number(body, at + i * number_bytes, number_bytes) for i in range(count)]
        if source not in items:
            continue
        if kind == b"dimg":
            items[source].parts += targets
        else:
            auxiliary = items[source].property_of(b"auxC") or b""
            if auxiliary[4:].startswith(ALPHA_URNS):
                alpha_of |= dict.fromkeys(targets, source)
    return alpha_of
