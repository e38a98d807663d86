"""
Files made of very many parts, refused before they cost anything.

Pillow walks the parts of a file in Python, microseconds each, and keeps what it finds: 32 MB of
parts of a few bytes take it minutes, or gigabytes. Real files stay far below the limits here.
What is special about JPEG's header: `iqa.imaging.jpeg_limits`.
"""

from __future__ import annotations

import io
from typing import Final, Literal

from iqa.errors import ImageRejected

# In a JPEG one segment holds 64 KiB, and few files have two.
MAX_EXIF_BYTES: Final = 1_048_576

# A GIF of 32 MB, the format with the smallest parts, takes 260,000: two for 255 bytes.
MAX_READS: Final = 300_000

# Cameras write 60 tags or so, GeoTIFF a hundred.
MAX_TAGS: Final = 4096
# The longest lists are the strips' offsets and lengths; a strip is a row of pixels or more.
MAX_VALUES: Final = 32_768
MAX_VALUES_OF_ALL_TAGS: Final = 4 * MAX_VALUES
# TIFF 6.0, section 2: BYTE, ASCII, UNDEFINED. Pillow makes an object of each value of the others.
BYTE_TYPES: Final = (1, 2, 7)
# Sizes of the types that Pillow takes a directory's place from: all whole numbers but BYTE.
PLACE_BYTES: Final = {3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8}
DIRECTORY_TAGS: Final = (34665, 34853, 40965)  # EXIF, GPS, interoperability: Pillow reads them too
TRANSFER_FUNCTION_TAG: Final = 301  # up to 196,608 values, which nobody here looks at
BIG_TIFF: Final = 43


class CountedFile(io.BytesIO):
    """A file in memory that may be read a limited number of times, so every parser ends."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._reads_left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """
        Read on.

        Raises:
            ImageRejected: For the `MAX_READS`th time (400).
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ImageRejected(
                "undecodable",
                f"image: expected a file that is read in {MAX_READS} steps, got one of more and "
                "smaller parts. Save it again.",
            )
        return super().read(size)


def check_tiff(body: bytes) -> None:
    """
    Refuse a TIFF whose directories hold more than any picture needs; of a broken one, say nothing.

    Raises:
        ImageRejected: Too many tags, or values in them (400).
    """
    order: Literal["little", "big"] = "little" if body[:2] == b"II" else "big"
    # The sides of Pillow's own test for BigTIFF; both kinds begin with two letters and two bytes.
    is_big = body[2:3] == bytes((BIG_TIFF,))
    width, head, entry, start_at = (8, 8, 20, 8) if is_big else (4, 2, 12, 4)

    def number(position: int, size: int) -> int:
        return int.from_bytes(body[position : position + size], order)

    # One that two tags lead to is read twice, and counts twice; one that leads to itself ends here.
    directories = [(0, number(start_at, width))]
    known = set(directories)
    tags = total = 0
    for _, start in directories:
        here = min(number(start, head), len(body) // entry)
        tags += here
        _expect_at_most(MAX_TAGS, tags, "tags in a TIFF")
        for position in range(start + head, start + head + here * entry, entry):
            tag, kind = number(position, 2), number(position + 2, 2)
            values, value_at = number(position + 4, width), position + 4 + width
            if tag in DIRECTORY_TAGS and kind in PLACE_BYTES:
                size = PLACE_BYTES[kind]
                place = number(
                    value_at if values * size <= width else number(value_at, width), size
                )
                if (tag, place) not in known:
                    known.add((tag, place))
                    directories.append((tag, place))
            # Pillow leaves out what cannot be in the file.
            if kind in BYTE_TYPES or tag == TRANSFER_FUNCTION_TAG or values > len(body):
                continue
            _expect_at_most(MAX_VALUES, values, f"values in TIFF tag {tag}")
            total += values
    _expect_at_most(MAX_VALUES_OF_ALL_TAGS, total, "values in the tags of a TIFF")


def _expect_at_most(limit: int, got: int, what: str) -> None:
    if got > limit:
        raise ImageRejected(
            "undecodable",
            f"image: expected at most {limit} {what}, got {got}. Save it again.",
        )
