"""What is special about JPEG: files made to be decoded for hours, and decoding at a fraction."""

from __future__ import annotations

import re
from typing import Final

from iqa.errors import ImageRejected
from iqa.preprocessing import reduced_size
from PIL import Image

# As libtiff's limit for the JPEGs inside it. A scan of no content takes 75 bytes and 33 ms on 49
# megapixels: without a limit, a file of 32 MB takes hours. Encoders write 10 or so.
MAX_SCANS: Final = 100
# A marker, after any fill bytes: not a stuffed 0xff00, and none of those without a length.
MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
END: Final = b"\xd9"
SCAN: Final = b"\xda"


def check_scans(body: bytes) -> None:
    """
    Refuse a JPEG that is decoded over and over again; what follows its end does not count.

    Raises:
        ImageRejected: More than `MAX_SCANS` scans (400).
    """
    # The markers of all scans are among these bytes: nearly every file is done in one pass of C.
    if body.count(b"\xff" + SCAN) <= MAX_SCANS:
        return
    scans, position = 0, 2
    while scans <= MAX_SCANS:
        found = MARKER.search(body, position)
        if found is None or found[1] == END:
            return
        scans += found[1] == SCAN
        position = found.end() + int.from_bytes(body[found.end() : found.end() + 2])
    raise ImageRejected(
        "undecodable",
        f"image: expected a JPEG of at most {MAX_SCANS} scans, got more. Save it again.",
    )


def reduce(image: Image.Image) -> None:
    """
    Tell the decoder to deliver a half, a quarter or an eighth, where the rest would be thrown away.

    It then leaves out most of the inverse transform: a 12-megapixel file decodes in a fifth of the
    time. How much may be left out is part of the preprocessing (`reduced_size`).

    Args:
        image: A JPEG of which no pixel is loaded yet.
    """
    smallest = reduced_size(*image.size)
    if smallest is not None:
        image.draft(None, smallest)
