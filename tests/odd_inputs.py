"""
The table of test pictures: name -> file, and what becomes of it.

Unit tests hold `iqa` to it, end-to-end tests send the same files to a running server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

import numpy as np

from tests.icc_profiles import cmyk_profile, srgb_profile, wide_gamut_profile
from tests.images import (
    GREY,
    PICTURES,
    PLAIN_FORMATS,
    bomb,
    cmyk,
    converted,
    encode,
    flat,
    frames,
    jpeg_with_exif,
    palette,
    photograph,
    png,
    png_rgb16,
    png_with_transparent_colour,
    quarters,
    ramp16,
    with_orientation,
    ycck_jpeg,
)


@dataclass(frozen=True, kw_only=True)
class OddInput:
    """
    A file and what becomes of it.

    Attributes:
        build: Makes the file.
        status: 200, or the HTTP status of the refusal.
        reason: Of the refusal; None for 200.
        warnings: Of decoding. A server adds `upscaled` where `imaging.preprocessing.is_upscaled`.
        size: (width, height) after rotation; None where refused before it is known.
        format: As a reply names it.
    """

    build: Callable[[], bytes]
    status: int = 200
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    format: str | None = None

    @cached_property
    def body(self) -> bytes:
        """The file's bytes."""
        return self.build()


def _accepted(
    build: Callable[[], bytes],
    file_format: str = "PNG",
    size: tuple[int, int] = (160, 128),
    *warnings: str,
) -> OddInput:
    return OddInput(build=build, format=file_format, size=size, warnings=warnings)


def _refused(status: int, reason: str, build: Callable[[], bytes]) -> OddInput:
    return OddInput(build=build, status=status, reason=reason)


def _blank(width: int, height: int) -> Callable[[], bytes]:
    return lambda: encode(photograph(width, height), "PNG")


def _cut(file_format: str, share: float) -> Callable[[], bytes]:
    def build() -> bytes:
        body = PLAIN_FORMATS[file_format]()
        return body[: int(len(body) * share)]

    return build


