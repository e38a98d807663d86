"""Files that cost far more to read than to send: time, memory, or both."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

from tests.attack.pieces import (
    LONG,
    RATIONAL,
    SHORT,
    SMALL_JPEG,
    Tag,
    gif,
    jpeg_of_size,
    jpeg_segment,
    jpeg_with,
    png_grey,
    png_of_idats,
    refused,
    riff,
    run_length_bmp,
    scored,
    tag,
    tiff,
    tiff_tags,
    webp_extended,
    webp_picture,
)
from tests.icc_profiles import icc_profile
from tests.images import GREY, bomb, jpeg_of_many_scans, png, png_chunk
from tests.odd_inputs import OddInput

FULL: Final = 31 * 1024 * 1024
"""Bytes: nearly the largest body that is read."""


def filled(part: bytes, size: int = FULL) -> bytes:
    """Return a part repeated up to a size."""
    return part * (size // len(part))


def _exif_of_rationals(count: int) -> bytes:
    """Return an EXIF block whose orientation is so many fractions."""
    head = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, RATIONAL, count, 26) + bytes(4)
    return head + struct.pack("<II", 1, 1) * count


def _exif_of_tags(count: int) -> bytes:
    """Return an EXIF block of so many tags that all name the same kilobyte."""
    end = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 0x9000 + i, 7, 1000, end) for i in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(1000)


def _profile_of_steps(count: int) -> bytes:
    """Return an RGB profile of so many steps for each colour, all of them the same one."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256)
    element = b"matf" + bytes(4) + struct.pack(">HH", 3, 3)
    element += struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    at = 16 + 8 * count
    steps = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count)
    steps += struct.pack(">II", at, len(element)) * count + element
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"D2B0": steps}
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 21845, 21845, 21845)
    return icc_profile(b"RGB ", {**tags, b"rXYZ": white, b"gXYZ": white, b"bXYZ": white})


def _tiff_with_exif(tags: list[Tag]) -> bytes:
    """Return a grey TIFF whose EXIF directory has these tags; their values are all zeros."""
    place = len(tiff(tiff_tags(exif=tag(34665, LONG, 0)), bytes(4096)))
    far = place + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", number, kind, n, far) for number, kind, n, _ in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    values = bytes(max(len(data) for *_, data in tags))
    return tiff(tiff_tags(exif=tag(34665, LONG, place)), bytes(4096)) + directory + values


def _large(build: Callable[[], bytes]) -> OddInput:
    return refused(build, 413, "too_many_pixels")


