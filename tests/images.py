"""
Test pictures made in code, with a seed: every kind of file that a client may send.

`ODD_INPUTS` is the table: name -> file, and what becomes of it. Unit tests hold `iqa` to it, end-
to-end tests can send the same files to a running server.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

PICTURES: Final = Path(__file__).parent / "pictures"
Pixels = NDArray[np.uint8]

ORIENTATION: Final = 0x0112
GREY: Final = "grayscale_input"

# Red, green, blue and white quarters: a rotation or a mirror image of it is told by its corners.
QUARTERS: Final = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))

# Display P3's primaries in the PCS (D50): rows X, Y, Z; columns red, green, blue.
WIDE_GAMUT_TO_XYZ: Final = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
WIDE_GAMUT_GAMMA: Final = 1.8


def photograph(width: int, height: int, seed: int = 0) -> Pixels:
    """Return a picture with slow colour waves, edges and noise: uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(3):
        fx, fy, phase = rng.uniform(0.5, 3, 3)
        wave = np.sin(2 * np.pi * (fx * x / width + fy * y / height) + phase)
        edge = np.where(x * fy > y * fx, 30, -30)
        planes.append(128 + 60 * wave + edge + rng.normal(0, 12, (height, width)))
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def flat(colour: tuple[int, ...], size: tuple[int, int] = (160, 128)) -> Pixels:
    """Return one colour everywhere: uint8 (height, width, channels)."""
    return np.full((size[1], size[0], len(colour)), colour, np.uint8)


def quarters(width: int = 160, height: int = 128) -> Pixels:
    """Return `QUARTERS` as top left, top right, bottom left, bottom right."""
    pixels = np.empty((height, width, 3), np.uint8)
    for index, colour in enumerate(QUARTERS):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, None)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, None)
        pixels[rows, columns] = colour
    return pixels


def ramp16(width: int = 256, height: int = 64) -> NDArray[np.uint16]:
    """Return 16-bit grey from 0 to 65535, left to right: its 8-bit mean is 127.5."""
    return np.tile((np.arange(width) * 65535 // (width - 1)).astype(np.uint16), (height, 1))


def encode(pixels: NDArray[Any] | Image.Image, file_format: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def converted(mode: str, file_format: str, **options: Any) -> bytes:
    """Return the photograph in another Pillow mode, as a file."""
    return encode(Image.fromarray(photograph(160, 120)).convert(mode), file_format, **options)


def frames(file_format: str) -> bytes:
    """Return a file of three pictures, of which the first is `quarters()`."""
    more = [Image.fromarray(photograph(160, 128, seed)) for seed in (1, 2)]
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    return encode(quarters(), file_format, save_all=True, append_images=more, **lossless)


def stored_for(orientation: int, upright: Pixels) -> Pixels:
    """Return how a camera stores an upright picture under an EXIF orientation (CIPA DC-008)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }.get(orientation, upright).copy()


def with_orientation(orientation: int, file_format: str = "JPEG") -> bytes:
    """Return `quarters()` as a camera held in any of eight ways stores it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
    }.get(file_format, {})
    return encode(stored_for(orientation, quarters()), file_format, exif=exif.tobytes(), **options)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file, with its checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    header: tuple[int, int, int, int], rows: bytes, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """
    Return a PNG file from its parts.

    Args:
        header: Width, height, bit depth, colour type.
        rows: Filter byte and samples of each row; may be less than the header promises.
        extra: Chunks between the header and the pixels.
    """
    parts = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))]
    parts += [png_chunk(kind, content) for kind, content in extra]
    parts += [png_chunk(b"IDAT", zlib.compress(rows, 9)), png_chunk(b"IEND", b"")]
    return b"".join(parts)


def png_rgb16() -> bytes:
    """Return a 16-bit RGB PNG: red ramps up, green ramps down, blue is 0x8000."""
    ramp = ramp16()
    samples = np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, 0x8000)], axis=2).astype(">u2")
    return png((256, 64, 16, 2), b"".join(b"\0" + row.tobytes() for row in samples))


def png_with_transparent_colour() -> bytes:
    """Return an RGB PNG whose tRNS chunk declares pure red transparent."""
    rows = b"".join(b"\0" + row.tobytes() for row in quarters())
    return png((160, 128, 8, 2), rows, ((b"tRNS", struct.pack(">HHH", 255, 0, 0)),))