ODD_INPUTS: Final[dict[str, OddInput]] = {
    # Formats.
    **{
        f"plain_{name.lower()}": _accepted(build, name, (160, 120))
        for name, build in PLAIN_FORMATS.items()
    },
    "progressive_jpeg": _accepted(
        lambda: encode(quarters(), "JPEG", progressive=True, quality=95), "JPEG"
    ),
    "lossless_webp": _accepted(lambda: encode(quarters(), "WEBP", lossless=True), "WEBP"),
    "lzw_tiff": _accepted(lambda: encode(quarters(), "TIFF", compression="tiff_lzw"), "TIFF"),
    "ten_bits_avif": _accepted(
        lambda: (PICTURES / "quarters_10_bits.avif").read_bytes(), "AVIF"
    ),
    "ten_bits_heic": _accepted(
        lambda: (PICTURES / "quarters_10_bits.heic").read_bytes(), "HEIC"
    ),
    "jpeg_tiff": _accepted(lambda: encode(quarters(), "TIFF", compression="jpeg"), "TIFF"),
    # More than one picture in the file.
    "animated_gif": _accepted(lambda: frames("GIF"), "GIF", (160, 128), "first_frame_only"),
    "animated_webp": _accepted(lambda: frames("WEBP"), "WEBP", (160, 128), "first_frame_only"),
    "animated_png": _accepted(lambda: frames("PNG"), "PNG", (160, 128), "first_frame_only"),
    "animated_avif": _accepted(lambda: frames("AVIF"), "AVIF", (160, 128), "first_frame_only"),
    "paged_tiff": _accepted(lambda: frames("TIFF"), "TIFF", (160, 128), "first_frame_only"),
    "mpo": _accepted(lambda: frames("MPO"), "JPEG"),
    # Grey, palettes, deep samples.
    "grey_png": _accepted(lambda: converted("L", "PNG"), "PNG", (160, 120), GREY),
    "grey_jpeg": _accepted(lambda: converted("L", "JPEG"), "JPEG", (160, 120), GREY),
    "one_bit_png": _accepted(lambda: converted("1", "PNG"), "PNG", (160, 120), GREY),
    "one_bit_tiff": _accepted(
        lambda: converted("1", "TIFF", compression="group4"), "TIFF", (160, 120), GREY
    ),
    "grey_avif": _accepted(lambda: converted("L", "AVIF"), "AVIF", (160, 120), GREY),
    "grey_heic": _accepted(
        lambda: (PICTURES / "grey.heic").read_bytes(), "HEIC", (160, 128), GREY
    ),
    "grey16_png": _accepted(lambda: encode(ramp16(), "PNG"), "PNG", (256, 64), GREY),
    "grey16_tiff": _accepted(lambda: encode(ramp16(), "TIFF"), "TIFF", (256, 64), GREY),
    "grey16_tiff_big_endian": _accepted(
        lambda: encode(ramp16().astype(">u2"), "TIFF"), "TIFF", (256, 64), GREY
    ),
    "rgb16_png": _accepted(png_rgb16, "PNG", (256, 64)),
    "palette_png": _accepted(lambda: palette(None)),
    # Transparency.
    "transparent_red_png": _accepted(
        lambda: encode(flat((255, 0, 0, 0)), "PNG"), "PNG", (160, 128), "alpha_composited"
    ),
    "half_red_webp": _accepted(
        lambda: encode(flat((255, 0, 0, 128)), "WEBP", lossless=True, exact=True),
        "WEBP", (160, 128), "alpha_composited",
    ),
    "half_clear_avif": _accepted(
        lambda: encode(flat((255, 0, 0, 128)), "AVIF"), "AVIF", (160, 128), "alpha_composited"
    ),
    "half_clear_heic": _accepted(
        lambda: (PICTURES / "half_clear.heic").read_bytes(), "HEIC", (160, 128),
        "alpha_composited",
    ),
    "opaque_rgba_png": _accepted(
        lambda: encode(np.dstack([quarters(), flat((255,))]), "PNG")
    ),
    "transparent_grey_png": _accepted(
        lambda: encode(flat((0, 0)), "PNG"), "PNG", (160, 128), GREY, "alpha_composited"
    ),
    "palette_transparent_png": _accepted(
        lambda: palette(b"\x00"), "PNG", (160, 128), "alpha_composited"
    ),
    "transparent_colour_png": _accepted(
        png_with_transparent_colour, "PNG", (160, 128), "alpha_composited"
    ),
    # Colour spaces.
    "cmyk_jpeg": _accepted(
        lambda: encode(cmyk(), "JPEG", quality=95), "JPEG", (160, 128), "cmyk_without_profile"
    ),
    "ycck_jpeg": _accepted(ycck_jpeg, "JPEG", (160, 128), "cmyk_without_profile"),
    "cmyk_profile_jpeg": _accepted(
        lambda: encode(cmyk(), "JPEG", quality=95, icc_profile=cmyk_profile()), "JPEG"
    ),
    "wide_gamut_png": _accepted(
        lambda: encode(quarters(), "PNG", icc_profile=wide_gamut_profile())
    ),
    "srgb_profile_png": _accepted(lambda: encode(quarters(), "PNG", icc_profile=srgb_profile())),
    "broken_profile_png": _accepted(
        lambda: encode(quarters(), "PNG", icc_profile=b"no profile" * 20),
        "PNG", (160, 128), "icc_profile_ignored",
    ),
    "grey_profile_mismatch_jpeg": _accepted(
        lambda: encode(quarters(), "JPEG", quality=95, icc_profile=cmyk_profile()),
        "JPEG", (160, 128), "icc_profile_ignored",
    ),
    # EXIF.
    **{
        f"exif_{n}_jpeg": _accepted(partial(with_orientation, n), "JPEG") for n in range(1, 9)
    },
    "exif_6_png": _accepted(partial(with_orientation, 6, "PNG")),
    "exif_8_webp": _accepted(partial(with_orientation, 8, "WEBP"), "WEBP"),
    "exif_6_avif": _accepted(partial(with_orientation, 6, "AVIF"), "AVIF"),
    "exif_3_tiff": _accepted(partial(with_orientation, 3, "TIFF"), "TIFF"),
    "exif_out_of_range_jpeg": _accepted(partial(with_orientation, 9), "JPEG"),
    "exif_no_header_jpeg": _accepted(
        lambda: jpeg_with_exif(b"not a directory"), "JPEG", (160, 120), "exif_ignored"
    ),
    "exif_cut_jpeg": _accepted(
        lambda: jpeg_with_exif(b"II*\0\x08\0\0\0\xff\xff\x12\x01"), "JPEG", (160, 120),
        "exif_ignored",
    ),
    # Shapes.
    "smallest": _accepted(_blank(32, 32), "PNG", (32, 32)),
    "widest": _accepted(_blank(512, 64), "PNG", (512, 64)),
    "tallest": _accepted(_blank(64, 512), "PNG", (64, 512)),
    "portrait": _accepted(_blank(384, 512), "PNG", (384, 512)),
    "square": _accepted(_blank(400, 400), "PNG", (400, 400)),
    "panorama": _accepted(_blank(800, 200), "PNG", (800, 200)),
    # 400: no picture, or not all of it.
    "empty": _refused(400, "empty", lambda: b""),
    "text": _refused(400, "undecodable", lambda: b"hello, this is no picture\n"),
    "zeros": _refused(400, "undecodable", lambda: bytes(4096)),
    **{
        f"cut_{int(share * 100)}_{name.lower()}": _refused(400, "truncated", _cut(name, share))
        for name in PLAIN_FORMATS
        for share in (0.5, 0.95)
    },
    # 413.
    "bomb": _refused(413, "too_many_pixels", lambda: bomb(14000)),
    "header_of_900_megapixels": _refused(
        413, "too_many_pixels", lambda: png((30000, 30000, 8, 2), b"\0")
    ),
    "header_of_just_too_many_pixels": _refused(
        413, "too_many_pixels", lambda: png((10000, 5001, 8, 2), b"\0")
    ),
    # 415.
    "html": _refused(
        415, "unsupported_format", lambda: b"<!doctype html><p>404 not found</p>"
    ),
    "tga": _refused(415, "unsupported_format", lambda: encode(quarters(), "TGA")),
    "svg": _refused(415, "unsupported_format", lambda: b"\n<svg xmlns='x'></svg>"),
    "svg_after_xml": _refused(
        415, "unsupported_format", lambda: b"\xef\xbb\xbf<?xml version='1.0'?><svg></svg>"
    ),
    "pdf": _refused(415, "unsupported_format", lambda: b"%PDF-1.7\n1 0 obj\n"),
    "jpeg2000": _refused(415, "unsupported_format", lambda: encode(quarters(), "JPEG2000")),
    "ico": _refused(415, "unsupported_format", lambda: encode(quarters(), "ICO")),
    "float_tiff": _refused(
        415, "unsupported_mode", lambda: encode(ramp16().astype(np.float32) / 65535, "TIFF")
    ),
    "int32_tiff": _refused(
        415, "unsupported_mode", lambda: encode(ramp16().astype(np.int32), "TIFF")
    ),
    # 422.
    "one_pixel": _refused(422, "too_small", _blank(1, 1)),
    "just_too_small": _refused(422, "too_small", _blank(31, 31)),
    "thin": _refused(422, "too_small", _blank(16, 480)),
    "line": _refused(422, "too_small", _blank(1, 30000)),
    "just_too_wide": _refused(422, "too_narrow", _blank(513, 64)),
    "just_too_tall": _refused(422, "too_narrow", _blank(64, 513)),
}  # fmt: skip
