"""Files with one thing wrong: sizes of nothing, lies about lengths, values that are no numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from tests.attack.pieces import (
    GREY_64,
    GREY_ROWS,
    LONG,
    SHORT,
    SMALL_JPEG,
    SMALL_PNG,
    gif,
    jpeg_of_size,
    jpeg_segment,
    jpeg_with,
    png_grey,
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
from tests.images import GREY, cmyk, encode, flat, frames, photograph, png, png_chunk
from tests.odd_inputs import OddInput

NO_NUMBER: Final = (float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324)


def _floats(kind: type[np.floating]) -> Callable[[], bytes]:
    """Return a builder of a TIFF of floats without any number in it."""

    def build() -> bytes:
        with np.errstate(over="ignore"):
            pixels = np.resize(np.array(NO_NUMBER).astype(kind), (64, 64))
        bits = pixels.itemsize * 8
        tags = tiff_tags(bits=tag(258, SHORT, bits), kind=tag(339, SHORT, 3))
        return tiff(tags, pixels.tobytes())

    return build


def _with_checksum_off(body: bytes, chunk: bytes) -> bytes:
    at = body.index(chunk)
    end = at + 4 + int.from_bytes(body[at - 4 : at])
    return body[:end] + b"\0\0\0\0" + body[end + 4 :]


def _cut_scan() -> bytes:
    """Return a JPEG that ends properly in the middle of its picture."""
    return SMALL_JPEG[: len(SMALL_JPEG) * 2 // 3] + b"\xff\xd9"


BROKEN: Final[dict[str, OddInput]] = {
    # Sizes.
    "jpeg_of_0_x_0": refused(lambda: jpeg_of_size(0, 0)),
    "jpeg_of_no_height": refused(lambda: jpeg_of_size(48, 0)),
    "png_of_0_x_0": refused(lambda: png((0, 0, 8, 0), b"")),
    "gif_of_0_x_0": refused(lambda: gif()[:6] + bytes(4) + gif()[10:19] + b"," + bytes(9) + b"\2"),
    "bmp_of_0_x_0": refused(lambda: run_length_bmp(0, 0, b"\0\1")),
    "bmp_of_negative_width": refused(
        lambda: run_length_bmp(-64, 64, b"\0\1"), 413, "too_many_pixels"
    ),
    "tiff_of_0_x_0": refused(lambda: tiff(tiff_tags((0, 0)), bytes(10))),
    "tiff_of_negative_width": refused(
        lambda: tiff(tiff_tags(width=tag(256, 9, 2**32 - 64)), bytes(4096))
    ),
    "tiff_without_a_size": refused(lambda: tiff([tag(258, SHORT, 8)], bytes(4096))),
    "png_line_of_30000": refused(lambda: encode(photograph(30000, 1), "PNG"), 422, "too_small"),
    "jpeg_line_of_30000": refused(lambda: encode(photograph(30000, 1), "JPEG"), 422, "too_small"),
    "jpeg_of_one_pixel": refused(lambda: encode(photograph(1, 1), "JPEG"), 422, "too_small"),
    "webp_smaller_than_it_says": refused(
        lambda: webp_extended(4000, 4000, 0, (b"VP8L", webp_picture()))
    ),
    # Lengths.
    "png_chunk_of_4_gigabytes": refused(
        lambda: SMALL_PNG[:33] + b"\xff\xff\xff\xfftEXta\0b", 400, "truncated"
    ),
    "png_without_an_end": scored(lambda: SMALL_PNG[:-12]),
    "png_of_a_wrong_checksum": scored(lambda: _with_checksum_off(png_grey(), b"IDAT"), GREY),
    "png_header_of_a_wrong_checksum": refused(lambda: _with_checksum_off(png_grey(), b"IHDR")),
    "png_of_two_headers": refused(
        lambda: png_grey((b"IHDR", struct.pack(">IIBBBBB", 9999, 9999, 8, 2, 0, 0, 0))),
        413, "too_many_pixels",
    ),
    "png_of_no_pixels": refused(lambda: png(GREY_64, b""), 400, "truncated"),
    "png_of_too_many_pixels": scored(lambda: png(GREY_64, GREY_ROWS * 3), GREY),
    "png_of_a_filter_that_is_none": refused(lambda: png(GREY_64, (b"\x09" + bytes(64)) * 64)),
    "png_of_unknown_depth": refused(lambda: png((64, 64, 3, 2), GREY_ROWS)),
    "png_palette_of_17_bytes": scored(
        lambda: png((64, 64, 8, 3), GREY_ROWS, ((b"PLTE", bytes(17)),))
    ),
    "png_of_an_empty_profile": refused(lambda: png_grey((b"iCCP", b""))),
    "animation_of_4_billion_frames": scored(
        lambda: png_grey((b"acTL", struct.pack(">II", 2**32 - 1, 0))), GREY
    ),
    "jpeg_segment_of_no_length": scored(lambda: jpeg_with(b"\xff\xe0\0\0")),
    # libjpeg fills what is missing, and Pillow does not tell.
    "jpeg_that_ends_in_the_picture": scored(_cut_scan),
    "jpeg_without_tables": refused(
        lambda: SMALL_JPEG[:2] + SMALL_JPEG[SMALL_JPEG.index(b"\xff\xc0") :]
    ),
    "jpeg_of_12_bits": refused(
        lambda: SMALL_JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    ),
    "jpeg_of_five_channels": refused(
        lambda: jpeg_with(jpeg_segment(0xC0, b"\x08\0\x28\0\x30\x05" + bytes(15)))
    ),
    "jpeg_arithmetic_header": refused(lambda: SMALL_JPEG.replace(b"\xff\xc0", b"\xff\xcb")),
    "gif_without_a_picture": refused(
        lambda: b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b";"
    ),
    "gif_of_wild_codes": refused(lambda: gif()[:30] + b"\xfe" + b"\xa7" * 254 + b"\0;"),
    "bmp_of_unknown_compression": refused(
        lambda: run_length_bmp(64, 64, b"\0\1").replace(
            struct.pack("<HHI", 1, 8, 1), struct.pack("<HHI", 1, 8, 99)
        )
    ),
    "tiff_directory_outside": refused(lambda: b"II*\0" + struct.pack("<I", 2**31) + bytes(100)),
    "tiff_strip_outside": refused(
        lambda: tiff([*tiff_tags(), tag(273, LONG, 2**31), tag(279, LONG, 4096)]), 400, "truncated"
    ),
    "tiff_of_half_of_its_strips": refused(
        lambda: tiff(tiff_tags(rows=tag(278, SHORT, 32)), bytes(2048)), 400, "truncated"
    ),
    "tiff_of_no_compression_known": refused(
        lambda: tiff(tiff_tags(compression=tag(259, SHORT, 12345)), bytes(4096))
    ),
    "tiff_of_60000_samples": refused(
        lambda: tiff(tiff_tags(samples=tag(277, SHORT, 60_000)), bytes(4096))
    ),
    "tiff_tile_of_letters": refused(
        lambda: tiff([*tiff_tags(), tag(324, LONG, 8), (322, 2, 3, b"ab\0"), (323, 2, 3, b"ab\0")])
    ),
    "webp_of_no_content": refused(lambda: riff()),
    "webp_of_a_lying_length": refused(
        lambda: b"RIFF\xff\xff\xff\xff" + riff((b"VP8L", webp_picture()))[8:], 400, "truncated"
    ),
    # Values.
    "float32_tiff_without_a_number": refused(_floats(np.float32), 415, "unsupported_mode"),
    "float64_tiff_without_a_number": refused(_floats(np.float64)),
    "float16_tiff_without_a_number": refused(_floats(np.float16)),
    "sixteen_bit_rgba_png": scored(
        lambda: png((64, 64, 16, 6), (b"\0" + bytes(range(256)) * 2) * 64), "alpha_composited"
    ),
    "lab_tiff": refused(
        lambda: encode(Image.fromarray(flat((9, 9, 9))).convert("LAB"), "TIFF"),
        415, "unsupported_mode",
    ),
    "cmyk_tiff": scored(lambda: encode(cmyk(), "TIFF"), "cmyk_without_profile"),
    "animated_png_of_odd_frames": scored(
        lambda: frames("PNG").replace(b"fdAT", b"fdAX"), "first_frame_only"
    ),
    "exif_of_bytes_only": scored(
        lambda: png_grey((b"eXIf", b"\xff" * 300)), "exif_ignored", GREY
    ),
    "exif_that_points_to_itself": scored(
        lambda: jpeg_with(
            jpeg_segment(
                0xE1,
                b"Exif\0\0II*\0\x08\0\0\0\x01\0"
                + struct.pack("<HHIII", 0x8769, 4, 1, 8, 8),
            )
        )
    ),
    "multi_picture_index_of_nothing": scored(
        lambda: jpeg_with(jpeg_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"))
    ),
    "chunk_before_the_header": scored(
        lambda: SMALL_PNG[:8] + png_chunk(b"tEXt", b"a\0b") + SMALL_PNG[8:]
    ),
}  # fmt: skip