BOMBS: Final[dict[str, OddInput]] = {
    # More pixels than fit, said by the header or not.
    "jpeg_of_4_gigapixels": _large(lambda: jpeg_of_size(65500, 65500)),
    "png_of_2_to_the_62_pixels": _large(lambda: png((2**31 - 1, 2**31 - 1, 8, 2), b"\0")),
    "gif_of_900_megapixels": _large(
        lambda: b"GIF89a" + struct.pack("<HH", 30000, 30000) + gif()[10:]
    ),
    "bmp_of_900_megapixels": _large(lambda: run_length_bmp(30000, 30000, b"\0\1")[:30] + bytes(60)),
    "tiff_of_900_megapixels": _large(lambda: tiff(tiff_tags((30000, 30000)), b"x")),
    "webp_of_268_megapixels": _large(
        lambda: webp_extended(16384, 16384, 0, (b"VP8L", webp_picture()))
    ),
    "png_of_49_megapixels": scored(lambda: bomb(7000), GREY),
    "tiff_strip_of_a_gigabyte": scored(
        lambda: tiff(
            tiff_tags(compression=tag(259, SHORT, 8), rows=tag(278, LONG, 2**30)),
            zlib.compress(bytes(10_000_000)),
        ),
        GREY,
    ),
    # Text and profiles that unpack.
    "png_text_bomb": refused(
        lambda: png_grey((b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000))))
    ),
    "png_international_text_bomb": refused(
        lambda: png_grey((b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(5_000_000))))
    ),
    "png_profile_bomb": refused(
        lambda: png_grey((b"iCCP", b"a\0\0" + zlib.compress(bytes(5_000_000))))
    ),
    "png_of_many_small_text_bombs": refused(
        lambda: png_grey(*[(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000)))] * 200)
    ),
    "png_text_of_newlines": scored(
        lambda: png_grey((b"tEXt", b"Raw profile type exif\0" + filled(b"\n"))),
        "exif_ignored", GREY,
    ),
    "profile_of_100000_steps": scored(
        lambda: png(
            (64, 64, 8, 2), (b"\0" + bytes(192)) * 64,
            ((b"iCCP", b"a\0\0" + zlib.compress(_profile_of_steps(100_000))),),
        ),
        "icc_profile_ignored",
    ),
    # Very many parts.
    "png_of_empty_chunks": refused(lambda: png_grey()[:33] + filled(png_chunk(b"abCd", b""))),
    "png_of_one_byte_idats": scored(lambda: png_of_idats(1), GREY),
    "png_of_empty_idats": refused(lambda: png_grey()[:33] + filled(png_chunk(b"IDAT", b""))),
    "gif_of_one_byte_comments": refused(lambda: gif(b"!\xfe" + filled(b"\x01a") + b"\0")),
    "gif_of_empty_extensions": refused(lambda: gif(filled(b"!\xf9\x01a\0"))),
    "gif_of_one_byte_pixels": refused(
        lambda: gif()[:19] + gif()[19:29] + b"\x02" + filled(b"\x01\x04") + b"\0;"
    ),
    "gif_of_rubbish": refused(lambda: gif(filled(b"?"))),
    "webp_of_unknown_chunks": refused(
        lambda: riff((b"VP8X", bytes(4) + b"\x2f\0\0\x27\0\0"), *[(b"abcd", b"")] * 1_000_000)
    ),
    "jpeg_of_fill_bytes": refused(lambda: jpeg_with(filled(b"\xff"))),
    "jpeg_of_rubbish": refused(lambda: jpeg_with(filled(b"\xff\0"))),
    "jpeg_of_markers_alone": refused(lambda: jpeg_with(filled(b"\xff\xd0"))),
    "jpeg_of_empty_segments": refused(lambda: jpeg_with(filled(b"\xff\xe5\0\2"))),
    "jpeg_of_exif_segments": refused(
        lambda: jpeg_with(filled(jpeg_segment(0xE1, b"Exif\0\0" + bytes(900))))
    ),
    "jpeg_of_tables": refused(
        lambda: jpeg_with(filled(jpeg_segment(0xDB, (b"\0" + bytes(range(1, 65))) * 1000)))
    ),
    "jpeg_of_frames": refused(
        lambda: jpeg_with(filled(jpeg_segment(0xC0, b"\x08\0\x28\0\x30\x03" + bytes(60_000))))
    ),
    "jpeg_of_photoshop_resources": refused(
        lambda: jpeg_with(
            filled(jpeg_segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x01\0\0\0\0\0\0\0" * 5000))
        )
    ),
    "jpeg_of_1000_scans": refused(lambda: jpeg_of_many_scans(1000)),
    "jpeg_of_49_megapixels_and_60_scans": refused(lambda: jpeg_of_many_scans(60, (7000, 7000))),
    "tiff_of_49_megapixels_and_60_scans": refused(
        lambda: tiff(
            tiff_tags((7000, 7000), compression=tag(259, SHORT, 7), rows=tag(278, LONG, 7000)),
            jpeg_of_many_scans(60, (7000, 7000)),
        )
    ),
    "tiff_of_strips_that_are_all_the_same": refused(
        lambda: tiff(
            tiff_tags(
                (64, 6400), compression=tag(259, SHORT, 7), rows=tag(278, LONG, 64),
                starts=tag(273, LONG, *[8] * 100), lengths=tag(279, LONG, *[1000] * 100),
            )
        ),
        400, "truncated",
    ),
    "bmp_of_long_rows": refused(
        lambda: run_length_bmp(20_000, 2500, b"\x01\0\0\0" * 3000), 415, "unsupported_mode"
    ),
    "bmp_of_runs_that_lead_nowhere": refused(
        lambda: run_length_bmp(1000, 1000, b"\xff\1" * 4 + filled(b"\x01\1"))
    ),
    # Directories that lie.
    "tiff_of_65535_tags": refused(
        lambda: tiff([tag(n, LONG, 1) for n in range(400, 60_000)])
    ),
    "tiff_of_a_million_strips": refused(
        lambda: tiff(tiff_tags((64, 1_000_000), strips=tag(273, LONG, *[8] * 1_000_000)))
    ),
    "tiff_of_a_million_fractions": refused(
        lambda: tiff(tiff_tags(resolution=tag(282, RATIONAL, *[1] * 2_000_000)), bytes(4096))
    ),
    "tiff_of_a_million_fractions_in_exif": refused(
        lambda: _tiff_with_exif([tag(0x9999, RATIONAL, *[1] * 2_000_000)])
    ),
    "tiff_of_65535_tags_in_exif": refused(
        lambda: _tiff_with_exif([tag(n, SHORT, 1) for n in range(65_535)])
    ),
    "tiff_whose_exif_is_itself": scored(
        lambda: tiff(tiff_tags(exif=tag(34665, LONG, 8)), bytes(4096)), GREY
    ),
    "tiff_of_many_compressions": refused(
        lambda: tiff(tiff_tags(compression=tag(259, SHORT, *range(30_000))), bytes(4096))
    ),
    "tiff_that_leads_to_itself": scored(
        lambda: tiff(tiff_tags(), bytes(4096), next_directory=8), GREY
    ),
    "exif_of_millions_of_fractions_png": scored(
        lambda: png_grey((b"eXIf", _exif_of_rationals(3_800_000))), "exif_ignored", GREY
    ),
    "exif_of_millions_of_fractions_webp": scored(
        lambda: webp_extended(
            48, 40, 8, (b"VP8L", webp_picture()), (b"EXIF", _exif_of_rationals(3_800_000))
        ),
        "exif_ignored",
    ),
    "exif_of_5000_tags_jpeg": scored(
        lambda: jpeg_with(jpeg_segment(0xE1, b"Exif\0\0" + _exif_of_tags(5000)))
    ),
    "jpeg_of_a_profile_of_30_megabytes": scored(
        lambda: jpeg_with(
            b"".join(
                jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes((i % 255 + 1, 255)) + bytes(65_000))
                for i in range(255)
            ),
            SMALL_JPEG,
        ),
        "icc_profile_ignored",
    ),
}  # fmt: skip
