"""Test pictures made in code, with a seed: every kind of file that a client may send."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PICTURES: Final = Path(__file__).parent / "pictures"
Pixels = NDArray[np.uint8]
ORIENTATION: Final = 0x0112
GREY: Final = "grayscale_input"
# Red, green, blue and white quarters: a rotation or a mirror image of it is told by its corners.
QUARTERS: Final = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))


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
