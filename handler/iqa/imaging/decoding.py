"""
Bytes -> RGB picture, for any file that a client or a data set may hold.

Nothing is trusted: size limits are checked on the header, before any pixel is decoded; a
truncated file is refused and never patched up; the format is read from the content.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from iqa.errors import ImageRejected
from iqa.imaging import colour, jpeg, structure
from iqa.imaging.preprocessing import DEFAULT, Policy, preprocess, reduced_size
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

# MPO, which many phones write as .jpg, is a JPEG with more frames behind it: Pillow's JPEG plugin
# opens it, and MPO in this list makes `Image.open` raise KeyError for whatever is no JPEG.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
OWN_SIGNATURES: Final = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8",
)  # fmt: skip

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

ORIENTATION_TAG: Final = 0x0112
TILE_TAGS: Final = (322, 323)  # TIFF: TileWidth, TileLength
RUN_LENGTHS: Final = (1, 2)  # BMP's compressions RLE8 and RLE4
# Pillow decodes these in Python, half a microsecond a run.
MAX_RUN_LENGTH_PIXELS: Final = 2_000_000
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""
LYING: Final = (5, 6, 7, 8)
"""Orientations stored with width and height exchanged."""


MAX_WORDS: Final = 120  # characters of a library's message that are passed on


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
        image: Mode RGB, sRGB, upright. Smaller than the file's picture where the decoder left
            out resolution that `preprocess` would drop.
        size: (width, height) of the file's picture, upright.
        format: JPEG, PNG, WEBP, BMP, TIFF or GIF.
        warnings: What was changed or left out on the way; a closed list, in docs/api.md.
        policy: How it becomes the network's input.
    """

    image: Image.Image
    size: tuple[int, int]
    format: str
    warnings: tuple[str, ...]
    policy: Policy = DEFAULT

    def pixels(self) -> NDArray[np.uint8]:
        """
        Return the network's input: `preprocess` of this picture.

        Raises:
            ImageRejected: Too small or too narrow (422).
        """
        return preprocess(self.image, self.size, self.policy)


def decode(body: bytes, limits: Limits = Limits(), policy: Policy = DEFAULT) -> DecodedImage:
    """
    Decode a picture.

    Args:
        body: The file's content.
        limits: Largest file and picture.
        policy: Of the model: a decoder may leave out resolution that the network does not get.

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
        image = _open(body, limits)
        _check_pixels(image, limits)
        stored_size = image.size
        if image.format in ("JPEG", "MPO"):
            jpeg.check_scans(body, image.width * image.height)
            jpeg.reduce(image, reduced_size(*image.size, policy))
        elif isinstance(image, TiffImagePlugin.TiffImageFile):
            jpeg.check_scans_in_tiff(body, image)
        notes = ["first_frame_only"] if _has_more_frames(image) else []
        format_name = "JPEG" if image.format == "MPO" else str(image.format)
        _load(image, body, limits)
        upright, turned = _upright(image, notes)
        picture = _convert(upright, notes)
    size = stored_size[::-1] if turned else stored_size
    return DecodedImage(
        image=picture, size=size, format=format_name, warnings=tuple(notes), policy=policy
    )


def _open(body: bytes, limits: Limits) -> Image.Image:
    if body.startswith(jpeg.SIGNATURE):
        jpeg.check_header(body)
        file = io.BytesIO(body)
    else:
        if body.startswith((b"II", b"MM")):
            structure.check_tiff(body)
        file = structure.CountedFile(body)
    try:
        return Image.open(file, formats=FORMATS)
    except ImageRejected:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(error, limits) from error
    except UnidentifiedImageError as error:
        if body.startswith(OWN_SIGNATURES):
            raise _broken(SyntaxError("no readable header"), body) from error
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
        raise _broken(error, body) from error


def _foreign_format(body: bytes) -> str | None:
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n") if body[:1] in b"\xef \t\r\n<" else body
    for offset, signature, name in FOREIGN_SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    return None


def _check_pixels(image: Image.Image, limits: Limits) -> None:
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


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # the further frames are previews and gain maps, not pictures
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame does not spoil the first
        return True


def _load(image: Image.Image, body: bytes, limits: Limits) -> None:
    try:
        image.seek(0)
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(error, limits) from error
    except (ImageRejected, MemoryError):  # the second is the server's fault, not the picture's
        raise
    except Exception as error:  # libjpeg, libtiff, zlib: each has exceptions of its own
        raise _broken(error, body) from error


def _upright(image: Image.Image, notes: list[str]) -> tuple[Image.Image, bool]:
    """Undo the EXIF orientation; return the picture, and whether its sides changed places."""
    # Not `ImageOps.exif_transpose`: it also writes the EXIF block anew, and where a tag that
    # nobody needs prevents that, it fails, and the picture would stay on its side.
    try:
        _expect_little_exif(image)
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        method = UPRIGHT.get(orientation)
    except Exception:  # a malformed EXIF block is no reason to refuse the picture
        notes.append("exif_ignored")
        return image, False
    if method is None:
        return image, False
    return image.transpose(method), orientation in LYING


def _expect_little_exif(image: Image.Image) -> None:
    """Pillow makes an object of each value: of 32 MB, millions."""
    if len(image.info.get("exif") or b"") > structure.MAX_EXIF_BYTES:
        raise ValueError("more EXIF than a camera writes")
    # PNG's old way to store it: twice as many hexadecimal digits, and line breaks.
    if len(image.info.get("Raw profile type exif") or "") > 3 * structure.MAX_EXIF_BYTES:
        raise ValueError("more EXIF than a camera writes")


def _convert(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return colour.to_srgb(image, notes)
    except (ImageRejected, MemoryError):
        raise
    except Exception as error:  # such as more transparent entries than the palette has
        raise _broken(error) from error


def _too_large(error: Exception, limits: Limits) -> ImageRejected:
    """Pillow's own limit, 179 megapixels, comes before ours; its text holds the number."""
    pixels = re.search(r"\d+", str(error))
    return ImageRejected(
        "too_many_pixels",
        f"image: expected at most {limits.max_pixels} pixels, "
        f"got {pixels[0] if pixels else 'more'}. Send a smaller picture.",
    )


def _broken(error: Exception, body: bytes = b"") -> ImageRejected:
    # Cut: a KeyError names its key, which may be a tag of a million values.
    text = (str(error) or type(error).__name__)[:MAX_WORDS]
    # Only Pillow's words tell a file that ends early from one that is wrong inside; of WebP it
    # says nothing, but the header holds the length.
    is_cut = any(word in text.lower() for word in ("truncated", "end of file", "not enough", "eof"))
    if body[:4] == b"RIFF":
        is_cut = len(body) < 8 + int.from_bytes(body[4:8], "little")
    return ImageRejected(
        "truncated" if is_cut else "undecodable",
        f"image: expected a complete file, got one that breaks off or is damaged ({text}). "
        "Send the whole file.",
    )
