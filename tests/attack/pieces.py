"""Parts of picture files, put together by hand: what no encoder would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from tests.images import encode, photograph, png, png_chunk
from tests.odd_inputs import OddInput

SMALL_JPEG = encode(photograph(48, 40), "JPEG", quality=85)
SMALL_PNG = encode(photograph(40, 36), "PNG")
GREY_ROWS = (b"\0" + bytes(range(64))) * 64
GREY_64 = (64, 64, 8, 0)

SHORT, LONG, RATIONAL = 3, 4, 5
Tag = tuple[int, int, int, bytes]


def scored(build: Callable[[], bytes], *warnings: str) -> OddInput:
    """Return a file that is answered with 200 and these warnings of decoding."""
    return OddInput(build=build, warnings=warnings)


def refused(build: Callable[[], bytes], status: int = 400, reason: str = "undecodable") -> OddInput:
    """Return a file that is refused."""
    return OddInput(build=build, status=status, reason=reason)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """Return one segment of a JPEG file with its length."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(before_tables: bytes, body: bytes = SMALL_JPEG) -> bytes:
    """Return a JPEG with more bytes right behind its start."""
    return body[:2] + before_tables + body[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return the small JPEG with another size in its header."""
    frame = SMALL_JPEG.index(b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    return SMALL_JPEG[: frame + 5] + size + SMALL_JPEG[frame + 9 :]


def png_grey(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a complete grey PNG of 64 x 64 with more chunks before the pixels."""
    return png(GREY_64, GREY_ROWS, chunks)


def png_of_idats(size: int) -> bytes:
    """Return a complete PNG whose pixels are spread over chunks of so many bytes."""
    stream = zlib.compress(GREY_ROWS, 0)
    parts = [png_chunk(b"IDAT", stream[i : i + size]) for i in range(0, len(stream), size)]
    whole = png(GREY_64, b"")
    start = whole.index(b"IDAT") - 4
    end = whole.index(b"IEND") - 4
    return whole[:start] + b"".join(parts) + whole[end:]


def gif(blocks: bytes = b"", size: tuple[int, int] = (64, 64)) -> bytes:
    """Return a grey GIF of one colour with extension blocks before the picture."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\x80\x80\x80\0\0\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, *size, 0)
    return head + blocks + frame + gif_pixels(size[0] * size[1]) + b";"


def gif_pixels(count: int) -> bytes:
    """Return pixels of index 0 as LZW that clears its table each time: 3 bits a code."""
    codes: list[int] = []
    for _ in range(count):
        codes += [4, 0]
    codes.append(5)
    bits = np.array([[code >> i & 1 for i in range(3)] for code in codes], np.uint8).ravel()
    packed = np.packbits(bits, bitorder="little").tobytes()
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return b"\x02" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


def tag(number: int, kind: int, *values: int) -> Tag:
    """Return a TIFF tag of SHORT, LONG or RATIONAL values."""
    letter = "H" if kind == SHORT else "I"
    count = len(values) // 2 if kind == RATIONAL else len(values)
    return number, kind, count, struct.pack(f"<{len(values)}{letter}", *values)


def tiff(tags: Sequence[Tag], pixels: bytes = b"", next_directory: int = 0) -> bytes:
    """
    Return a little-endian TIFF of one directory.

    Args:
        tags: StripOffsets and StripByteCounts are added where `pixels` are given.
        pixels: One strip, at the file's end.
        next_directory: Where the next one is said to be.
    """
    all_tags = list(tags)
    if pixels:
        all_tags += [tag(273, LONG, 0), tag(279, LONG, len(pixels))]
    all_tags.sort()
    end = 8 + 2 + 12 * len(all_tags) + 4
    strip_at = end + sum(len(data) for *_, data in all_tags if len(data) > 4)
    entries, far = b"", b""
    for number, kind, count, data in all_tags:
        if number == 273 and pixels:
            data = struct.pack("<I", strip_at)
        where = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", end + len(far))
        far += data if len(data) > 4 else b""
        entries += struct.pack("<HHI", number, kind, count) + where
    directory = struct.pack("<H", len(all_tags)) + entries + struct.pack("<I", next_directory)
    return b"II*\0" + struct.pack("<I", 8) + directory + far + pixels


def tiff_tags(size: tuple[int, int] = (64, 64), **changes: Tag) -> list[Tag]:
    """Return the tags of a grey TIFF of 8 bits; `changes` are by lower-case name."""
    tags = {
        "width": tag(256, LONG, size[0]),
        "height": tag(257, LONG, size[1]),
        "bits": tag(258, SHORT, 8),
        "compression": tag(259, SHORT, 1),
        "photometric": tag(262, SHORT, 1),
        "samples": tag(277, SHORT, 1),
    }
    return [*{**tags, **changes}.values()]


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """Return a BMP of 8 bits, compressed as RLE8, with a palette that is not grey."""
    palette = b"".join(bytes((i, 255 - i, 7, 0)) for i in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + 40 + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP container with these chunks."""
    parts = [
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    ]
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def webp_extended(width: int, height: int, flags: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP with a VP8X header of any size, and the chunks behind it."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return riff((b"VP8X", bytes((flags, 0, 0, 0)) + sides), *chunks)


def webp_picture() -> bytes:
    """Return the pixels of a WebP file of 48 x 40, as the content of its VP8L chunk."""
    body = encode(photograph(48, 40), "WEBP", lossless=True)
    length = int.from_bytes(body[16:20], "little")
    return body[20 : 20 + length]