def palette(transparency: bytes | None) -> bytes:
    """Return `quarters()` as a palette PNG; `transparency` is the alpha of its first entries."""
    image = Image.new("P", (160, 128))
    image.putpalette([sample for colour in QUARTERS for sample in colour])
    index = np.zeros((128, 160), np.uint8)
    index[:, 80:] += 1
    index[64:] += 2
    image.frombytes(index.tobytes())
    return encode(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def bomb(side: int) -> bytes:
    """Return a 1-bit PNG of few bytes and side x side pixels, complete."""
    return png((side, side, 1, 0), (b"\0" + bytes((side + 7) // 8)) * side)


def cmyk() -> Image.Image:
    """Return quarters of pure cyan, magenta, yellow and black ink."""
    inks = np.array([[255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]], np.uint8)
    index = np.zeros((128, 160), int)
    index[:, 80:] += 1
    index[64:] += 2
    return Image.frombytes("CMYK", (160, 128), inks[index].tobytes())


def ycck_jpeg() -> bytes:
    """Return `cmyk()` as Photoshop stores it: CMY turned into YCbCr, Adobe transform 2."""
    cyan, magenta, yellow, black = cmyk().split()
    ycc = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr")
    # Pillow stores CMYK inverted; with these planes the file holds Y, Cb, Cr and inverted K.
    planes = [plane.point(lambda v: 255 - v) for plane in ycc.split()]
    body = encode(Image.merge("CMYK", (*planes, black)), "JPEG", quality=95)
    adobe = body.index(b"Adobe")
    return body[: adobe + 11] + b"\x02" + body[adobe + 12 :]


def jpeg_with_exif(exif: bytes) -> bytes:
    """Return the photograph as a JPEG with these bytes as its EXIF block."""
    body = encode(photograph(160, 120), "JPEG", quality=90)
    content = b"Exif\0\0" + exif
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + body[2:]


def jpeg_of_many_scans(scans: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """Return a progressive grey JPEG whose last scan is repeated: cheap to send, slow to read."""
    body = encode(flat((128,), size)[:, :, 0], "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * scans + body[-2:]


def icc_profile(space: bytes, tags: dict[bytes, bytes], description: bytes = b"test") -> bytes:
    """
    Return an ICC version 2 profile (ICC.1:2001-04).

    Args:
        space: Of the device, four letters.
        tags: Beyond description, copyright and white point.
        description: ASCII.
    """
    desc = b"desc" + bytes(4) + struct.pack(">I", len(description) + 1) + description + bytes(79)
    tags = {
        b"desc": desc,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        **tags,
    }
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    kind, pcs = (b"prtr", b"Lab ") if space == b"CMYK" else (b"mntr", b"XYZ ")
    header = struct.pack(">I4sI", start + len(content), b"test", 0x02400000) + kind + space + pcs
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50 in 1/65536
    return header.ljust(128, b"\0") + table + content


def wide_gamut_profile(description: bytes = b"test", gamma: float = WIDE_GAMUT_GAMMA) -> bytes:
    """Return a matrix profile: Display P3's primaries, one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE_GAMUT_TO_XYZ.T, strict=True):
        tags[name] = _xyz(*column)
    return icc_profile(b"RGB ", tags, description)


def cmyk_profile() -> bytes:
    """Return a CMYK profile in which every ink is a grey: L* = 100 (1-C)(1-M)(1-Y)(1-K) at 0, 1."""
    identity = bytes(range(256))
    grid = b"".join(
        bytes((255 if corner == 0 else 0, 128, 128)) for corner in range(16)
    )  # 8-bit L*, a*, b*; a 2 x 2 x 2 x 2 grid, black ink fastest
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + unit + identity * 4 + grid + identity * 3
    return icc_profile(b"CMYK", {b"A2B0": lut})


def srgb_profile() -> bytes:
    """Return the profile that most cameras and editors embed."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def srgb_of_xyz(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0-255 sRGB of XYZ under D50, shape (..., 3), clipped (IEC 61966-2-1)."""
    to_xyz = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )
    linear = np.clip(xyz @ np.linalg.inv(to_xyz).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


PLAIN_FORMATS: Final[dict[str, Callable[[], bytes]]] = {
    "JPEG": lambda: encode(photograph(160, 120), "JPEG", quality=90),
    "PNG": lambda: encode(photograph(160, 120), "PNG"),
    "WEBP": lambda: encode(photograph(160, 120), "WEBP", quality=90),
    "BMP": lambda: encode(photograph(160, 120), "BMP"),
    "TIFF": lambda: encode(photograph(160, 120), "TIFF"),
    "GIF": lambda: converted("P", "GIF"),
    "AVIF": lambda: encode(photograph(160, 120), "AVIF", quality=90),
    "HEIC": lambda: (PICTURES / "photograph.heic").read_bytes(),
}
"""One plain file of each accepted format."""


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
        lambda: jpeg_with_exif(b"not a directory"), "JPEG", (160, 120)
    ),
    "exif_cut_jpeg": _accepted(
        lambda: jpeg_with_exif(b"II*\0\x08\0\0\0\xff\xff\x12\x01"), "JPEG", (160, 120)
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
