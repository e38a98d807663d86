"""
Formats without a signature, told by whether their header makes sense: TGA, SPIDER, PALM, IPTC, raw.

Random bytes and text must not pass, so each looks at all fields that leave a choice, and at the
length of the file where the header gives it.
"""

from __future__ import annotations

import struct
from typing import Final

from iqa.imaging.part_limits import BIG_TIFF, MAX_TAGS

TGA_FOOTER: Final = b"TRUEVISION-XFILE.\0"  # of version 2.0, at the file's end
TGA_DEPTHS: Final = {1: (8, 16), 2: (15, 16, 24, 32), 3: (1, 8, 16)}
"""Bits of a pixel by type: palette, colour, grey."""
TGA_RUN_LENGTHS: Final = 8  # is added to the type

SPIDER_FORMS: Final = (1, 3, -11, -12, -21, -22)

# TIFF, TIFF/EP and DNG: tags of the first directory, which in raw files describes a preview.
SUBFILE_TAG: Final = 254
COMPRESSION_TAG: Final = 259
PHOTOMETRIC_TAG: Final = 262
MAKE_TAG: Final = 271
SUB_DIRECTORIES_TAG: Final = 330
DNG_VERSION_TAG: Final = 50706
SENSOR: Final = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
RAW_COMPRESSIONS: Final = (32767, 32770, 34713, 65535)  # of Sony, Samsung, Nikon, Pentax
MAKERS: Final = {
    b"NIKON": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"RICOH": "PEF", b"SAMSUNG": "SRW",
    b"HASSELBLAD": "3FR", b"PHASE ONE": "IIQ", b"KODAK": "DCR", b"EASTMAN KODAK": "DCR",
    b"CANON": "CR2",
}  # fmt: skip


def image_of(body: bytes) -> str | None:
    """Name the format of a whole file by its header; None where none makes sense."""
    for name, is_one in (("TGA", _is_tga), ("SPIDER", _is_spider), ("PALM", _is_palm)):
        if is_one(body):
            return name
    return "IPTC" if _is_iptc(body) else None


def raw_in_tiff(body: bytes) -> str | None:
    """
    Name the kind of a raw camera file that is a TIFF by its signature.

    What a TIFF reader finds in it first is a preview of 160 pixels or so, and not the photograph.

    Args:
        body: A file that begins like a TIFF.

    Returns:
        None for a plain TIFF, and for one that is broken.
    """
    if body[4:11] == b"\x10\0\0\0CR\2":  # Canon's own signature, behind TIFF's
        return "CR2 (raw camera file)"
    tags = _tags(body)
    maker = _text(body, tags.get(MAKE_TAG, (0, 0, 0)))
    known = next((kind for name, kind in MAKERS.items() if maker.startswith(name)), None)
    is_preview = tags.get(SUBFILE_TAG, (0, 0, 0))[1] & 1 and SUB_DIRECTORIES_TAG in tags
    if DNG_VERSION_TAG in tags:
        return "DNG (raw camera file)"
    if (
        is_preview
        or tags.get(PHOTOMETRIC_TAG, (0, 0, 0))[1] in SENSOR
        or tags.get(COMPRESSION_TAG, (0, 0, 0))[1] in RAW_COMPRESSIONS
    ):
        return f"{known} (raw camera file)" if known else "a raw camera file"
    return None


def _tags(body: bytes) -> dict[int, tuple[int, int, int]]:
    """Return (count, first value or its place, place of the entry) by tag of a TIFF's start."""
    order = "<" if body[:2] == b"II" else ">"
    if bytes((BIG_TIFF,)) in body[2:4]:
        return {}  # no camera writes one
    found: dict[int, tuple[int, int, int]] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", body, 4)
        (count,) = struct.unpack_from(f"{order}H", body, start)
        for place in range(start + 2, start + 2 + 12 * min(count, MAX_TAGS), 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", body, place)
            letter = "H" if kind == 3 else "I"
            (value,) = struct.unpack_from(f"{order}{letter}", body, place + 8)
            found[tag] = (values, value, place)
    except struct.error:  # a directory that breaks off: the decoder says so
        pass
    return found


def _text(body: bytes, entry: tuple[int, int, int]) -> bytes:
    count, start, place = entry
    at = place + 8 if count <= 4 else start
    return body[at : at + min(count, 32)].upper()


def _is_tga(body: bytes) -> bool:
    """
    Tell a Targa file (Truevision TGA 2.0, 1991) by its header, and by its footer if it has one.

    The footer alone would do, but version 1 has none and is still written.
    """
    if len(body) < 18:
        return False
    id_bytes, has_map, kind, map_start, map_entries, map_bits = struct.unpack_from("<BBBHHB", body)
    width, height, depth, flags = struct.unpack_from("<HHBB", body, 12)
    plain = kind & ~TGA_RUN_LENGTHS
    if has_map > 1 or plain not in TGA_DEPTHS or depth not in TGA_DEPTHS[plain]:
        return False
    if body.endswith(TGA_FOOTER):
        return True
    if width == 0 or height == 0 or flags & 0xC0 or (flags & 0x0F) > 8:
        return False
    if plain == 1 and not has_map:
        return False
    if has_map:
        if map_bits not in (15, 16, 24, 32) or not 0 < map_start + map_entries <= 65_536:
            return False
    elif map_start or map_entries or map_bits:
        return False
    start = 18 + id_bytes + map_entries * ((map_bits + 7) // 8)
    pixels, pixel_bytes = width * height, (depth + 7) // 8
    if depth == 1:
        return len(body) == start + height * ((width + 7) // 8)
    if kind == plain:
        return len(body) == start + pixels * pixel_bytes
    # A packet holds 1 to 128 pixels, behind a byte of its own.
    least = -(-pixels // 128) * (1 + pixel_bytes)
    return start + least <= len(body) <= start + pixels * (1 + pixel_bytes)


def _is_spider(body: bytes) -> bool:
    """Tell an image of electron microscopy: 27 floats, most of them whole numbers."""
    if len(body) < 108:
        return False
    for order in (">", "<"):
        field = (0.0, *struct.unpack_from(f"{order}27f", body))
        if not all(field[place].is_integer() for place in (1, 2, 5, 12, 13, 22, 23)):
            continue
        if field[5] in SPIDER_FORMS and field[22] == field[13] * field[23] > 0:
            return True
    return False


def _is_palm(body: bytes) -> bool:
    """Tell a Palm OS bitmap, which Pillow writes and does not read; compressed ones are not."""
    if len(body) < 16:
        return False
    width, height, row_bytes, flags, bits, version = struct.unpack_from(">HHHHBB", body)
    if 0 in (width, height) or bits not in (1, 2, 4, 8) or version > 2 or flags & 0x8000:
        return False
    colours = int.from_bytes(body[16:18]) if flags & 0x4000 else -0.5
    is_row = row_bytes == 2 * -(-width // (16 // bits))
    return is_row and len(body) == 16 + (2 + 4 * colours) + row_bytes * height


def _is_iptc(body: bytes) -> bool:
    """Tell a bare IPTC record: one field directly after another."""
    if len(body) < 10 or body[0] != 0x1C or not 1 <= body[1] <= 9 or body[3] & 0x80:
        return False
    after = 5 + int.from_bytes(body[3:5])
    return body[after : after + 1] == b"\x1c" and 1 <= body[after + 1] <= 9
