"""Limits for JPEG, whose format allows files that take hours to decode."""

from __future__ import annotations

import re
from typing import Final

from iqa.errors import ImageRejected
from iqa.imaging.part_limits import MAX_EXIF_BYTES
from PIL import TiffImagePlugin

# As libtiff's limit for the JPEGs inside it. Encoders write 10 or so.
MAX_SCANS: Final = 100
# A scan of no content takes 75 bytes, and 40 ms on 49 megapixels: without a limit, a file of 32 MB
# takes hours.
MAX_SCANNED_PIXELS: Final = 1_000_000_000
# A marker, after any fill bytes: not a stuffed 0xff00, and none of those without a length.
MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
END: Final = b"\xd9"
SCAN: Final = b"\xda"

COMPRESSION_TAG: Final = 259
JPEG_IN_TIFF: Final = (6, 7)
PLACE_TAGS: Final = ((273, 324), (279, 325))  # offsets and lengths, of strips or of tiles

# What may stand before the first scan. Pillow walks it in Python, joins EXIF blocks one by one,
# and takes tables and Photoshop's resources apart: each is minutes in a file made for it.
MAX_SEGMENTS: Final = 4096  # a colour profile, or extended XMP, of 32 MB has 512
MAX_LOOSE_BYTES: Final = 65_536  # fill bytes, and what belongs to no segment
MAX_TABLE_BYTES: Final = 65_536  # quantisation, Huffman, frame: a real file has 2,000
MAX_RESOURCE_BYTES: Final = 4_194_304
# As Pillow's table: these stand alone, all others are followed by their length.
BARE_MARKERS: Final = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})


def check_header(body: bytes) -> None:
    """
    Refuse a JPEG that is mostly header; of a broken header, say nothing: the decoder does.

    Raises:
        ImageRejected: More segments, tables or metadata before the picture than any real file has
            (400).
    """
    segments = loose = tables = exif = resources = 0
    position = 2
    # Indices and sums only: this runs for every JPEG, and calls of functions would be felt.
    try:
        while True:
            code = body[position + 1]
            if body[position] != 0xFF or code in (0x00, 0xFF):
                position += 1
                loose += 1
            elif code in BARE_MARKERS:
                position += 2
                loose += 2
            elif code == 0xDA or code < 0xC0:  # the picture begins, or Pillow knows no such marker
                return
            else:
                length = body[position + 2] << 8 | body[position + 3]
                segments += 1
                if code == 0xE1 and body[position + 4 : position + 8] == b"Exif":
                    exif += length
                elif code == 0xED:
                    resources += length
                elif code < 0xE0:
                    tables += length
                position += 2 + (length if length > 2 else 2)
            if (
                segments > MAX_SEGMENTS
                or loose > MAX_LOOSE_BYTES
                or tables > MAX_TABLE_BYTES
                or exif > MAX_EXIF_BYTES
                or resources > MAX_RESOURCE_BYTES
            ):
                break
    except IndexError:
        return
    raise ImageRejected(
        "undecodable",
        "image: expected a JPEG with its picture behind some metadata, got one of "
        f"{position} bytes and more before it. Save it again.",
    )


def check_scans(body: bytes, pixels: int) -> None:
    """
    Refuse a JPEG that is decoded over and over again; what follows its end does not count.

    Raises:
        ImageRejected: More than `MAX_SCANS` scans, or fewer of a large picture (400).
    """
    limit = _scan_limit(pixels)
    # The markers of all scans are among these bytes: nearly every file is done in one pass of C.
    if body.count(b"\xff" + SCAN) <= limit:
        return
    scans, position = 0, 2
    while scans <= limit:
        found = MARKER.search(body, position)
        if found is None or found[1] == END:
            return
        scans += found[1] == SCAN
        position = found.end() + int.from_bytes(body[found.end() : found.end() + 2])
    raise _too_many_scans(limit)


def check_scans_in_tiff(body: bytes, image: TiffImagePlugin.TiffImageFile) -> None:
    """
    Refuse a TIFF of JPEGs that are decoded over and over again.

    Raises:
        ImageRejected: As `check_scans`; or its strips are no parts of the file (400).
    """
    tags = image.tag_v2
    if tags.get(COMPRESSION_TAG, 1) not in JPEG_IN_TIFF:
        return
    starts, lengths = (
        _numbers(tags.get(strips) or tags.get(tiles)) for strips, tiles in PLACE_TAGS
    )
    if len(starts) != len(lengths) or not starts:
        starts, lengths = (0,), (len(body),)
    if sum(lengths) > len(body):  # the same scans would be decoded once for each strip
        raise ImageRejected(
            "truncated",
            f"image: expected strips of {len(body)} bytes in all, got {sum(lengths)}. "
            "Send the whole file.",
        )
    limit = _scan_limit(image.width * image.height)
    for start, length in zip(starts, lengths, strict=True):
        if body.count(b"\xff" + SCAN, start, start + length) > limit:
            raise _too_many_scans(limit)


def _numbers(value: object) -> tuple[int, ...]:
    """Return the values of a tag that should hold whole numbers; none if it does not."""
    values = value if isinstance(value, tuple) else (value,)
    numbers = tuple(number for number in values if isinstance(number, int) and number >= 0)
    return numbers if len(numbers) == len(values) else ()


def _scan_limit(pixels: int) -> int:
    return min(MAX_SCANS, MAX_SCANNED_PIXELS // max(pixels, 1))


def _too_many_scans(limit: int) -> ImageRejected:
    return ImageRejected(
        "undecodable",
        f"image: expected a JPEG of at most {limit} scans, got more. Save it again.",
    )
