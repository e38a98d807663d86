"""
What is refused before any pixel is decoded: by the body's size, its parts, and its header.

The second step of the decode. `jpeg_limits` and `part_limits` count the parts and hold their
limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iqa.errors import ImageRejected
from iqa.imaging import jpeg_limits, part_limits
from PIL import Image, TiffImagePlugin

TILE_TAGS: Final = (322, 323)  # TIFF: TileWidth, TileLength
PLANAR_CONFIGURATION_TAG: Final = 284
SEPARATE_PLANES: Final = 2
RUN_LENGTHS: Final = (1, 2)  # BMP's compressions RLE8 and RLE4
# Pillow decodes these in Python, half a microsecond a run.
MAX_RUN_LENGTH_PIXELS: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused before decoding."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000


DEFAULT_LIMITS: Final = Limits()


def body_size(body: bytes, limits: Limits) -> None:
    """
    Refuse nothing, and too much.

    Raises:
        ImageRejected: No byte (400), or more than `max_bytes` (413).
    """
    if not body:
        raise ImageRejected("empty", "body: expected an image file, got 0 bytes. Send the file.")
    if len(body) > limits.max_bytes:
        raise ImageRejected(
            "too_many_bytes",
            f"body: expected at most {limits.max_bytes} bytes, got {len(body)}. "
            "Send a smaller file.",
        )


def parts(body: bytes, format_name: str) -> None:
    """
    Refuse what would cost much before Pillow's parser is at the image; see `sniff.format_of`.

    Raises:
        ImageRejected: More parts than a real file has (400).
    """
    if format_name == "JPEG":
        jpeg_limits.check_header(body)
    elif format_name == "TIFF":
        part_limits.check_tiff(body)


def pixels(image: Image.Image, body: bytes, limits: Limits) -> None:
    """
    Refuse what would cost much to decode, by the header that Pillow has read.

    Args:
        image: Opened, and no pixel loaded.
        body: The file it was opened from.
        limits: Largest image.

    Raises:
        ImageRejected: Too many pixels (413), a BMP in run lengths that is too large (415), too
            many scans of a JPEG, or of JPEGs in a TIFF, or a TIFF of which a part is missing (400).
    """
    _size(image, limits)
    if image.format in ("JPEG", "MPO"):
        jpeg_limits.check_scans(body, image.width * image.height)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        jpeg_limits.check_scans_in_tiff(body, image)
        _whole(image)


def _size(image: Image.Image, limits: Limits) -> None:
    sizes = [image.size]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile may be larger than its picture; libtiff decodes all of it.
        width, height = (image.tag_v2.get(tag) for tag in TILE_TAGS)
        if isinstance(width, int) and isinstance(height, int):  # else libtiff refuses it
            sizes.append((width, height))
    if image.format == "BMP" and image.info.get("compression") in RUN_LENGTHS:
        width, height = image.size
        if width * height > MAX_RUN_LENGTH_PIXELS:
            raise ImageRejected(
                "unsupported_mode",
                f"image: expected a run-length BMP of at most {MAX_RUN_LENGTH_PIXELS} pixels, "
                f"got {width} x {height}. Save it as PNG.",
            )
    for width, height in sizes:
        if width * height > limits.max_pixels:
            raise ImageRejected(
                "too_many_pixels",
                f"image: expected at most {limits.max_pixels} pixels, "
                f"got {width} x {height}. Send a smaller picture.",
            )


def _whole(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse strips or tiles that are not all of the picture: Pillow leaves the rest black."""
    if any(tile.codec_name != "raw" for tile in image.tile):  # libtiff looks itself
        return
    is_separate = image.tag_v2.get(PLANAR_CONFIGURATION_TAG) == SEPARATE_PLANES
    expected = image.width * image.height * (len(image.getbands()) if is_separate else 1)
    boxes = (tile.extents or (0, 0, 0, 0) for tile in image.tile)
    got = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if got < expected:
        raise ImageRejected(
            "truncated",
            f"image: expected strips or tiles of {expected} pixels in all, got {got}. "
            "Send the whole file.",
        )
