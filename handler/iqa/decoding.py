"""
Bytes -> RGB picture, for any file that a client or a data set may hold.

Nothing is trusted: size limits are checked on the header, before any pixel is decoded; a
truncated file is refused and never patched up; the format is read from the content.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Final

from iqa import colour
from iqa.errors import ImageRejected
from PIL import Image, ImageOps, UnidentifiedImageError

# MPO is what many phones write as .jpg: a JPEG with more frames behind it.
FORMATS: Final = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF")

# Files that are pictures to a person: told apart from rubbish, so that the answer helps.
FOREIGN_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused before decoding."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """
    A decoded picture and what a client is told of it.

    Attributes:
        image: Mode RGB, sRGB, upright.
        format: JPEG, PNG, WEBP, BMP, TIFF or GIF.
        warnings: What was changed or left out on the way; a closed list, in docs/api.md.
    """

    image: Image.Image
    format: str
    warnings: tuple[str, ...]


def decode(body: bytes, limits: Limits = Limits()) -> DecodedImage:
    """
    Decode a picture.

    Args:
        body: The file's content.
        limits: Largest file and picture.

    Raises:
        ImageRejected: 400, 413 or 415, with the reason.
    """
    if not body:
        raise ImageRejected("empty", "body: expected an image file, got 0 bytes. Send the file.")
    if len(body) > limits.max_bytes:
        raise ImageRejected(
            "too_many_bytes",
            f"body: expected at most {limits.max_bytes} bytes, got {len(body)}. "
            "Send a smaller file.",
        )
    with warnings.catch_warnings():
        # Pillow warns of large pictures and odd metadata; the limit here is our own.
        warnings.simplefilter("ignore")
        image = _open(body)
        _check_pixels(image, limits)
        notes = ["first_frame_only"] if _has_more_frames(image) else []
        format_name = "JPEG" if image.format == "MPO" else str(image.format)
        _load(image)
        image = _upright(image, notes)
        image = colour.to_srgb(image, notes)
    return DecodedImage(image=image, format=format_name, warnings=tuple(notes))


def _open(body: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageRejected(
            "too_many_pixels", f"image: {error}. Send a smaller picture."
        ) from error
    except UnidentifiedImageError as error:
        foreign = _foreign_format(body)
        if foreign is None:
            raise ImageRejected(
                "undecodable",
                f"body: expected an image file, got {len(body)} bytes that are none. "
                "Send the file itself: curl -T FILE, or -F data=@FILE.",
            ) from error
        raise ImageRejected(
            "unsupported_format",
            f"image: expected JPEG, PNG, WebP, BMP, TIFF or GIF, got {foreign}. Convert it first.",
        ) from error
    except Exception as error:  # Pillow's parsers raise whatever a broken header makes them meet
        raise _broken(error) from error


def _foreign_format(body: bytes) -> str | None:
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n") if body[:1] in b"\xef \t\r\n<" else body
    for offset, signature, name in FOREIGN_SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    return None


def _check_pixels(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise ImageRejected(
            "too_many_pixels",
            f"image: expected at most {limits.max_pixels} pixels, "
            f"got {image.width} x {image.height}. Send a smaller picture.",
        )


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # the further frames are previews and gain maps, not pictures
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame does not spoil the first
        return True


def _load(image: Image.Image) -> None:
    try:
        image.seek(0)
        image.load()
    except Exception as error:  # libjpeg, libtiff, zlib: each has exceptions of its own
        raise _broken(error) from error


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a malformed EXIF block is no reason to refuse the picture
        notes.append("exif_ignored")
        return image


def _broken(error: Exception) -> ImageRejected:
    text = str(error) or type(error).__name__
    # Only Pillow's words tell a file that ends early from one that is wrong inside.
    is_cut = any(word in text.lower() for word in ("truncated", "end of file", "not enough", "eof"))
    return ImageRejected(
        "truncated" if is_cut else "undecodable",
        f"image: expected a complete file, got one that breaks off or is damaged ({text}). "
        "Send the whole file.",
    )
